/** What a service depends on beside its own objects: this node, the cluster's networks, the host's defaults. */
import { type Cidr, contains, parseAddress, parseCidr, unusualKind, type Words } from '../wire/address.ts';
import type { Facts, HostSpec, NodeSpec, Resource, ResourceOf } from './types.ts';

export interface Subnet {
  readonly network: string;
  readonly cidr: Cidr;
}

export interface Surroundings {
  /** Endpoints on this Node are local (S5); "" = not known. */
  readonly nodeName: string;
  /** "" = not known: endpoints are never chosen by zone (S11). */
  readonly zone: string;
  /** Subnets of all networks: no virtual address may lie there (N6). */
  readonly subnets: readonly Subnet[];
  readonly serviceCIDRs: readonly Cidr[];
  /** The host has a port in some network, and hands over what comes for node ports (S19). */
  readonly hasHostPort: boolean;
  /** The node's primary address of each family (S18, S19). */
  readonly nodeAddresses: readonly Words[];
  /** For services that say nothing themselves. */
  readonly proxy: Pick<HostSpec['proxy'], 'algorithm' | 'onEndpointRemoved' | 'drain'>;
}

/** Without Host, Node or anything else. */
export const NOWHERE: Surroundings = {
  nodeName: '',
  zone: '',
  subnets: [],
  serviceCIDRs: [],
  hasHostPort: true,
  nodeAddresses: [],
  proxy: { algorithm: 'roundRobin', onEndpointRemoved: 'keep', drain: 30 },
};

/** @param resources all that are neither Service nor EndpointSlice */
export function surroundingsOf(resources: readonly Resource[]): Surroundings {
  const host = resources.find((r) => r.kind === 'Host');
  if (host === undefined) return { ...NOWHERE, subnets: subnetsOf(resources) };
  return {
    nodeName: host.spec.nodeName,
    zone: host.spec.zone ?? ownNode(host, resources)?.zone ?? '',
    subnets: subnetsOf(resources),
    serviceCIDRs: serviceCIDRs(host, resources).map(parseCidr),
    hasHostPort: resources.some((r) => r.kind === 'Port' && r.spec.netns === null),
    nodeAddresses: primaryAddresses(host, resources),
    proxy: host.spec.proxy,
  };
}

export function underlayAddresses(host: ResourceOf<'Host'>): string[] {
  const { address, address6 } = host.spec.underlay;
  return address6 === undefined ? [address] : [address, address6];
}

/** First address of each family that the Node object has, else the underlay's; loopback is nobody's. */
export function primaryAddresses(host: ResourceOf<'Host'>, resources: readonly Resource[]): readonly Words[] {
  const own = ownNode(host, resources)?.addresses ?? [];
  const all = (own.length > 0 ? own : underlayAddresses(host)).map(parseAddress);
  const usable = all.filter(({ words }) => unusualKind(words) === null);
  const first = (family: 4 | 6) => usable.filter((address) => address.family === family).slice(0, 1);
  return [...first(4), ...first(6)].map(({ words }) => words);
}

/** What must be asked of the system. */
export type NodeFacts = Pick<Facts, 'hostAddresses'>;

/** S19: where NodePorts answer, never on loopback. */
export function nodeAddresses(
  host: ResourceOf<'Host'>,
  resources: readonly Resource[],
  facts: NodeFacts,
): readonly Words[] {
  const { nodePortAddresses } = host.spec;
  if (nodePortAddresses === 'primary') return primaryAddresses(host, resources);
  const cidrs = nodePortAddresses.map(parseCidr);
  return [...new Set(facts.hostAddresses?.())]
    .map((text) => parseAddress(text).words)
    .filter((words) => unusualKind(words) === null && cidrs.some((cidr) => contains(cidr, words)));
}

/** The Node this daemon runs on, when it is known. */
export function ownNode(host: ResourceOf<'Host'>, resources: readonly Resource[]): NodeSpec | undefined {
  return nodes(resources).find(({ name }) => name === host.spec.nodeName)?.spec;
}

/** Pods' networks: those of the Node objects where there are any, else the Host's. */
export function clusterCIDRs(host: ResourceOf<'Host'>, resources: readonly Resource[]): readonly string[] {
  const known = nodes(resources).flatMap(({ spec }) => spec.podCIDRs);
  return known.length > 0 ? distinct(known) : host.spec.clusterCIDRs;
}

/** ClusterIPs' networks: those of the ServiceCIDR objects where there are any, else the Host's. */
export function serviceCIDRs(host: ResourceOf<'Host'>, resources: readonly Resource[]): readonly string[] {
  const known = resources.flatMap((r) => (r.kind === 'ServiceCIDR' ? r.spec.cidrs : []));
  return known.length > 0 ? distinct(known) : host.spec.serviceCIDRs;
}

const nodes = (resources: readonly Resource[]) => resources.filter((r) => r.kind === 'Node');

const distinct = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort();

function subnetsOf(resources: readonly Resource[]): Subnet[] {
  return resources.flatMap((resource) =>
    resource.kind === 'Network'
      ? resource.spec.subnets.map(({ cidr }) => ({ network: resource.name, cidr: parseCidr(cidr) }))
      : [],
  );
}
