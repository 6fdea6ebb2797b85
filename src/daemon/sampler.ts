/**
 * Reads the shared counters once per second: rates per location and reason, and when a drop was last seen.
 *
 * Layout: one column per sampled counter, indexed like the counters themselves.
 * Cost: some 10⁵ additions per second on the main thread. Accuracy: one sample period.
 */
import { COUNTER_FIELDS, Counter, type Counters } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';

export interface Rates {
  /** Frames per second. */
  readonly rx: number;
  readonly tx: number;
  /** Bits per second. */
  readonly rxBits: number;
  readonly txBits: number;
}

const SAMPLE_MS = 1000;

export class Sampler {
  readonly #counters: Counters;
  readonly #values: Float64Array;
  readonly #rates: Float64Array;
  readonly #drops: Float64Array;
  /** Monotonic ms of the sample that saw the last increase; 0 = never. */
  readonly #dropSeen: Float64Array;
  readonly #dropRates = new Float64Array(Drop.COUNT);
  #last: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param now monotonic ms */
  constructor(counters: Counters, now: number) {
    this.#counters = counters;
    this.#values = Float64Array.from(counters.values);
    this.#rates = new Float64Array(counters.values.length);
    this.#drops = Float64Array.from(counters.drops);
    this.#dropSeen = new Float64Array(counters.drops.length);
    this.#last = now;
  }

  start(): void {
    this.#timer = setInterval(() => this.sample(performance.now()), SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  sample(now: number): void {
    const seconds = (now - this.#last) / 1000;
    if (seconds <= 0) return;
    this.#last = now;
    const { values, drops } = this.#counters;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      // A counter that fell belongs to a location that was reused.
      this.#rates[i] = Math.max(0, value - this.#values[i]!) / seconds;
      this.#values[i] = value;
    }
    this.#dropRates.fill(0);
    for (let i = 0; i < drops.length; i++) {
      const increase = drops[i]! - this.#drops[i]!;
      if (increase === 0) continue;
      this.#drops[i] = drops[i]!;
      if (increase < 0) {
        this.#dropSeen[i] = 0;
        continue;
      }
      this.#dropSeen[i] = now;
      this.#dropRates[i % Drop.COUNT]! += increase / seconds;
    }
  }

  rates(location: number): Rates {
    const at = location * COUNTER_FIELDS;
    return {
      rx: this.#rates[at + Counter.RX]!,
      tx: this.#rates[at + Counter.TX]!,
      rxBits: this.#rates[at + Counter.RX_BYTES]! * 8,
      txBits: this.#rates[at + Counter.TX_BYTES]! * 8,
    };
  }

  /** Drops per second for a reason, all locations together. */
  dropRate(reason: Drop): number {
    return this.#dropRates[reason]!;
  }

  /** Seconds since a drop was last counted; null when none was since the daemon started sampling. */
  dropAge(location: number, reason: Drop, now: number): number | null {
    const seen = this.#dropSeen[location * Drop.COUNT + reason]!;
    return seen === 0 ? null : Math.max(0, (now - seen) / 1000);
  }
}
