/** Services and EndpointSlices → what the dataplane balances: IPv4 ClusterIPs over TCP and UDP. */
import type { BackendConfig, ServiceConfig } from '../dataplane/config.ts';
import { compareWords, parseAddress } from '../wire/address.ts';
import { endpointRefusal } from './schema/endpoint-slice.ts';
import type { EndpointSliceSpec, ResourceOf } from './types.ts';

type Service = ResourceOf<'Service'>;
type Slice = ResourceOf<'EndpointSlice'>;
type Endpoint = EndpointSliceSpec['endpoints'][number];

const PROTOCOLS = { TCP: 6, UDP: 17 } as const;

/** A service before it has an id. */
export type NamedService = Omit<ServiceConfig, 'id'>;

/**
 * One entry per Service port with an IPv4 ClusterIP, in the order of names. A virtual address, protocol and
 * port claimed twice goes to the older Service (M10).
 */
export function compileServices(services: readonly Service[], slices: readonly Slice[]): NamedService[] {
  const owners = vipOwners(services);
  const slicesOf = new Map<string, Slice[]>();
  for (const slice of slices) {
    const { addressType, service } = slice.spec;
    if (addressType !== 'IPv4' || service === '') continue;
    const key = `${slice.namespace}/${service}`;
    const known = slicesOf.get(key);
    if (known === undefined) slicesOf.set(key, [slice]);
    else known.push(slice);
  }
  const compiled: NamedService[] = [];
  for (const service of services) {
    const { clusterIP, ports, affinity } = service.spec;
    if (clusterIP === '') continue;
    const fullName = `${service.namespace}/${service.name}`;
    const members = slicesOf.get(fullName) ?? [];
    for (const { name, protocol, port } of ports) {
      if (protocol === 'SCTP' || owners.get(`${clusterIP} ${protocol} ${port}`) !== service) continue;
      compiled.push({
        name: `${fullName}:${name === '' ? port : name}`,
        vip: parseAddress(clusterIP).words,
        port,
        protocol: PROTOCOLS[protocol],
        affinity: affinity * 1000,
        ...endpointsOf(members, name, protocol),
      });
    }
  }
  return compiled.sort((a, b) => (a.name === b.name ? a.protocol - b.protocol : a.name < b.name ? -1 : 1));
}

/** "vip protocol port" → the Service it belongs to: the older, then the first by name (M10). */
export function vipOwners(services: readonly Service[]): ReadonlyMap<string, Service> {
  const owners = new Map<string, Service>();
  for (const service of services) {
    if (service.spec.clusterIP === '') continue;
    for (const { protocol, port } of service.spec.ports) {
      const key = `${service.spec.clusterIP} ${protocol} ${port}`;
      const owner = owners.get(key);
      if (owner === undefined || isOlder(service, owner)) owners.set(key, service);
    }
  }
  return owners;
}

/**
 * S12: new flows go to the ready endpoints; when there is none, to those that terminate and still serve.
 * S31: flows may stay with whatever serves.
 */
function endpointsOf(
  slices: readonly Slice[],
  portName: string,
  protocol: 'TCP' | 'UDP',
): Pick<ServiceConfig, 'backends' | 'serving'> {
  const instances = new Map<string, { backend: BackendConfig; endpoint: Endpoint }>();
  for (const slice of slices) {
    // S8: the slice's port of the same name and protocol, never targetPort.
    const ports = slice.spec.ports.filter((port) => port.name === portName && port.protocol === protocol);
    for (const endpoint of slice.spec.endpoints) {
      if (ports.length === 0 || endpointRefusal(endpoint.address, 'IPv4') !== null) continue;
      for (const { port } of ports) {
        const key = `${endpoint.address}:${port}`;
        const known = instances.get(key);
        if (known !== undefined && rank(known.endpoint) >= rank(endpoint)) continue;
        instances.set(key, { backend: { address: parseAddress(endpoint.address).words, port }, endpoint });
      }
    }
  }
  const all = [...instances.values()];
  const ready = all.filter(({ endpoint }) => endpoint.ready);
  const chosen = ready.length > 0 ? ready : all.filter(({ endpoint: e }) => e.serving && e.terminating);
  const ordered = (list: typeof all): BackendConfig[] =>
    list.map(({ backend }) => backend).sort((a, b) => compareWords(a.address, b.address) || a.port - b.port);
  return {
    backends: ordered(chosen),
    serving: ordered(all.filter(({ endpoint }) => endpoint.serving)).map(({ address }) => address),
  };
}

/** S7: of several instances of one ip:port a non-terminating one counts; among equals the healthier. */
function rank(endpoint: Endpoint): number {
  return (endpoint.terminating ? 0 : 4) + (endpoint.ready ? 2 : 0) + (endpoint.serving ? 1 : 0);
}

function isOlder(a: Service, b: Service): boolean {
  const [createdA, createdB] = [createdAt(a), createdAt(b)];
  if (createdA !== createdB) return createdA < createdB;
  return `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}`;
}

/** ms; a Service without creationTimestamp counts as the youngest. */
function createdAt(service: Service): number {
  const { creationTimestamp } = (service.document as { metadata: { creationTimestamp?: unknown } }).metadata;
  const time = typeof creationTimestamp === 'string' ? Date.parse(creationTimestamp) : Number.NaN;
  return Number.isNaN(time) ? Number.POSITIVE_INFINITY : time;
}
