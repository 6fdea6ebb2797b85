/** What `twill get` and `twill status` answer: documents with their live state beside them. */
import type {
  DropRow,
  GetKind,
  NetworkStatus,
  PeerStatus,
  PortStatus,
  ResourceItem,
  ServiceStatus,
  Status,
} from '../control/protocol.ts';
import { render, withGiven } from '../control/render.ts';
import { surroundingsOf } from '../control/surroundings.ts';
import type { Generation, Kind, PortPlan, Resource, ResourceOf } from '../control/types.ts';
import {
  COUNTER_FIELDS,
  Counter,
  type Counters,
  FIRST_PEER,
  FIRST_PORT,
  Global,
  LOCATIONS,
} from '../telemetry/counters.ts';
import { DROP_REASONS, Drop } from '../telemetry/drop.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import type { Manager } from './manager.ts';
import type { Prober } from './probes.ts';
import type { Sampler } from './sampler.ts';

export interface ViewOptions {
  readonly manager: Manager;
  readonly dataplane: Dataplane;
  readonly counters: Counters;
  readonly sampler: Sampler;
  readonly prober: Prober;
  readonly version: string;
  /** performance.now() when the daemon became ready to start. */
  readonly started: number;
}

/** A peer that answers no ICMP but sent datagrams within this time is well. */
const HEARD_S = 60;

/** Names as they are written in paths, and their kinds. */
export const RESOURCE_KINDS: Readonly<Partial<Record<GetKind, Kind>>> = {
  hosts: 'Host',
  networks: 'Network',
  ports: 'Port',
  peers: 'Peer',
  services: 'Service',
  endpointslices: 'EndpointSlice',
  nodes: 'Node',
  servicecidrs: 'ServiceCIDR',
};

export class Views {
  readonly #o: ViewOptions;

  constructor(options: ViewOptions) {
    this.#o = options;
  }

  async items(kind: GetKind): Promise<readonly unknown[]> {
    switch (kind) {
      case 'fdb':
      case 'neighbors':
      case 'flows':
      case 'affinities':
        return this.#o.dataplane.dump(kind);
      case 'drops':
        return this.drops();
      default:
        return this.#resources(RESOURCE_KINDS[kind]!);
    }
  }

  /** The resource as `get` shows it. */
  async item(kind: Kind, name: string): Promise<ResourceItem | undefined> {
    return (await this.#resources(kind)).find((item) => item.metadata.name === name);
  }

  drops(): DropRow[] {
    const { counters, sampler } = this.#o;
    const rows: DropRow[] = [];
    const now = performance.now();
    for (let location = 0; location < LOCATIONS; location++) {
      for (let reason = 1; reason < Drop.COUNT; reason++) {
        const count = counters.drops[location * Drop.COUNT + reason]!;
        if (count === 0) continue;
        const { name, text } = DROP_REASONS[reason]!;
        const age = sampler.dropAge(location, reason, now);
        const last = age === null ? null : Math.round(age);
        rows.push({ reason: name, from: this.#locationName(location), count, last, text });
      }
    }
    return rows;
  }

  status(): Status {
    const { manager, counters, sampler, prober, version, started } = this.#o;
    const { host } = manager;
    const generation = manager.generation ?? EMPTY;
    const networks = new Map(generation.networks.map((network) => [network.id, network.name]));
    const ports = generation.ports.map((port): Status['ports'][number] => {
      const rates = sampler.rates(port.config.id);
      return {
        name: port.config.name,
        network: networks.get(port.config.network) ?? '',
        state: manager.isGone(port) ? 'gone' : 'up',
        rxRate: rates.rx,
        txRate: rates.tx,
        rxBitRate: rates.rxBits,
        txBitRate: rates.txBits,
      };
    });
    const peers = generation.peers.map((peer): Status['peers'][number] => {
      const { reachable, rtt } = prober.state(peer.name);
      const rates = sampler.rates(peer.id);
      return { name: peer.name, reachable, rtt, rxRate: rates.rx, txRate: rates.tx };
    });
    const problems = this.#problems(generation);
    return {
      healthy: problems.length === 0,
      problems,
      host: manager.of('Host')[0]?.name ?? '',
      version,
      pid: process.pid,
      uptime: Math.round((performance.now() - started) / 1000),
      probing: prober.text,
      counts: {
        networks: generation.networks.length,
        ports: ports.length,
        peers: peers.length,
        services: manager.count('Service'),
        flows: counters.globals[Global.FLOWS]!,
      },
      ports,
      hostPorts: host.plan.ports.map(({ interface: link, network, ways, masquerade }) => ({
        interface: link,
        network,
        addresses: ways.map(({ address }) => address),
        masquerade,
      })),
      hostRoutes: host.routes,
      peers,
      drops: this.#dropTotals(),
    };
  }

  #problems(generation: Generation): string[] {
    const { manager, prober } = this.#o;
    const gone = generation.ports
      .filter((port) => manager.isGone(port))
      .map((port) => `port ${port.config.name} is gone: make its namespace again, then twill apply -f FILE`);
    const silent = generation.peers
      .filter(
        (peer) =>
          prober.state(peer.name).reachable === 'no' && (this.#lastHeard(peer.id) ?? HEARD_S) >= HEARD_S,
      )
      .map((peer) => `peer ${peer.name} answers no ICMP echo and has sent nothing for ${HEARD_S} s`);
    return [...gone, ...silent, ...manager.host.problems];
  }

  #dropTotals(): Status['drops'] {
    const { counters, sampler } = this.#o;
    const totals = new Float64Array(Drop.COUNT);
    for (let i = 0; i < counters.drops.length; i++) totals[i % Drop.COUNT]! += counters.drops[i]!;
    return DROP_REASONS.map(({ name }, reason) => ({
      reason: name,
      count: totals[reason]!,
      rate: sampler.dropRate(reason),
    }))
      .filter((row) => row.count > 0)
      .sort((a, b) => b.count - a.count);
  }

  async #resources(kind: Kind): Promise<ResourceItem[]> {
    const resources = [...this.#o.manager.of(kind)].sort(byName);
    const generation = this.#o.manager.generation ?? EMPTY;
    const status = await this.#statusOf(kind, generation);
    return resources.map((resource) => {
      const item = render(resource);
      if (resource.kind === 'Service' && resource.spec.wants) {
        const { namespace, name } = resource;
        item.spec = withGiven(item.spec, this.#o.manager.services.get(namespace, name)!.spec);
      }
      const live = status(resource);
      if (live !== undefined) item.status = { ...(item.status as object), ...live };
      return item;
    });
  }

  /** One question to the worker per list, not per item. */
  async #statusOf(kind: Kind, generation: Generation): Promise<(resource: Resource) => unknown> {
    const { dataplane } = this.#o;
    switch (kind) {
      case 'Network': {
        // The gateway's own addresses are in every network and nobody's.
        const macs = tally(await dataplane.dump('fdb'), (row) =>
          row.port === 'gateway' ? null : row.network,
        );
        return (resource) => this.#networkStatus(generation, resource.name, macs.get(resource.name) ?? 0);
      }
      case 'Port':
        return (resource) => this.#portStatus(generation, resource.name);
      case 'Peer': {
        const macs = tally(await dataplane.dump('fdb'), (row) => row.peer);
        return (resource) => this.#peerStatus(generation, resource.name, macs.get(resource.name) ?? 0);
      }
      case 'Service': {
        const flows = tally(await dataplane.dump('flows'), (row) => serviceOf(row.service));
        const slices = this.#o.manager.of('EndpointSlice');
        const [ready4, ready6] = [endpointCounts(slices, 'IPv4'), endpointCounts(slices, 'IPv6')];
        const { proxy } = surroundingsOf(this.#o.manager.of('Host'));
        return (resource): ServiceStatus => {
          const name = `${resource.namespace}/${resource.name}`;
          const { algorithm, onEndpointRemoved } = { ...proxy, ...(resource as ResourceOf<'Service'>).spec };
          return {
            endpoints: Math.max(ready4.get(name) ?? 0, ready6.get(name) ?? 0),
            flows: flows.get(name) ?? 0,
            algorithm,
            onEndpointRemoved,
          };
        };
      }
      default:
        return () => undefined;
    }
  }

  #networkStatus(generation: Generation, name: string, macs: number): NetworkStatus | undefined {
    const network = generation.networks.find((n) => n.name === name);
    if (!network) return undefined;
    return {
      mtu: network.mtu,
      ports: generation.ports.filter((port) => port.config.network === network.id).length,
      peers: generation.peers.filter((p) => p.memberships.some((m) => m.network === network.id)).length,
      macs,
    };
  }

  #portStatus(generation: Generation, name: string): PortStatus | undefined {
    const port = generation.ports.find((p) => p.config.name === name);
    if (!port) return undefined;
    const { id } = port.config;
    return {
      state: this.#o.manager.isGone(port) ? 'gone' : 'up',
      mac: port.tap.mac,
      mtu: port.tap.mtu,
      rxFrames: this.#count(id, Counter.RX),
      txFrames: this.#count(id, Counter.TX),
      rxBytes: this.#count(id, Counter.RX_BYTES),
      txBytes: this.#count(id, Counter.TX_BYTES),
      dropped: this.#dropped(id),
    };
  }

  #peerStatus(generation: Generation, name: string, macs: number): PeerStatus | undefined {
    const peer = generation.peers.find((p) => p.name === name);
    if (!peer) return undefined;
    const members = new Set(peer.memberships.map((m) => m.network));
    return {
      networks: generation.networks
        .filter((network) => members.has(network.id))
        .map((network) => network.name),
      macs,
      rxBytes: this.#count(peer.id, Counter.RX_BYTES),
      txBytes: this.#count(peer.id, Counter.TX_BYTES),
      lastHeard: this.#lastHeard(peer.id),
      ...this.#o.prober.state(name),
    };
  }

  #count(location: number, counter: Counter): number {
    return this.#o.counters.values[location * COUNTER_FIELDS + counter]!;
  }

  #dropped(location: number): number {
    const row = this.#o.counters.drops.subarray(location * Drop.COUNT, (location + 1) * Drop.COUNT);
    return row.reduce((sum, count) => sum + count, 0);
  }

  /** Seconds. The counter holds the card's clock: CLOCK_MONOTONIC in ms, as a wrapping int32. */
  #lastHeard(location: number): number | null {
    const heard = this.#count(location, Counter.LAST_RX);
    if (heard === 0) return null;
    const now = Number(process.hrtime.bigint() / 1_000_000n) | 0;
    return Math.max(0, Math.round(((now - heard) | 0) / 1000));
  }

  #locationName(location: number): string {
    const generation = this.#o.manager.generation ?? EMPTY;
    if (location >= FIRST_PEER)
      return generation.peers.find((p) => p.id === location)?.name ?? 'removed peer';
    if (location >= FIRST_PORT) return portAt(generation, location)?.config.name ?? 'removed port';
    return location === 0 ? 'gateway' : 'underlay';
  }
}

const EMPTY: Generation = {
  host: { underlayAddresses: [], vxlanPorts: [], maxFlows: 0 },
  underlays: [],
  remotes: [],
  networks: [],
  peers: [],
  ports: [],
};

const portAt = (generation: Generation, location: number): PortPlan | undefined =>
  generation.ports.find((port) => port.config.id === location);

/** "default/shop:http" → "default/shop" */
const serviceOf = (name: string): string => name.slice(0, name.lastIndexOf(':'));

/** The order of `localeCompare`, made once: a list may have a hundred thousand rows. */
const order = new Intl.Collator();

function byName(a: Resource, b: Resource): number {
  return order.compare(a.namespace, b.namespace) || order.compare(a.name, b.name);
}

function tally<T>(rows: readonly T[], key: (row: T) => string | null): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) {
    const name = key(row);
    if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** Endpoints that may receive traffic, by "namespace/service". */
function endpointCounts(
  slices: readonly ResourceOf<'EndpointSlice'>[],
  addressType: 'IPv4' | 'IPv6',
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const slice of slices) {
    if (slice.spec.addressType !== addressType) continue;
    const name = `${slice.namespace}/${slice.spec.service}`;
    counts.set(name, (counts.get(name) ?? 0) + slice.spec.ready);
  }
  return counts;
}
