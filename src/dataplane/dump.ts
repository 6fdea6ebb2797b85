import { FdbKind } from '../bridge/fdb.ts';
import { isPeer } from '../fabric/locations.ts';
import { NeighborSource, NeighborState } from '../neigh/neighbors.ts';

import { BACKEND_WORDS } from '../service/record.ts';
import { formatAddress, formatMac } from '../wire/address.ts';
import type { Dataplane } from './dataplane.ts';
import { endText, flowRow, seconds } from './flow-row.ts';
import type { AffinityRow, DumpKind, DumpRow, FdbRow, FlowRow, NeighborRow } from './messages.ts';

/**
 * Live tables as rows for people, one by one: whoever forwards meanwhile takes as many as a turn has time for. A row
 * that comes or goes during the listing may or may not be in it; none is in it twice (N24).
 */
export function dumpRows(dataplane: Dataplane, what: DumpKind): Generator<DumpRow> {
  switch (what) {
    case 'fdb':
      return dumpFdb(dataplane);
    case 'neighbors':
      return dumpNeighbors(dataplane);
    case 'flows':
      return dumpFlows(dataplane);
    case 'affinities':
      return dumpAffinities(dataplane);
  }
}

/** All rows at once. */
export const dump = (dataplane: Dataplane, what: DumpKind): DumpRow[] => [...dumpRows(dataplane, what)];

function* dumpFdb({ pipeline, networks, now }: Dataplane): Generator<FdbRow> {
  const { names } = pipeline.locations;
  for (const network of networks.values()) {
    for (const { hi, lo, location, kind, age, moves } of pipeline.bridge.fdbs[network.id]!.entries(now)) {
      yield {
        network: network.name,
        mac: formatMac(hi, lo),
        port: isPeer(location) ? null : location === 0 ? 'gateway' : names[location]!,
        peer: isPeer(location) ? names[location]! : null,
        type: kind === FdbKind.LEARNED ? 'learned' : kind === FdbKind.STATIC ? 'static' : 'local',
        age: kind === FdbKind.LEARNED ? seconds(age) : null,
        moves,
      };
    }
  }
}

const NEIGHBOR_SOURCES = {
  [NeighborSource.PORT]: 'port',
  [NeighborSource.PEER]: 'peer',
  [NeighborSource.LEARNED]: 'learned',
} as const;
const NEIGHBOR_STATES = {
  [NeighborState.INCOMPLETE]: 'incomplete',
  [NeighborState.REACHABLE]: 'reachable',
  [NeighborState.PROBING]: 'probing',
  [NeighborState.PERMANENT]: 'permanent',
} as const;
/** A13: from this age on an entry is verified when it is used. */
const STALE_MS = 30_000;

function* dumpNeighbors({ pipeline, networks, now }: Dataplane): Generator<NeighborRow> {
  const { neighbors } = pipeline;
  for (const network of networks.values()) {
    for (const subnet of network.subnets) {
      const { gatewayMac } = network;
      const ip = formatAddress(...subnet.gateway);
      const mac = formatMac(gatewayMac.hi, gatewayMac.lo);
      yield { network: network.name, ip, mac, source: 'gateway', state: 'permanent', age: null };
    }
  }
  for (let row = 0; row < neighbors.extent; row++) {
    if (!neighbors.isUsed(row)) continue;
    const age = (now - neighbors.stamp[row]!) | 0;
    const state = neighbors.state[row] as NeighborState;
    const isStale = state === NeighborState.REACHABLE && age >= STALE_MS;
    yield {
      network: pipeline.networks.names[neighbors.network(row)]!,
      ip: formatAddress(
        neighbors.address(row, 0),
        neighbors.address(row, 1),
        neighbors.address(row, 2),
        neighbors.address(row, 3),
      ),
      mac: state === NeighborState.INCOMPLETE ? '' : formatMac(neighbors.hi[row]!, neighbors.lo[row]!),
      source: NEIGHBOR_SOURCES[neighbors.source[row] as NeighborSource],
      state: isStale ? 'stale' : NEIGHBOR_STATES[state],
      age: state === NeighborState.PERMANENT ? null : seconds(age),
    };
  }
}

function* dumpFlows(dataplane: Dataplane): Generator<FlowRow> {
  const { flows } = dataplane.pipeline;
  flows.sweep(dataplane.now, flows.extent); // N24: what is listed is what is counted
  for (let row = 0; row < flows.extent; row++) {
    if (flows.isLive(row, dataplane.now)) yield flowRow(dataplane, row);
  }
}

function* dumpAffinities({ pipeline, now }: Dataplane): Generator<AffinityRow> {
  const { affinities, services } = pipeline;
  for (let row = 0; row < affinities.extent; row++) {
    if (!affinities.isUsed(row)) continue;
    const service = affinities.key(row, 1);
    const left = services.affinity[service]! - ((now - affinities.stamp[row]!) | 0);
    if (left <= 0) continue;
    const [b0, b1, b2, b3, port] = affinities.backend.subarray(
      row * BACKEND_WORDS,
      (row + 1) * BACKEND_WORDS,
    );
    yield {
      service: services.name(service),
      client: formatAddress(
        affinities.key(row, 2),
        affinities.key(row, 3),
        affinities.key(row, 4),
        affinities.key(row, 5),
      ),
      backend: endText(b0!, b1!, b2!, b3!, port!),
      expires: seconds(left),
      hits: affinities.hits[row]!,
    };
  }
}
