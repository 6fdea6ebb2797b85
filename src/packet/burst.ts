import { BURST } from '../card/layout.ts';

/** An ordered list of slots on their way through the stages; a stage that ends a frame leaves it out. */
export class Burst {
  readonly slots: Int32Array;
  count = 0;
  /** ARP frames among those parsed: stages for ARP are skipped when there are none. */
  arps = 0;
  /** Messages of IPv6 neighbour discovery; likewise. */
  discoveries = 0;
  /** Frames addressed to the gateway among those admitted; likewise. */
  toGateway = 0;

  constructor(readonly capacity = BURST) {
    this.slots = new Int32Array(capacity);
  }

  push(slot: number): void {
    this.slots[this.count++] = slot;
  }
}
