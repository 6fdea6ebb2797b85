/**
 * What this host tells load balancers, monitoring and probes over TCP: the health of the proxy, metrics, and a port per
 * Service that asks for one (S34–S36). Follows every transaction.
 */
import type { Logger } from 'pino';
import { formatProblem, problemIn } from '../../control/problem.ts';
import type { HealthCheck } from '../../control/services.ts';
import type { Endpoint, Problem, Resource, ResourceOf } from '../../control/types.ts';
import type { Counters } from '../../telemetry/counters.ts';
import { type Answer, formatEndpoint, Listener, type Respond } from './listener.ts';
import { Metrics } from './metrics.ts';
import { Progress } from './progress.ts';
import { answerHealth } from './proxy-health.ts';
import { ServiceHealth } from './service-health.ts';

/** What it tells of. */
export interface HealthFacts {
  host(): ResourceOf<'Host'> | undefined;
  checks(): readonly HealthCheck[];
  /** Addresses NodePorts answer at. */
  nodeAddresses(): readonly string[];
  /** false while the Node of this host is being deleted. */
  isNodeEligible(): boolean;
  withoutLocalEndpoints(): { readonly internal: number; readonly external: number };
  locations(): ReadonlyMap<number, string>;
}

export class Health {
  readonly progress = new Progress();
  readonly #facts: HealthFacts;
  readonly #log: Logger;
  readonly #services: ServiceHealth;
  readonly #proxy: Bound;
  readonly #metrics: Bound;
  #updating: Promise<void> = Promise.resolve();
  #refused: readonly Problem[] = [];
  #isFollowing = false;

  constructor(facts: HealthFacts, counters: Counters, log: Logger) {
    this.#facts = facts;
    this.#log = log;
    const { progress } = this;
    this.#services = new ServiceHealth(log, () => !progress.isStuck);
    const metrics = new Metrics({ ...facts, progress, counters });
    progress.add(metrics);
    progress.add({ queued() {}, finished: () => this.#follow() });
    this.#proxy = new Bound((path) => answerHealth(path, progress, facts.isNodeEligible()));
    this.#metrics = new Bound((path) => answerMetrics(path, metrics));
  }

  /** What is not listening, and why, one line each. */
  get problems(): readonly string[] {
    return [...this.#refused.map(formatProblem), ...this.#services.problems];
  }

  /**
   * Opens what a Host asks for that is still to be put in force, and from then on follows the one that is.
   * @returns what could not be opened
   */
  start(host: ResourceOf<'Host'>): Promise<readonly Problem[]> {
    this.#isFollowing = true;
    return this.#update(host);
  }

  /** Until what the latest transaction asks for is open, or among the `problems`. */
  settled(): Promise<void> {
    return this.#updating;
  }

  async close(): Promise<void> {
    this.#isFollowing = false;
    await this.#updating;
    await Promise.all([this.#services.close(), this.#proxy.move(null), this.#metrics.move(null)]);
  }

  #follow(): void {
    if (!this.#isFollowing) return;
    this.#update().then((problems) => {
      for (const problem of problems) this.#log.error(problem, 'not listening');
    });
  }

  /** One at a time. @param host undefined: the one in force */
  #update(host?: ResourceOf<'Host'>): Promise<readonly Problem[]> {
    const done = this.#updating.then(() => this.#listen(host ?? this.#facts.host()));
    this.#updating = done.then(() => {});
    return done;
  }

  async #listen(host: ResourceOf<'Host'> | undefined): Promise<readonly Problem[]> {
    const facts = this.#facts;
    if (!host || !this.#isFollowing) return [];
    const problems: Problem[] = [];
    const move = async (what: Bound, field: 'health' | 'metrics') => {
      try {
        await what.move(host.spec[field].bind);
      } catch (error) {
        problems.push(refusal(host, field, error as Error));
      }
    };
    await move(this.#proxy, 'health');
    await move(this.#metrics, 'metrics');
    await this.#services.update(facts.checks(), facts.nodeAddresses());
    this.#refused = problems;
    return problems;
  }
}

/** A listener whose place may change. */
class Bound {
  readonly #respond: Respond;
  #at = '';
  #listener: Listener | null = null;

  constructor(respond: Respond) {
    this.#respond = respond;
  }

  /** @param to null = nowhere. @throws Error in words; then it listens nowhere */
  async move(to: Endpoint | null): Promise<void> {
    const at = to === null ? '' : formatEndpoint(to);
    if (at === this.#at) return;
    await this.#listener?.close();
    this.#listener = null;
    this.#at = '';
    if (to === null) return;
    this.#listener = await Listener.open(to, this.#respond);
    this.#at = at;
  }
}

function refusal(host: Resource, field: string, error: Error): Problem {
  const stop = error.message.endsWith('another process') ? 'stop it, ' : '';
  const remedy = `${stop}choose another address and port, or write ${field}: {bind: none}`;
  return problemIn(host, `spec.${field}.bind`, `${error.message}; ${remedy}`);
}

async function answerMetrics(path: string, metrics: Metrics): Promise<Answer> {
  if (path === '/metrics') return { status: 200, type: metrics.type, body: await metrics.text() };
  if (path === '/proxyMode') return { status: 200, type: 'text/plain', body: 'twill' };
  return { status: 404, type: 'text/plain', body: 'not found\n' };
}
