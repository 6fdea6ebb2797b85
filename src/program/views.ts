/** Which columns a table of each kind has. Resources are read as given: a field may be absent or odd. */
import type {
  DropRow,
  GetKind,
  NetworkStatus,
  PeerStatus,
  PortStatus,
  ResourceItem,
  ServiceStatus,
} from '../control/protocol.ts';
import type { AffinityRow, FdbRow, FlowRow, NeighborRow } from '../dataplane/messages.ts';
import { age, milliseconds, si } from './figures.ts';
import type { Column } from './table.ts';

export interface View<T> {
  readonly columns: readonly Column<T>[];
  /** What `get KIND NAME` is compared with. */
  readonly names: (row: T) => readonly (string | null)[];
}

const view = <T>(names: View<T>['names'], columns: readonly Column<T>[]): View<T> => ({ columns, names });

/** The value at a path of a document, or undefined. */
function at(item: unknown, ...path: readonly string[]): unknown {
  let value = item;
  for (const key of path) value = (value as Record<string, unknown> | null | undefined)?.[key];
  return value;
}

function text(value: unknown, absent = '-'): string {
  return value === undefined || value === null || value === '' ? absent : String(value);
}

function list(value: unknown, item: (each: unknown) => string = String): string {
  return Array.isArray(value) && value.length > 0 ? value.map(item).join(',') : '-';
}

const resourceNames = (item: ResourceItem): string[] => [item.metadata.name];
const NAME: Column<ResourceItem> = { title: 'NAME', value: (item) => item.metadata.name };
const NAMESPACE: Column<ResourceItem> = {
  title: 'NAMESPACE',
  value: (item) => item.metadata.namespace ?? 'default',
};
const networkStatus = (item: ResourceItem): Partial<NetworkStatus> =>
  (item.status ?? {}) as Partial<NetworkStatus>;
const portStatus = (item: ResourceItem): Partial<PortStatus> => (item.status ?? {}) as Partial<PortStatus>;
const peerStatus = (item: ResourceItem): Partial<PeerStatus> => (item.status ?? {}) as Partial<PeerStatus>;
const serviceStatus = (item: ResourceItem): Partial<ServiceStatus> =>
  (item.status ?? {}) as Partial<ServiceStatus>;

const hosts = view<ResourceItem>(resourceNames, [
  NAME,
  { title: 'UNDERLAY', value: (item) => text(at(item, 'spec', 'underlay', 'address')) },
]);

const networks = view<ResourceItem>(resourceNames, [
  NAME,
  { title: 'VNI', right: true, value: (item) => text(at(item, 'spec', 'vxlan', 'vni')) },
  {
    title: 'SUBNETS',
    value: (item) => list(at(item, 'spec', 'subnets'), (subnet) => text(at(subnet, 'cidr'))),
  },
  {
    title: 'GATEWAYS',
    wide: true,
    value: (item) => list(at(item, 'spec', 'subnets'), (subnet) => text(at(subnet, 'gateway'))),
  },
  { title: 'UDP', wide: true, right: true, value: (item) => text(at(item, 'spec', 'vxlan', 'port'), '4789') },
  { title: 'MTU', right: true, value: (item) => text(networkStatus(item).mtu ?? at(item, 'spec', 'mtu')) },
  { title: 'PORTS', right: true, value: (item) => text(networkStatus(item).ports) },
  { title: 'PEERS', right: true, value: (item) => text(networkStatus(item).peers) },
  { title: 'MACS', right: true, value: (item) => text(networkStatus(item).macs) },
]);

const ports = view<ResourceItem>(resourceNames, [
  NAME,
  { title: 'NETWORK', value: (item) => text(at(item, 'spec', 'network')) },
  { title: 'STATE', value: (item) => text(portStatus(item).state) },
  { title: 'ADDRESSES', value: (item) => list(at(item, 'spec', 'addresses')) },
  { title: 'MAC', value: (item) => text(portStatus(item).mac ?? at(item, 'spec', 'mac')) },
  { title: 'DROPPED', right: true, value: (item) => si(portStatus(item).dropped) },
  { title: 'NETNS', wide: true, value: (item) => text(at(item, 'spec', 'netns')) },
  { title: 'INTERFACE', wide: true, value: (item) => text(at(item, 'spec', 'interface'), 'eth0') },
  { title: 'MTU', wide: true, right: true, value: (item) => text(portStatus(item).mtu) },
  { title: 'RX-FRAMES', wide: true, right: true, value: (item) => text(portStatus(item).rxFrames) },
  { title: 'RX-BYTES', wide: true, right: true, value: (item) => si(portStatus(item).rxBytes) },
  { title: 'TX-FRAMES', wide: true, right: true, value: (item) => text(portStatus(item).txFrames) },
  { title: 'TX-BYTES', wide: true, right: true, value: (item) => si(portStatus(item).txBytes) },
]);

const peers = view<ResourceItem>(resourceNames, [
  NAME,
  { title: 'ADDRESSES', value: (item) => list(at(item, 'spec', 'addresses')) },
  { title: 'REACHABLE', value: (item) => text(peerStatus(item).reachable) },
  { title: 'RTT', right: true, value: (item) => milliseconds(peerStatus(item).rtt) },
  { title: 'HEARD', right: true, value: (item) => age(peerStatus(item).lastHeard) },
  { title: 'MACS', right: true, value: (item) => text(peerStatus(item).macs) },
  { title: 'NETWORKS', value: (item) => list(peerStatus(item).networks ?? at(item, 'spec', 'networks')) },
  { title: 'PATH-MTU', wide: true, right: true, value: (item) => text(peerStatus(item).pathMtu) },
  { title: 'RX-BYTES', wide: true, right: true, value: (item) => si(peerStatus(item).rxBytes) },
  { title: 'TX-BYTES', wide: true, right: true, value: (item) => si(peerStatus(item).txBytes) },
]);

function servicePort(port: unknown): string {
  const protocol = text(at(port, 'protocol'), 'TCP');
  const nodePort = at(port, 'nodePort');
  return `${text(at(port, 'port'))}${nodePort ? `:${text(nodePort)}` : ''}/${protocol}`;
}

function clusterIPs(item: ResourceItem): string {
  const all = at(item, 'spec', 'clusterIPs');
  return Array.isArray(all) && all.length > 0 ? list(all) : text(at(item, 'spec', 'clusterIP'));
}

/** Those given, and those of load balancers; of an ExternalName, the name. */
function externalIPs(item: ResourceItem): string {
  const given = at(item, 'spec', 'externalIPs');
  const ingress = at(item, 'status', 'loadBalancer', 'ingress');
  const balancers = Array.isArray(ingress)
    ? ingress.map((each) => at(each, 'ip') ?? at(each, 'hostname'))
    : [];
  const all = [...(Array.isArray(given) ? given : []), ...balancers];
  return all.length > 0 ? list(all) : text(at(item, 'spec', 'externalName'));
}

function sinceCreation(item: ResourceItem): string {
  const created = Date.parse(text(item.metadata.creationTimestamp));
  return age(Number.isNaN(created) ? null : Math.max(0, Math.round((Date.now() - created) / 1000)));
}

const services = view<ResourceItem>(resourceNames, [
  NAMESPACE,
  NAME,
  { title: 'TYPE', value: (item) => text(at(item, 'spec', 'type'), 'ClusterIP') },
  { title: 'CLUSTER-IP', value: clusterIPs },
  { title: 'EXTERNAL-IP', value: externalIPs },
  { title: 'PORTS', value: (item) => list(at(item, 'spec', 'ports'), servicePort) },
  { title: 'ENDPOINTS', right: true, value: (item) => text(serviceStatus(item).endpoints) },
  { title: 'FLOWS', right: true, value: (item) => text(serviceStatus(item).flows) },
  { title: 'AGE', wide: true, right: true, value: (item) => sinceCreation(item) },
  { title: 'AFFINITY', wide: true, value: (item) => text(at(item, 'spec', 'sessionAffinity'), 'None') },
  {
    title: 'INTERNAL',
    wide: true,
    value: (item) => text(at(item, 'spec', 'internalTrafficPolicy'), 'Cluster'),
  },
  {
    title: 'EXTERNAL',
    wide: true,
    value: (item) => text(at(item, 'spec', 'externalTrafficPolicy'), 'Cluster'),
  },
  { title: 'ALGORITHM', wide: true, value: (item) => text(serviceStatus(item).algorithm) },
  { title: 'ON-REMOVED', wide: true, value: (item) => text(serviceStatus(item).onEndpointRemoved) },
]);

const endpointslices = view<ResourceItem>(resourceNames, [
  NAMESPACE,
  NAME,
  { title: 'SERVICE', value: (item) => text(at(item.metadata, 'labels', 'kubernetes.io/service-name')) },
  { title: 'PORTS', value: (item) => list(at(item, 'ports'), (port) => text(at(port, 'port'))) },
  {
    title: 'ENDPOINTS',
    value: (item) => list(at(item, 'endpoints'), (endpoint) => list(at(endpoint, 'addresses'))),
  },
]);

const nodes = view<ResourceItem>(resourceNames, [
  NAME,
  { title: 'ZONE', value: (item) => text(at(item.metadata, 'labels', 'topology.kubernetes.io/zone')) },
  {
    title: 'ADDRESSES',
    value: (item) => list(at(item, 'status', 'addresses'), (each) => text(at(each, 'address'))),
  },
  {
    title: 'POD-CIDRS',
    value: (item) => list(at(item, 'spec', 'podCIDRs') ?? [at(item, 'spec', 'podCIDR')]),
  },
]);

const servicecidrs = view<ResourceItem>(resourceNames, [
  NAME,
  { title: 'CIDRS', value: (item) => list(at(item, 'spec', 'cidrs')) },
]);

const fdb = view<FdbRow>(
  (row) => [row.network, row.mac, row.port, row.peer],
  [
    { title: 'NETWORK', value: (row) => row.network },
    { title: 'MAC', value: (row) => row.mac },
    { title: 'PORT', value: (row) => text(row.port) },
    { title: 'PEER', value: (row) => text(row.peer) },
    { title: 'TYPE', value: (row) => row.type },
    { title: 'AGE', right: true, value: (row) => age(row.age) },
    { title: 'MOVES', wide: true, right: true, value: (row) => text(row.moves) },
  ],
);

const neighbors = view<NeighborRow>(
  (row) => [row.network, row.ip, row.mac],
  [
    { title: 'NETWORK', value: (row) => row.network },
    { title: 'IP', value: (row) => row.ip },
    { title: 'MAC', value: (row) => text(row.mac) },
    { title: 'SOURCE', value: (row) => row.source },
    { title: 'STATE', value: (row) => row.state },
    { title: 'AGE', right: true, value: (row) => age(row.age) },
  ],
);

/** "default/shop:http" → "shop:http": the namespace most are in goes without saying. */
const shortService = (name: string): string => name.replace(/^default\//, '');

const flows = view<FlowRow>(
  (row) => [row.network, row.service, shortService(row.service), row.client, row.vip, row.backend],
  [
    { title: 'CLIENT', value: (row) => row.client },
    { title: 'SERVICE', value: (row) => shortService(row.service) },
    { title: 'BACKEND', value: (row) => row.backend },
    { title: 'STATE', value: (row) => row.state },
    { title: 'AGE', right: true, value: (row) => age(row.age) },
    { title: 'BYTES', right: true, value: (row) => si(row.bytes) },
    { title: 'BACK', right: true, value: (row) => si(row.replyBytes) },
    { title: 'NETWORK', wide: true, value: (row) => row.network },
    { title: 'PROTO', wide: true, value: (row) => row.protocol },
    { title: 'VIP', wide: true, value: (row) => row.vip },
    { title: 'GEN', wide: true, right: true, value: (row) => text(row.generation) },
    { title: 'SNAT', wide: true, value: (row) => text(row.snat) },
    { title: 'WHY', wide: true, value: (row) => row.why },
    { title: 'TTL', wide: true, right: true, value: (row) => age(row.expires) },
    { title: 'DRAIN', wide: true, right: true, value: (row) => age(row.drain) },
    { title: 'PACKETS', wide: true, right: true, value: (row) => text(row.packets) },
    { title: 'REPLIES', wide: true, right: true, value: (row) => text(row.replyPackets) },
  ],
);

const affinities = view<AffinityRow>(
  (row) => [row.service, row.client, row.backend],
  [
    { title: 'SERVICE', value: (row) => row.service },
    { title: 'CLIENT', value: (row) => row.client },
    { title: 'BACKEND', value: (row) => row.backend },
    { title: 'TTL', right: true, value: (row) => age(row.expires) },
    { title: 'HITS', right: true, value: (row) => text(row.hits) },
  ],
);

const drops = view<DropRow>(
  (row) => [row.reason, row.from],
  [
    { title: 'REASON', value: (row) => row.reason },
    { title: 'FROM', value: (row) => row.from },
    { title: 'COUNT', right: true, value: (row) => text(row.count) },
    { title: 'LAST', right: true, value: (row) => age(row.last) },
    { title: 'MEANING', value: (row) => row.text },
  ],
);

// A row's type follows from the kind it was asked for; the map cannot say so, its one reader can.
export const VIEWS = {
  hosts,
  networks,
  ports,
  peers,
  services,
  endpointslices,
  nodes,
  servicecidrs,
  fdb,
  neighbors,
  flows,
  affinities,
  drops,
} as unknown as Readonly<Record<GetKind, View<unknown>>>;
