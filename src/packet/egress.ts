import { TX_MAX } from '../card/layout.ts';

/** Floods leave this much of the egress list to unicast: a burst, the daemon's own frames and resumed packets. */
export const UNICAST_RESERVE = 1536;

/**
 * Where packets leave: pairs (slot, location) in order, all copies of a slot together. A slot on the list is
 * freed after the flush, once, whatever its number of copies.
 */
export class Egress {
  readonly slots = new Int32Array(TX_MAX);
  readonly locations = new Int32Array(TX_MAX);
  count = 0;
  /** Pairs that are transmit requests already; those behind them are still to be. */
  prepared = 0;

  push(slot: number, location: number): void {
    this.slots[this.count] = slot;
    this.locations[this.count] = location;
    this.count++;
  }
}
