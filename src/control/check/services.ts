/** Services and EndpointSlices, each by itself: virtual addresses against subnets, endpoints one by one. */
import { type Cidr, contains, parseAddress } from '../../wire/address.ts';
import { endpointRefusal, SERVICE_LABEL } from '../schema/endpoint-slice.ts';
import type { Resource, ResourceOf } from '../types.ts';

export interface Subnet {
  readonly network: string;
  readonly cidr: Cidr;
}

type Report = (resource: Resource, path: string, message: string) => void;

/** M11: what the EndpointSlice controller fills a slice with at most. */
const USUAL_ENDPOINTS = 100;

export function checkVip(service: ResourceOf<'Service'>, subnets: readonly Subnet[], refuse: Report): void {
  const { clusterIP } = service.spec;
  if (clusterIP === '' || subnets.length === 0) return;
  const { words } = parseAddress(clusterIP);
  const inside = subnets.find(({ cidr }) => contains(cidr, words));
  if (inside === undefined) return;
  const message = `${clusterIP} lies inside subnet ${inside.cidr.text} of network ${inside.network}; use one outside every subnet`;
  refuse(service, clusterIPPath(service.document), message);
}

export function checkSlice(slice: ResourceOf<'EndpointSlice'>, warn: Report): void {
  const { service, addressType, endpoints } = slice.spec;
  if (service === '') {
    warn(slice, 'metadata', `no label ${SERVICE_LABEL}, so no Service uses this slice; add it`);
  }
  if (endpoints.length > USUAL_ENDPOINTS) {
    warn(
      slice,
      'endpoints',
      `${endpoints.length} endpoints; slices of at most ${USUAL_ENDPOINTS} change faster`,
    );
  }
  const { ports } = slice.document as { ports?: readonly { name?: unknown; port?: unknown }[] | null };
  ports?.forEach((port, i) => {
    const absent = port.name === undefined || port.name === null ? 'name' : port.port ? undefined : 'port';
    if (absent === 'name')
      warn(
        slice,
        `ports[${i}]`,
        'a port without name is skipped; write name: "" for a Service port without name',
      );
    if (absent === 'port') warn(slice, `ports[${i}]`, 'a port without number is skipped; add port');
  });
  if (addressType === 'FQDN') return;
  endpoints.forEach(({ address }, i) => {
    const reason = endpointRefusal(address, addressType);
    if (reason !== null) warn(slice, `endpoints[${i}].addresses[0]`, `${reason}; this endpoint is skipped`);
  });
}

/** Where the IPv4 address was written. */
function clusterIPPath(document: unknown): string {
  const { clusterIPs } = (document as { spec: { clusterIPs?: readonly string[] | null } }).spec;
  const i = clusterIPs?.findIndex((address) => address.includes('.')) ?? -1;
  return i >= 0 ? `spec.clusterIPs[${i}]` : 'spec.clusterIP';
}
