/**
 * Packets first: while the control plane works, the packets' thread is a real-time one, so that whoever wakes it gets it
 * at once, and not when the scheduler takes its CPU from somebody who reads a hundred thousand Services, at its next tick
 * of some ms. Otherwise it is a thread like others: one that goes before those it serves wakes for every datagram
 * they send instead of for a burst, which across hosts costs a third to two thirds of them (decision 0005).
 */
import type { Logger } from 'pino';
import type { Native } from '../card/native.ts';

/** After the last piece of work: of a stream of requests the next is then already being read. */
const LINGER_MS = 10;

export class Precedence {
  readonly #native: Pick<Native, 'setRealTime'>;
  /** Kernel id. */
  readonly #thread: number;
  readonly #log: Logger;
  /** Pieces of work under way. */
  #under = 0;
  #isFirst = false;
  #isRefused = false;
  readonly #lingering: NodeJS.Timeout;

  constructor(native: Pick<Native, 'setRealTime'>, thread: number, log: Logger) {
    this.#native = native;
    this.#thread = thread;
    this.#log = log;
    this.#lingering = setTimeout(() => {
      if (this.#under === 0) this.#set(false);
    }, LINGER_MS).unref();
  }

  /** Does `work`, and packets come first. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.#under++ === 0) this.#set(true);
    try {
      return await work();
    } finally {
      if (--this.#under === 0) this.#lingering.refresh();
    }
  }

  #set(on: boolean): void {
    if (this.#isRefused || this.#isFirst === on) return;
    this.#isFirst = on;
    try {
      this.#native.setRealTime(this.#thread, on);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ESRCH') return; // it has ended, and so will the daemon
      this.#isRefused = true;
      const hint = code === 'EPERM' ? ': it needs CAP_SYS_NICE' : '';
      this.#log.warn({ err: error }, `packets may wait for changes of configuration${hint}`);
    }
  }
}
