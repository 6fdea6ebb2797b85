import { BURST } from '../card/layout.ts';

/**
 * Packets that go straight to the card. Neighbours with the same source and destination form a run, which is counted
 * once for all of them: `size` packets from `rx` of the received ones are as many transmit requests from `tx`.
 */
export class Runs {
  count = 0;
  readonly from = new Int32Array(BURST);
  readonly to = new Int32Array(BURST);
  readonly rx = new Int32Array(BURST);
  readonly tx = new Int32Array(BURST);
  readonly size = new Int32Array(BURST);
  /** Bytes of its packets without outer headers. */
  readonly bytes = new Int32Array(BURST);
}
