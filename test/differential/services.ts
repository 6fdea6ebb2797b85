/** The services of a run and how they change; knows what either world must choose next. */
import type { Random } from '../random.ts';
import { type Change, endpointsOf, type ServicePort, type ServiceSpec } from './world.ts';

export type Mode = 'routed' | 'bridged';

/**
 * Whom services may choose. Where the kernel looks only at what it routes, answers must pass its gateway: backends are
 * in the other subnet. Where it looks at bridged frames too, they are in the clients' own, on this host and beyond.
 */
const POOL: Readonly<Record<Mode, readonly string[]>> = {
  routed: ['d', 'e', 'f', 'g'],
  bridged: ['b', 'c', 'far', 'other'],
};
export const CLIENTS = ['a', 'b', 'c'] as const;

const PORTS: readonly ServicePort[] = [
  { name: 'web', protocol: 'TCP', port: 80, targetPort: 8080 },
  { name: 'dns', protocol: 'UDP', port: 80, targetPort: 5300 },
];
const STANDING = 6;
const vip = (index: number): string => `10.96.0.${10 + index}`;
export const nameOf = (index: number): string => `s${index}`;

/** A service port a client may ask. */
export interface Target {
  readonly spec: ServiceSpec;
  readonly port: ServicePort;
  readonly index: number;
}

interface State {
  spec: ServiceSpec | undefined;
  /** Per port. */
  next: number[];
  /** Per port: client → endpoint. */
  affine: Map<string, string>[];
}

const fresh = (): State => ({
  spec: undefined,
  next: PORTS.map(() => 0),
  affine: PORTS.map(() => new Map()),
});

export class ServiceSet {
  readonly #random: Random;
  readonly #mode: Mode;
  readonly #states = new Map<string, State>();

  constructor(random: Random, mode: Mode) {
    this.#random = random;
    this.#mode = mode;
  }

  /** The changes that make the services of the beginning. The last has client `a` as its own backend. */
  first(): Change[] {
    const changes: Change[] = [];
    for (let i = 0; i < STANDING; i++) {
      const endpoints = i === STANDING - 1 ? ['a'] : POOL[this.#mode].slice(0, 1 + (i % 4));
      changes.push(this.#become(nameOf(i), this.#spec(i, endpoints, i % 2 === 1)));
    }
    return changes;
  }

  /** Some change: an endpoint or a service comes or goes, affinity is switched. */
  change(): Change {
    const index = this.#random.below(STANDING - 1);
    const name = nameOf(index);
    const spec = this.#states.get(name)?.spec;
    const pool = POOL[this.#mode];
    if (!spec)
      return this.#become(name, this.#spec(index, [this.#random.pick(pool)], this.#random.chance(50)));
    const kind = this.#random.weighted({ endpoint: 70, affinity: 20, remove: 10 });
    if (kind === 'remove') return this.#become(name, undefined);
    if (kind === 'affinity') return this.#become(name, { ...spec, affinity: !spec.affinity });
    const other = this.#random.pick(pool);
    const without = spec.endpoints.filter((endpoint) => endpoint !== other);
    const endpoints = without.length < spec.endpoints.length ? without : [...without, other];
    return this.#become(name, { ...spec, endpoints });
  }

  /** What a client may ask now. */
  target(client: string, protocol: 'TCP' | 'UDP'): Target | undefined {
    const isOwn = client === 'a' && this.#random.chance(25);
    const index = isOwn ? STANDING - 1 : this.#random.below(STANDING - 1);
    const spec = this.#states.get(nameOf(index))?.spec;
    if (!spec) return undefined;
    const at = PORTS.findIndex((port) => port.protocol === protocol);
    return { spec, port: PORTS[at]!, index: at };
  }

  /** Is the endpoint still one of the service it was chosen for? */
  serves({ spec }: Target, endpoint: string): boolean {
    return this.#states.get(spec.name)?.spec?.endpoints.includes(endpoint) === true;
  }

  /** Whether the service now remembers its clients. */
  isAffine({ spec }: Target): boolean {
    return this.#states.get(spec.name)?.spec?.affinity === true;
  }

  /** Twill alone gave a flow to this endpoint: the change, of nothing but its turn, that lets the kernel catch up. */
  caughtUp(target: Target, client: string, endpoint: string): Change {
    const { name } = target.spec;
    const { spec } = this.#states.get(name)!;
    this.chosen({ ...target, spec: spec! }, client, endpoint);
    return this.#become(name, spec);
  }

  /** A new flow of a client was given to this endpoint. */
  chosen({ spec, index }: Target, client: string, endpoint: string): void {
    const state = this.#states.get(spec.name)!;
    const isRemembered = spec.affinity && state.affine[index]!.has(client);
    if (spec.affinity) state.affine[index]!.set(client, endpoint);
    if (isRemembered) return;
    const list = endpointsOf(spec);
    state.next[index] = (list.findIndex(({ name }) => name === endpoint) + 1) % list.length;
  }

  #spec(index: number, endpoints: readonly string[], affinity: boolean): ServiceSpec {
    return { name: nameOf(index), clusterIP: vip(index), ports: PORTS, affinity, endpoints };
  }

  #become(name: string, after: ServiceSpec | undefined): Change {
    const state = this.#states.get(name) ?? fresh();
    const before = state.spec;
    const count = after?.endpoints.length ?? 0;
    const next = state.next.map((index) => (count === 0 ? 0 : index % count));
    for (const affine of state.affine) {
      for (const [client, endpoint] of affine) {
        if (!after?.affinity || !after.endpoints.includes(endpoint)) affine.delete(client);
      }
    }
    this.#states.set(name, after ? { ...state, spec: after, next } : fresh());
    return { name, before, after, next };
  }
}
