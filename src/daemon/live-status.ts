/** The live state beside a document in `twill get`: what runs of a Network, a Port, a Peer or a Service. */
import type { NetworkStatus, PeerStatus, PortStatus, ServiceStatus } from '../control/protocol.ts';
import { surroundingsOf } from '../control/surroundings.ts';
import type { Kind, Resource, ResourceOf } from '../control/types.ts';
import { Counter, type Counters } from '../telemetry/counters.ts';
import type { Dataplane } from './dataplane-proxy.ts';
import type { Manager } from './manager.ts';
import type { Prober } from './probes.ts';

export interface LiveSources {
  readonly manager: Manager;
  readonly dataplane: Dataplane;
  readonly counters: Counters;
  readonly prober: Prober;
}

/** @returns undefined for a kind that has none. One question to the worker per list, not per item. */
export async function liveStatus(
  kind: Kind,
  sources: LiveSources,
): Promise<((resource: Resource) => object | undefined) | undefined> {
  const { manager, dataplane } = sources;
  switch (kind) {
    case 'Network': {
      // The gateway's own addresses are in every network and nobody's.
      const macs = tally(await dataplane.dump('fdb'), (row) => (row.port === 'gateway' ? null : row.network));
      return ({ name }) => networkStatus(sources, name, macs.get(name) ?? 0);
    }
    case 'Port':
      return ({ name }) => portStatus(sources, name);
    case 'Peer': {
      const macs = tally(await dataplane.dump('fdb'), (row) => row.peer);
      return ({ name }) => peerStatus(sources, name, macs.get(name) ?? 0);
    }
    case 'Service': {
      const flows = tally(await dataplane.dump('flows'), (row) => serviceOf(row.service));
      const slices = manager.of('EndpointSlice');
      const [ready4, ready6] = [endpointCounts(slices, 'IPv4'), endpointCounts(slices, 'IPv6')];
      const { proxy } = surroundingsOf(manager.of('Host'));
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
      return undefined;
  }
}

function networkStatus({ manager }: LiveSources, name: string, macs: number): NetworkStatus | undefined {
  const { networks = [], ports = [], peers = [] } = manager.generation ?? {};
  const network = networks.find((n) => n.name === name);
  if (!network) return undefined;
  return {
    mtu: network.mtu,
    ports: ports.filter((port) => port.config.network === network.id).length,
    peers: peers.filter((p) => p.memberships.some((m) => m.network === network.id)).length,
    macs,
  };
}

function portStatus({ manager, counters }: LiveSources, name: string): PortStatus | undefined {
  const port = manager.generation?.ports.find((p) => p.config.name === name);
  if (!port) return undefined;
  const { id } = port.config;
  return {
    state: manager.isGone(port) ? 'gone' : 'up',
    mac: port.tap.mac,
    mtu: port.tap.mtu,
    rxFrames: counters.at(id, Counter.RX),
    txFrames: counters.at(id, Counter.TX),
    rxBytes: counters.at(id, Counter.RX_BYTES),
    txBytes: counters.at(id, Counter.TX_BYTES),
    dropped: counters.dropped(id),
  };
}

function peerStatus(
  { manager, counters, prober }: LiveSources,
  name: string,
  macs: number,
): PeerStatus | undefined {
  const { networks = [], peers = [] } = manager.generation ?? {};
  const peer = peers.find((p) => p.name === name);
  if (!peer) return undefined;
  const members = new Set(peer.memberships.map((m) => m.network));
  return {
    networks: networks.filter(({ id }) => members.has(id)).map((network) => network.name),
    macs,
    rxBytes: counters.at(peer.id, Counter.RX_BYTES),
    txBytes: counters.at(peer.id, Counter.TX_BYTES),
    lastHeard: lastHeard(counters, peer.id),
    ...prober.state(name),
  };
}

/** Seconds; null = never. The counter holds the card's clock: CLOCK_MONOTONIC in ms, as a wrapping int32. */
export function lastHeard(counters: Counters, peer: number): number | null {
  const heard = counters.at(peer, Counter.LAST_RX);
  if (heard === 0) return null;
  const now = Number(process.hrtime.bigint() / 1_000_000n) | 0;
  return Math.max(0, Math.round(((now - heard) | 0) / 1000));
}

/** "default/shop:http" → "default/shop" */
const serviceOf = (name: string): string => name.slice(0, name.lastIndexOf(':'));

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
