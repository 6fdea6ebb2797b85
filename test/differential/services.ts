/** The services of a run and how they change; knows what either world must choose next. */
import type { Random } from '../random.ts';
import {
  balancers,
  type Change,
  clusterIPs,
  endpointsOf,
  externalIPs,
  frontendOf,
  KINDS,
  type Kind,
  POLICIES,
  type Policy,
  type ServicePort,
  type ServiceSpec,
  setOf,
  type Turns,
} from './spec.ts';
import { FAMILIES, type Family, hasHost, isBridged, type Mode, OUTSIDE, type Station } from './world.ts';

/**
 * Whom services may choose. Where the kernel looks only at what it routes, answers must pass its gateway: backends are
 * in the other subnet. Where it looks at bridged frames too, they are in the clients' own, on this host and beyond.
 */
const poolOf = (mode: Mode): readonly string[] =>
  isBridged(mode) ? ['b', 'c', 'far', 'other'] : ['d', 'e', 'f', 'g'];

const PORTS: readonly ServicePort[] = [
  { name: 'web', protocol: 'TCP', port: 80, targetPort: 8080, nodePort: 30_000 },
  { name: 'dns', protocol: 'UDP', port: 80, targetPort: 5300, nodePort: 31_000 },
];
const STANDING = 6;
/** `near` is in these, the others outside are not; of pods, those in one subnet. */
const RANGES = ['198.51.100.0/26', '10.77.0.0/24', '2001:db8:51::/64', 'fd00:77:1:2::/64'];
export const nameOf = (index: number): string => `s${index}`;

/** A service port as a client asks it. */
export interface Target {
  readonly spec: ServiceSpec;
  readonly port: ServicePort;
  /** Of the port. */
  readonly index: number;
  readonly family: Family;
  readonly kind: Kind;
  readonly set: Policy;
  /** Where. */
  readonly at: { readonly address: string; readonly port: number };
}

interface Memory {
  next: Record<Policy, number>;
  /** Client → endpoint. */
  readonly affine: Map<string, string>;
}

interface State {
  spec: ServiceSpec | undefined;
  /** Per port. */
  readonly memory: Readonly<Record<Family, readonly Memory[]>>;
}

const blank = (): Memory[] => PORTS.map(() => ({ next: { cluster: 0, local: 0 }, affine: new Map() }));
const fresh = (): State => ({ spec: undefined, memory: { 4: blank(), 6: blank() } });

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
      const endpoints = i === STANDING - 1 ? ['a'] : poolOf(this.#mode).slice(0, 1 + (i % 4));
      changes.push(this.#become(nameOf(i), this.#spec(i, endpoints, i % 2 === 1)));
    }
    return changes;
  }

  /** Some change: an endpoint or a service comes or goes, affinity or a policy is switched. */
  change(): Change {
    const index = this.#random.below(STANDING - 1);
    const name = nameOf(index);
    const spec = this.#states.get(name)?.spec;
    const pool = poolOf(this.#mode);
    if (!spec)
      return this.#become(name, this.#spec(index, [this.#random.pick(pool)], this.#random.chance(50)));
    const weights = { endpoint: 50, affinity: 15, remove: 8, internal: 8, external: 16 };
    const kind = this.#random.weighted(weights);
    if (kind === 'remove') return this.#become(name, undefined);
    if (kind === 'affinity') return this.#become(name, { ...spec, affinity: !spec.affinity });
    if (kind === 'internal' && !spec.affinity)
      return this.#become(name, { ...spec, internalLocal: !spec.internalLocal });
    if (kind === 'external' && !spec.affinity) return this.#become(name, this.#otherwiseExposed(spec));
    const other = this.#random.pick(pool);
    const without = spec.endpoints.filter((endpoint) => endpoint !== other);
    const endpoints = without.length < spec.endpoints.length ? without : [...without, other];
    return this.#become(name, { ...spec, endpoints });
  }

  /** What a client may ask now. */
  target(client: Station, protocol: 'TCP' | 'UDP'): Target | undefined {
    const random = this.#random;
    const isOwn = client.name === 'a' && random.chance(25);
    const index = isOwn ? STANDING - 1 : random.below(STANDING - 1);
    const spec = this.#states.get(nameOf(index))?.spec;
    if (!spec) return undefined;
    const family = random.pick(FAMILIES);
    const isOutside = client.place === OUTSIDE;
    const kinds = KINDS.filter((kind) => this.#mayAsk(spec, kind, isOutside));
    const kind = random.chance(95)
      ? random.pick(kinds.filter((each) => each !== 'gatewayPort'))
      : kinds.at(-1)!;
    const at = PORTS.findIndex((port) => port.protocol === protocol);
    const port = spec.ports[at]!;
    const set = setOf(spec, kind, isOutside);
    return { spec, port, index: at, family, kind, set, at: frontendOf(spec, port, kind, family, client) };
  }

  /** Would a flow for the endpoint still be one of the service it was chosen for? */
  serves({ spec, kind }: Target, endpoint: string): boolean {
    const now = this.#states.get(spec.name)?.spec;
    if (now === undefined || (kind !== 'clusterIP' && now.external === undefined)) return false;
    return now.endpoints.includes(endpoint);
  }

  /** Is the endpoint one that the target's policy now gives new flows to? */
  mayChoose({ spec, set }: Target, endpoint: string): boolean {
    const now = this.#states.get(spec.name)?.spec;
    return now !== undefined && endpointsOf(now, set).some(({ name }) => name === endpoint);
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
  chosen({ spec, index, family, set }: Target, client: string, endpoint: string): void {
    const { next, affine } = this.#states.get(spec.name)!.memory[family][index]!;
    const isRemembered = spec.affinity && affine.has(client);
    if (spec.affinity) affine.set(client, endpoint);
    if (isRemembered) return;
    const list = endpointsOf(spec, set);
    next[set] = (list.findIndex(({ name }) => name === endpoint) + 1) % list.length;
  }

  /**
   * A client that is remembered asks one set only: kube-proxy remembers an endpoint of either, Twill the last (S27).
   */
  #mayAsk(spec: ServiceSpec, kind: Kind, isOutside: boolean): boolean {
    if (kind === 'clusterIP')
      return (
        !spec.affinity ||
        !spec.external ||
        setOf(spec, kind, isOutside) === setOf(spec, 'nodePort', isOutside)
      );
    // what Twill alone gives away, Twill alone would remember
    return spec.external !== undefined && (kind !== 'gatewayPort' || !(spec.affinity || isOutside));
  }

  #spec(index: number, endpoints: readonly string[], affinity: boolean): ServiceSpec {
    const external = hasHost(this.#mode)
      ? {
          externalIPs: externalIPs(index),
          balancers: balancers(index),
          isLocal: index % 3 === 2,
          ranges: index % 2 === 0 ? RANGES : [],
        }
      : undefined;
    return {
      name: nameOf(index),
      clusterIPs: clusterIPs(index),
      ports: PORTS.map((port) => ({ ...port, nodePort: port.nodePort + index })),
      affinity,
      endpoints,
      internalLocal: index % 4 === 3 && !affinity,
      external,
    };
  }

  /** Another policy, other source ranges, or found from outside no more, or again. */
  #otherwiseExposed(spec: ServiceSpec): ServiceSpec {
    if (!hasHost(this.#mode)) return { ...spec, internalLocal: !spec.internalLocal };
    const { external } = spec;
    const index = Number(spec.name.slice(1));
    if (!external) return { ...spec, external: this.#spec(index, [], false).external };
    const kind = this.#random.weighted({ policy: 50, ranges: 30, none: 20 });
    if (kind === 'none') return { ...spec, external: undefined };
    if (kind === 'policy') return { ...spec, external: { ...external, isLocal: !external.isLocal } };
    return { ...spec, external: { ...external, ranges: external.ranges.length > 0 ? [] : RANGES } };
  }

  #become(name: string, after: ServiceSpec | undefined): Change {
    const state = this.#states.get(name) ?? fresh();
    const before = state.spec;
    for (const { next, affine } of FAMILIES.flatMap((family) => state.memory[family])) {
      for (const set of POLICIES) {
        const count = after ? endpointsOf(after, set).length : 0;
        next[set] = count === 0 ? 0 : next[set] % count;
      }
      for (const [client, endpoint] of affine)
        if (!after?.affinity || !after.endpoints.includes(endpoint)) affine.delete(client);
    }
    const { memory } = state;
    const turnsOf = (family: Family) => memory[family].map(({ next }) => ({ ...next }));
    const turns: Turns = { 4: turnsOf(4), 6: turnsOf(6) };
    this.#states.set(name, after ? { spec: after, memory } : fresh());
    return { name, before, after, turns };
  }
}
