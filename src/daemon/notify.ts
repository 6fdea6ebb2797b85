/** Tells a supervisor how far the daemon is (sd_notify(3)). Silent without NOTIFY_SOCKET. */
import type { Native } from '../card/native.ts';

export class Supervisor {
  readonly #native: Pick<Native, 'notify'>;
  readonly #socket: string;

  constructor(native: Pick<Native, 'notify'>, socket = process.env.NOTIFY_SOCKET ?? '') {
    this.#native = native;
    this.#socket = socket;
  }

  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${status}`);
  }

  /** Type=notify-reload wants the clock of the signal; plain Type=notify ignores it. */
  reloading(): void {
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.#send('STOPPING=1');
  }

  /** A supervisor that went away is no reason to stop forwarding. */
  #send(message: string): void {
    if (this.#socket === '') return;
    try {
      this.#native.notify(this.#socket, message);
    } catch {
      // Nobody is listening.
    }
  }
}
