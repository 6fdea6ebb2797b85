import type { Packets } from '../packet/packets.ts';
import { Ipv4 } from '../wire/ipv4.ts';

/**
 * A flow key of 10 words: wide enough for IPv6, compared in this order.
 *
 *   0  network << 8 | protocol     1  source port << 16 | destination port
 *   2  source word 3               3  destination word 3        (the IPv4 address, when it is one)
 *   4–6  source words 0–2          7–9  destination words 0–2   (0, 0, 0xffff for IPv4)
 */
export const TUPLE_WORDS = 10;

export const enum Word {
  SCOPE = 0,
  PORTS = 1,
  SOURCE = 2,
  DESTINATION = 3,
  SOURCE_HIGH = 4,
  DESTINATION_HIGH = 7,
}

/**
 * A tuple in the flow table: one cache line, so that an established flow costs one. Behind the key stands what a
 * packet with that tuple becomes; it follows from both tuples of the flow and never changes while the flow lives.
 *
 *   10  1 = the next four words are filled in            13  checksum deltas in wire order: of the address alone
 *   11  the address that replaces the translated end          (low half), of address and port (high half)
 *   12  source port << 16 | destination port after it    14  hash of the translated packet's flow (V4)
 *   15  last acknowledgment number this direction sent (N14)
 */
export const LINE_WORDS = 16;

export const enum Line {
  IS_READY = 10,
  ADDRESS = 11,
  PORTS = 12,
  DELTAS = 13,
  ENTROPY = 14,
  ACKED = 15,
}

/** Reads the tuple of an IPv4 packet with a parsed TCP or UDP header into `into`. */
export function readTuple4(packets: Packets, slot: number, into: Int32Array): void {
  const { view } = packets;
  const ip = packets.l3[slot]!;
  into[Word.SCOPE] = (packets.network[slot]! << 8) | packets.protocol[slot]!;
  into[Word.PORTS] = view.getInt32(packets.l4[slot]!);
  into[Word.SOURCE] = view.getInt32(ip + Ipv4.SOURCE);
  into[Word.DESTINATION] = view.getInt32(ip + Ipv4.DESTINATION);
  into[4] = 0;
  into[5] = 0;
  into[6] = 0xffff;
  into[7] = 0;
  into[8] = 0;
  into[9] = 0xffff;
}

/** The tuple of what answers a packet of `tuple`, untranslated. */
export function reverseTuple4(tuple: Int32Array, into: Int32Array): void {
  into.set(tuple);
  into[Word.PORTS] = (tuple[Word.PORTS]! << 16) | (tuple[Word.PORTS]! >>> 16);
  into[Word.SOURCE] = tuple[Word.DESTINATION]!;
  into[Word.DESTINATION] = tuple[Word.SOURCE]!;
}
