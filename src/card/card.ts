import type { CardMemory } from './layout.ts';

/**
 * A network card: bursts of frames in and out of shared memory. `NativeCard` is the real one (TAP and UDP
 * descriptors), `MemoryCard` its in-memory twin for tests, benches and virtual time.
 *
 * Ownership: a slot named in `rx` belongs to the switch until it pushes the slot back on `free`. The card
 * reads a slot named in `tx*` only during `flush`, and never keeps or frees one.
 */
export interface Card {
  readonly memory: CardMemory;
  /**
   * Fills `rx` with at most BURST slots and writes `control[NOW]`; sleeps up to `control[TIMEOUT]` ms when
   * nothing is ready. No device starves another: devices take turns, each with a bounded share of the burst.
   * Frames of one flow may come merged into one super-frame, with `gsoSize` set and the checksum partial.
   * @returns the number of slots received.
   */
  poll(): number;
  /**
   * Sends `control[TX_COUNT]` requests, in order per TAP and per transmit socket, writes `txStatus` of each, and
   * resets TX_COUNT to 0.
   */
  flush(): void;
}
