/**
 * How far changes have come: is one asked for that is not in force yet, and for how long (S35)?
 * Times are those of the wall clock, since they are shown to people and to monitoring; ages are monotonic.
 */
import type { Resource } from '../../control/types.ts';

/** Told of every transaction. */
export interface Observer {
  queued(): void;
  /** It is over, in force or refused. @param changed resources that came or changed; empty when refused */
  finished(seconds: number, changed: readonly Resource[]): void;
}

/** kube-proxy's: twice its sync period (pkg/proxy/healthcheck/proxy_health.go). */
const STUCK_MS = 60_000;

export class Progress implements Observer {
  readonly #now: () => number;
  readonly #listeners: Observer[] = [];
  #pending = 0;
  /** Monotonic ms since when something has been pending. */
  #since = 0;
  /** Unix seconds; 0 = never. */
  lastQueued = 0;
  lastApplied = 0;

  /** @param now monotonic ms */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Tells another of the same. */
  add(listener: Observer): void {
    this.#listeners.push(listener);
  }

  queued(): void {
    if (this.#pending++ === 0) this.#since = this.#now();
    this.lastQueued = Date.now() / 1000;
    for (const listener of this.#listeners) listener.queued();
  }

  finished(seconds: number, changed: readonly Resource[]): void {
    this.#pending--;
    // What waits now has not waited for longer than this one was at work.
    this.#since = this.#now();
    this.lastApplied = Date.now() / 1000;
    for (const listener of this.#listeners) listener.finished(seconds, changed);
  }

  get isStuck(): boolean {
    return this.#pending > 0 && this.#now() - this.#since > STUCK_MS;
  }
}
