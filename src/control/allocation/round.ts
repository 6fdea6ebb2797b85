/** One transaction: who keeps what, and who is given what. */
import { type Family, familyOf, formatWords, type Words } from '../../wire/address.ts';
import type { Report } from '../check/services.ts';
import { isOlder } from '../claims.ts';
import type { NamedMap } from '../named.ts';
import { nameOf } from '../problem.ts';
import { withExternals } from '../schema/service.ts';
import type { Surroundings } from '../surroundings.ts';
import type { Allocation, ResourceOf, ServiceAddress } from '../types.ts';
import { addressKey, type Key, keysOf, type Ledger, nodePortKey, pathOf, textOf } from './ledger.ts';
import { ServiceNetworks } from './networks.ts';
import {
  addressAt,
  FIRST_NODE_PORT,
  firstPlace,
  freePlace,
  NODE_PORTS,
  type Range,
  seedOf,
} from './range.ts';

type Service = ResourceOf<'Service'>;

/** A Service that comes, changes or goes. */
export interface ServiceChange {
  readonly before: Service | undefined;
  readonly after: Service | undefined;
}

interface Kept {
  readonly addresses: readonly ServiceAddress[];
  /** By port: protocols of one port share it. */
  readonly nodePorts: ReadonlyMap<number, number>;
  /** 0 = none. */
  readonly healthCheckNodePort: number;
}

/** What one Service was given. */
export interface Given extends Kept {
  /** As its document has it. */
  readonly written: Service;
  readonly filled: Service;
}

/** Told one by one, then counted. */
const MOST_TOLD = 5;

export class Round {
  readonly news: Allocation[] = [];
  readonly #networks: ServiceNetworks;
  /** Ranges found without a free place: nothing becomes free while others are placed. */
  readonly #full = new Set<Range>();
  #holders: Map<Key, Service> | undefined;
  #told = 0;

  constructor(
    readonly ledger: Ledger,
    private readonly changes: readonly ServiceChange[],
    private readonly given: NamedMap<Given>,
    surroundings: Surroundings,
    private readonly refuse: Report,
    private readonly warn: Report,
  ) {
    this.#networks = new ServiceNetworks(surroundings);
  }

  /** @returns what Services are given that want something */
  run(): Map<Service, Given> {
    const { ledger } = this;
    for (const { before } of this.changes) if (before) ledger.add(keysOf(before.spec), -1);
    for (const { after } of this.changes) if (after) this.#write(after);
    const wanting = this.changes
      .flatMap(({ after }) => (after?.spec.wants ? [after] : []))
      .sort((a, b) => (isOlder(a, b) ? -1 : 1));
    const kept = new Map(wanting.map((service) => [service, this.#keep(service)]));
    const results = new Map<Service, Given>();
    for (const service of wanting) {
      const given = this.#give(service, kept.get(service)!);
      results.set(service, given);
    }
    const untold = this.#told - MOST_TOLD;
    if (untold > 0) this.warn(wanting[0]!, 'spec', `${untold} more places were taken, of other Services too`);
    return results;
  }

  /** What a Service has written is its own, if nobody was given it. */
  #write(service: Service): void {
    const keys = keysOf(service.spec);
    for (const key of keys) {
      const holder = this.ledger.isUsed(key) ? this.#holderOf(key) : undefined;
      if (holder) this.#refuseTaken(service, key, holder);
    }
    this.ledger.add(keys, 1);
  }

  /** Whom something was given: those that do not change, and those that were served already. */
  #holderOf(key: Key): Service | undefined {
    return this.#holdersByKey().get(key);
  }

  #holdersByKey(): Map<Key, Service> {
    if (this.#holders) return this.#holders;
    this.#holders = new Map();
    const changing = new Set(this.changes.map(({ before }) => before));
    for (const given of this.given.values()) {
      if (changing.has(given.filled)) continue;
      for (const key of keysOfGiven(given)) this.#holders.set(key, given.filled);
    }
    return this.#holders;
  }

  #refuseTaken(service: Service, key: Key, holder: Service): void {
    const message = `${textOf(key)} was given to ${nameOf(holder)}, which has none written; write another here, or first another there`;
    this.refuse(service, pathOf(service, key), message);
  }

  /** What a Service had before and still can have. */
  #keep(service: Service): Kept {
    const had = this.given.get(service.namespace, service.name);
    const { spec } = service;
    const families = this.#networks.lackedBy(spec);
    const addresses = (had?.addresses ?? []).filter(({ words }) => {
      if (!families.includes(familyOf(words))) return false;
      if (this.#networks.contain(words)) return this.#retain(service, addressKey(words));
      this.warn(service, 'spec', `${formatWords(words)}, which it was given, is in no service network now`);
      return false;
    });
    const nodePorts = new Map<number, number>();
    const isOpen = spec.wants!.nodePorts;
    for (const { port, nodePort } of spec.ports) {
      const number = had?.nodePorts.get(port);
      if (!isOpen || nodePort !== 0 || number === undefined || nodePorts.has(port)) continue;
      if (this.#retain(service, nodePortKey(number))) nodePorts.set(port, number);
    }
    const check = spec.wants!.healthCheckNodePort ? (had?.healthCheckNodePort ?? 0) : 0;
    const isKept = check !== 0 && this.#retain(service, nodePortKey(check));
    return { addresses, nodePorts, healthCheckNodePort: isKept ? check : 0 };
  }

  /** @returns false when the Service now writes it itself, for another use */
  #retain(service: Service, key: Key): boolean {
    if (!this.ledger.isUsed(key)) {
      this.ledger.add([key], 1);
      this.#holdersByKey().set(key, service);
      return true;
    }
    const writer = this.changes.find(({ after }) => after && keysOf(after.spec).has(key))?.after;
    if (writer && writer !== service) this.#refuseTaken(writer, key, service);
    return false;
  }

  #give(written: Service, kept: Kept): Given {
    const { spec } = written;
    const addresses = [...kept.addresses];
    for (const family of this.#networks.lackedBy(spec)) {
      if (kept.addresses.some(({ words }) => familyOf(words) === family)) continue;
      const words = this.#address(written, family);
      if (words) addresses.push({ kind: 'clusterIP', words });
    }
    const clusterIPs = [...spec.addresses.filter(({ kind }) => kind === 'clusterIP'), ...addresses];
    // Without a ClusterIP nothing of the Service is programmed.
    const open = clusterIPs.length > 0 ? spec.wants! : { nodePorts: false, healthCheckNodePort: false };
    const nodePorts = new Map(kept.nodePorts);
    const ports = spec.ports.map((port, i) => {
      if (port.nodePort !== 0 || !open.nodePorts) return port;
      const shared = spec.ports.find((other) => other.port === port.port && other.nodePort !== 0)?.nodePort;
      const nodePort =
        shared ?? nodePorts.get(port.port) ?? this.#nodePort(written, `spec.ports[${i}]`, String(port.port));
      if (shared === undefined && nodePort !== 0) nodePorts.set(port.port, nodePort);
      return { ...port, nodePort };
    });
    const healthCheckNodePort =
      kept.healthCheckNodePort ||
      (open.healthCheckNodePort ? this.#nodePort(written, 'spec', 'health check') : 0);
    const filled: Service = {
      ...written,
      spec: {
        ...spec,
        addresses: withExternals(clusterIPs, spec.wants!.externals),
        ports,
        healthCheckNodePort: healthCheckNodePort || spec.healthCheckNodePort,
      },
    };
    const given = { written, filled, addresses, nodePorts, healthCheckNodePort };
    this.#tell(given, kept);
    return given;
  }

  #address(service: Service, family: Family): Words | undefined {
    const ranges = this.#networks.of(family);
    if (ranges.length === 0) {
      const message = `has no IPv${family} ClusterIP, and no IPv${family} network is known to give it one from; write clusterIP, or serviceCIDRs of the Host`;
      this.warn(service, 'spec', message);
      return undefined;
    }
    const seed = seedOf('address', service.namespace, service.name);
    for (const range of ranges) {
      const place = this.#take(service, 'spec', range, seed, (each) => addressAt(range, each));
      if (place >= 0) return addressAt(range, place);
    }
    const all = ranges.map(({ text }) => text).join(', ');
    this.refuse(service, 'spec', `no address is left in ${all}; add a network to the serviceCIDRs`);
    return undefined;
  }

  /** @returns 0 when none is left, which is refused */
  #nodePort(service: Service, path: string, what: string): number {
    const seed = seedOf('node port', service.namespace, service.name, what);
    const place = this.#take(service, path, NODE_PORTS, seed, (each) => FIRST_NODE_PORT + each);
    if (place >= 0) return FIRST_NODE_PORT + place;
    this.refuse(service, path, `no node port is left of ${NODE_PORTS.text}; write one outside of them`);
    return 0;
  }

  /** @returns a place that was free, −1 when there is none */
  #take(
    service: Service,
    path: string,
    range: Range,
    seed: number,
    at: (place: number) => Words | number,
  ): number {
    if (range.size === 0 || this.#full.has(range)) return -1;
    const keyAt = (place: number): Key => {
      const what = at(place);
      return typeof what === 'number' ? nodePortKey(what) : addressKey(what);
    };
    let rival: Service | undefined;
    const place = freePlace(range, seed, (each) => {
      const what = at(each);
      const isUsed = this.ledger.isUsed(keyAt(each));
      if (isUsed) rival ??= this.#holderOf(keyAt(each));
      return !isUsed && (typeof what === 'number' || this.#networks.mayBeGiven(what));
    });
    if (place < 0) {
      this.#full.add(range);
      return -1;
    }
    this.ledger.add([keyAt(place)], 1);
    this.#holdersByKey().set(keyAt(place), service);
    const own = firstPlace(range, seed);
    if (place !== own) this.#tellOfPlace(service, path, keyAt(own), keyAt(place), rival);
    return place;
  }

  /** @param rival who was given a place this one would have had: only then it matters who comes first */
  #tellOfPlace(service: Service, path: string, own: Key, instead: Key, rival: Service | undefined): void {
    if (this.#told++ >= MOST_TOLD) return;
    const message =
      rival === undefined
        ? `its own place, ${textOf(own)}, is taken: given ${textOf(instead)}`
        : `its own place, ${textOf(own)}, is taken: given ${textOf(instead)} behind ${nameOf(rival)}; who comes first is decided anew at every start, so write it where it must stay`;
    this.warn(service, path, message);
  }

  #tell(given: Given, kept: Kept): void {
    const fresh = given.addresses.slice(kept.addresses.length);
    const nodePorts = [...given.nodePorts].filter(([port]) => !kept.nodePorts.has(port));
    const check = kept.healthCheckNodePort === 0 ? given.healthCheckNodePort : 0;
    if (fresh.length + nodePorts.length + check === 0) return;
    const { namespace, name } = given.written;
    this.news.push({
      namespace,
      name,
      clusterIPs: fresh.map(({ words }) => formatWords(words)),
      nodePorts: nodePorts.map(([port, nodePort]) => ({ port, nodePort })),
      ...(check !== 0 && { healthCheckNodePort: check }),
    });
  }
}

function keysOfGiven({ addresses, nodePorts, healthCheckNodePort }: Given): Key[] {
  const ports = [...nodePorts.values(), healthCheckNodePort].filter((port) => port !== 0);
  return [...addresses.map(({ words }) => addressKey(words)), ...ports.map(nodePortKey)];
}
