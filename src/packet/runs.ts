import { BURST } from '../card/layout.ts';

/**
 * Packets at the head of a burst that go straight to the card: packet i of `rx` is transmit request i. Neighbours with
 * the same source and destination form a run, which is counted once for all of them.
 */
export class Runs {
  /** Packets of all runs. */
  frames = 0;
  count = 0;
  readonly from = new Int32Array(BURST);
  readonly to = new Int32Array(BURST);
  /** One past the run's last packet. */
  readonly end = new Int32Array(BURST);
  /** Bytes of its packets without outer headers. */
  readonly bytes = new Int32Array(BURST);
}
