/**
 * Health check node ports (S34): per LoadBalancer Service with externalTrafficPolicy Local one port that tells the load
 * balancer whether this host has endpoints of it (pkg/proxy/healthcheck/service_health.go).
 */
import type { Logger } from 'pino';
import type { HealthCheck } from '../../control/services.ts';
import type { Endpoint } from '../../control/types.ts';
import { type Answer, formatEndpoint, Listener } from './listener.ts';

export class ServiceHealth {
  readonly #log: Logger;
  readonly #isHealthy: () => boolean;
  /** By endpoint text. */
  readonly #open = new Map<string, Listener>();
  /** By endpoint text, one line each. */
  readonly #refused = new Map<string, string>();
  #checks = new Map<number, HealthCheck>();

  constructor(log: Logger, isHealthy: () => boolean) {
    this.#log = log;
    this.#isHealthy = isHealthy;
  }

  /** Why some ports are not served; their load balancers take this host for one without endpoints. */
  get problems(): readonly string[] {
    return [...this.#refused.values()];
  }

  /**
   * Opens and closes what differs. A port that cannot be had is among the `problems`, once in the log, and is tried again
   * at every update.
   * @param addresses where NodePorts answer
   */
  async update(checks: readonly HealthCheck[], addresses: readonly string[]): Promise<void> {
    this.#checks = new Map(checks.map((check) => [check.port, check]));
    const wanted = new Map<string, Endpoint>();
    for (const { port } of checks) {
      for (const address of addresses) wanted.set(formatEndpoint({ address, port }), { address, port });
    }
    for (const [text, listener] of this.#open) {
      if (wanted.has(text)) continue;
      this.#open.delete(text);
      await listener.close();
    }
    for (const text of this.#refused.keys()) if (!wanted.has(text)) this.#refused.delete(text);
    for (const [text, endpoint] of wanted) {
      if (this.#open.has(text)) continue;
      try {
        this.#open.set(text, await Listener.open(endpoint, () => this.#answer(endpoint.port)));
        this.#refused.delete(text);
      } catch (error) {
        const { namespace, name } = this.#checks.get(endpoint.port)!;
        const service = `${namespace}/${name}`;
        const reason = (error as Error).message;
        if (!this.#refused.has(text)) this.#log.error({ service, reason }, 'health check port not served');
        this.#refused.set(text, `health check port of Service ${service} is not served: ${reason}`);
      }
    }
  }

  async close(): Promise<void> {
    await this.update([], []);
  }

  #answer(port: number): Answer {
    const { namespace, name, localEndpoints } = this.#checks.get(port)!;
    const serviceProxyHealthy = this.#isHealthy();
    return {
      status: localEndpoints > 0 && serviceProxyHealthy ? 200 : 503,
      type: 'application/json',
      headers: {
        'x-content-type-options': 'nosniff',
        'x-load-balancing-endpoint-weight': String(localEndpoints),
      },
      body: JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy }),
    };
  }
}
