/** What `twill get` and `twill status` answer: documents with their live state beside them. */
import type { DropRow, GetKind, ResourceItem, Status } from '../control/protocol.ts';
import { render, withGiven } from '../control/render.ts';
import type { Generation, Kind, Resource } from '../control/types.ts';
import { FIRST_PEER, FIRST_PORT, Global, LOCATIONS } from '../telemetry/counters.ts';
import { DROP_REASONS, Drop } from '../telemetry/drop.ts';
import type { Health } from './health/health.ts';
import { type LiveSources, lastHeard, liveStatus } from './live-status.ts';
import type { Sampler } from './sampler.ts';

export interface ViewOptions extends LiveSources {
  readonly sampler: Sampler;
  readonly health: Pick<Health, 'problems'>;
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
    const { manager, counters, prober, health } = this.#o;
    const gone = generation.ports
      .filter((port) => manager.isGone(port))
      .map((port) => `port ${port.config.name} is gone: make its namespace again, then twill apply -f FILE`);
    const silent = generation.peers
      .filter(
        (peer) =>
          prober.state(peer.name).reachable === 'no' && (lastHeard(counters, peer.id) ?? HEARD_S) >= HEARD_S,
      )
      .map((peer) => `peer ${peer.name} answers no ICMP echo and has sent nothing for ${HEARD_S} s`);
    return [...gone, ...silent, ...manager.host.problems, ...health.problems];
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
    const status = await liveStatus(kind, this.#o);
    return resources.map((resource) => {
      const item = render(resource);
      if (resource.kind === 'Service' && resource.spec.wants) {
        const filled = this.#o.manager.services.get(resource.namespace, resource.name);
        if (filled) item.spec = withGiven(item.spec, filled.spec);
      }
      const live = status?.(resource);
      if (live !== undefined) item.status = { ...(item.status as object), ...live };
      return item;
    });
  }

  #locationName(location: number): string {
    const generation = this.#o.manager.generation ?? EMPTY;
    if (location >= FIRST_PEER)
      return generation.peers.find((p) => p.id === location)?.name ?? 'removed peer';
    if (location >= FIRST_PORT)
      return generation.ports.find(({ config }) => config.id === location)?.config.name ?? 'removed port';
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

/** The order of `localeCompare`, made once: a list may have a hundred thousand rows. */
const order = new Intl.Collator();

function byName(a: Resource, b: Resource): number {
  return order.compare(a.namespace, b.namespace) || order.compare(a.name, b.name);
}
