/**
 * The time a run may take. Every part says beforehand what it expects to need; when the machine turns out slower,
 * what is left shares what time is left, in proportion.
 */
export class Budget {
  readonly #start: number;
  readonly #limit: number;
  #expected: number;
  readonly #prior: number;
  #done = 0;
  #spent = 0;

  /** @param limit seconds in all; @param expected seconds of all parts; @param now a clock in seconds */
  constructor(
    limit: number,
    expected: number,
    readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.#start = now();
    this.#limit = limit;
    this.#expected = expected;
    this.#prior = Math.max(1, expected / 5);
  }

  get elapsed(): number {
    return this.now() - this.#start;
  }

  /** Actual over expected time so far, as if a fifth of everything had already taken what was expected of it. */
  get pace(): number {
    return (this.#spent + this.#prior) / (this.#done + this.#prior);
  }

  /** Seconds until the end, as far as one can tell. */
  get left(): number {
    return Math.max(0, Math.min(this.#expected * this.pace, this.#limit - this.elapsed));
  }

  /** Share of what was planned that there is time for, at most 1; 0 once the time is over. */
  get share(): number {
    const available = this.#limit - this.elapsed;
    if (available <= 0) return 0;
    return this.#expected <= 0 ? 1 : Math.min(1, available / (this.#expected * this.pace));
  }

  /** Rounds there is time for, of so many: fewer when late, none when the time is over. */
  rounds(planned: number): number {
    const { share } = this;
    return share === 0 ? 0 : Math.max(1, Math.floor(planned * share + 1e-9));
  }

  /** A part that was expected to take so long is over, and took so long. */
  finish(expected: number, spent: number): void {
    this.#expected -= expected;
    this.#done += expected;
    this.#spent += spent;
  }
}
