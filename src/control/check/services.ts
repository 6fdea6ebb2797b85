/** Services and EndpointSlices: virtual addresses against networks and each other, endpoints one by one. */
import { contains, parseAddress, parseCidr } from '../../wire/address.ts';
import type { Findings } from '../check.ts';
import { formatOrigin, nameOf } from '../problem.ts';
import { endpointRefusal, SERVICE_LABEL } from '../schema/endpoint-slice.ts';
import { vipOwners } from '../services.ts';

/** M11: what the EndpointSlice controller fills a slice with at most. */
const USUAL_ENDPOINTS = 100;

export function checkServices(set: Findings): void {
  const subnets = set.networks.flatMap((network) =>
    network.spec.subnets.map(({ cidr }) => ({ network: network.name, cidr: parseCidr(cidr) })),
  );
  const owners = vipOwners(set.services);
  for (const service of set.services) {
    const { clusterIP, ports } = service.spec;
    if (clusterIP === '') continue;
    const { words } = parseAddress(clusterIP);
    const inside = subnets.find(({ cidr }) => contains(cidr, words));
    if (inside !== undefined) {
      const message = `${clusterIP} lies inside subnet ${inside.cidr.text} of network ${inside.network}; use one outside every subnet`;
      set.refuse(service, clusterIPPath(service.document), message);
    }
    ports.forEach(({ protocol, port }, i) => {
      const owner = owners.get(`${clusterIP} ${protocol} ${port}`)!;
      if (owner === service) return;
      const message = `${clusterIP}:${port}/${protocol} belongs to ${nameOf(owner)} (${formatOrigin(owner.origin)}), which is older; not programmed`;
      set.warn(service, `spec.ports[${i}].port`, message);
    });
  }
  for (const slice of set.slices) checkSlice(set, slice);
}

function checkSlice(set: Findings, slice: Findings['slices'][number]): void {
  const { service, addressType, endpoints } = slice.spec;
  if (service === '') {
    set.warn(slice, 'metadata', `no label ${SERVICE_LABEL}, so no Service uses this slice; add it`);
  }
  if (endpoints.length > USUAL_ENDPOINTS) {
    set.warn(
      slice,
      'endpoints',
      `${endpoints.length} endpoints; slices of at most ${USUAL_ENDPOINTS} change faster`,
    );
  }
  const { ports } = slice.document as { ports?: readonly { name?: unknown; port?: unknown }[] | null };
  ports?.forEach((port, i) => {
    const absent = port.name === undefined || port.name === null ? 'name' : port.port ? undefined : 'port';
    if (absent === 'name')
      set.warn(
        slice,
        `ports[${i}]`,
        'a port without name is skipped; write name: "" for a Service port without name',
      );
    if (absent === 'port') set.warn(slice, `ports[${i}]`, 'a port without number is skipped; add port');
  });
  if (addressType === 'FQDN') return;
  endpoints.forEach(({ address }, i) => {
    const reason = endpointRefusal(address, addressType);
    if (reason !== null)
      set.warn(slice, `endpoints[${i}].addresses[0]`, `${reason}; this endpoint is skipped`);
  });
}

/** Where the IPv4 address was written. */
function clusterIPPath(document: unknown): string {
  const { clusterIPs } = (document as { spec: { clusterIPs?: readonly string[] | null } }).spec;
  const i = clusterIPs?.findIndex((address) => address.includes('.')) ?? -1;
  return i >= 0 ? `spec.clusterIPs[${i}]` : 'spec.clusterIP';
}
