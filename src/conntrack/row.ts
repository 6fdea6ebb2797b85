/**
 * A flow in the table: four lines of the cache side by side. Where there are more flows than the cache holds, a packet
 * pays for each line and each page it touches; so a datagram touches two lines, a segment three, all on one page.
 *
 *    0–15  original tuple, see tuple.ts      16–31  `Flow`
 *   32–47  reply tuple                       48–63  TCP windows, 8 words of each direction, see windows.ts
 */
export const FLOW_WORDS = 64;
/** A tuple id is row × 2 + direction: id × this is where its line begins. */
export const TUPLE_STEP = 32;

export const enum Flow {
  /** ms, as the clock of the card. */
  EXPIRES = 16,
  /** TcpState or UdpState. */
  STATE = 17,
  /** 1: the source changes too. */
  SNAT = 18,
  /** Four floats: packets, bytes, reply packets, reply bytes. */
  TRAFFIC = 24,
}

/** Where the windows of tuple `id` begin. */
export const windowAt = (id: number): number => (id >> 1) * FLOW_WORDS + 48 + (id & 1) * 8;

/** Where the packets of tuple `id` are counted, behind them its bytes; in floats. */
export const trafficAt = (id: number): number =>
  (id >> 1) * (FLOW_WORDS / 2) + Flow.TRAFFIC / 2 + (id & 1) * 2;
