/**
 * What the host's kernel must be told so that host ports work, from the same resources as the generation: who may be
 * routed where, whose source is translated, and which addresses answer node ports (N25–N33, S19).
 */
import { contains, formatWords, overlaps, parseAddress, parseCidr } from '../wire/address.ts';
import { clusterCIDRs, type NodeFacts, nodeAddresses, serviceCIDRs } from './surroundings.ts';
import type { Resource, ResourceOf } from './types.ts';

/** How the host reaches a network in one address family. */
export interface Way {
  readonly address: string;
  readonly gateway: string;
}

export interface HostPortPlan {
  /** Of the Port. */
  readonly name: string;
  readonly network: string;
  readonly interface: string;
  readonly internal: boolean;
  readonly masquerade: boolean;
  /** Destinations that see pods' own addresses. */
  readonly except: readonly string[];
  readonly subnets: readonly string[];
  /** One per family at most. */
  readonly ways: readonly Way[];
}

export interface HostPlan {
  /** Services are reached by the first. */
  readonly ports: readonly HostPortPlan[];
  /** Where node ports answer. */
  readonly nodeAddresses: readonly string[];
  /** Where pods are, on whatever host. */
  readonly clusterCIDRs: readonly string[];
  /** Where virtual addresses are; without any, each is routed by itself. */
  readonly serviceCIDRs: readonly string[];
  /** Addresses this host delivers to itself: its pods in masqueraded networks, and the gateways of its networks. */
  readonly local: readonly string[];
  readonly nat: NatOptions;
}

/** N26: outside the host's own range and the node ports. */
export interface NatOptions {
  readonly ports: readonly [number, number];
  readonly random: boolean;
}

export const NO_HOST_PORTS: HostPlan = {
  ports: [],
  nodeAddresses: [],
  clusterCIDRs: [],
  serviceCIDRs: [],
  local: [],
  nat: { ports: [61_000, 65_535], random: true },
};

/** @param resources a set `checkFabric` has no problem with */
export function hostPlan(resources: readonly Resource[], facts: NodeFacts = {}): HostPlan {
  const host = resources.find((r) => r.kind === 'Host');
  const ports = hostPorts(resources);
  if (host === undefined || ports.length === 0) return NO_HOST_PORTS;
  const masqueraded = new Set(ports.filter(({ masquerade }) => masquerade).map(({ network }) => network));
  const pods = resources.filter((r) => r.kind === 'Port').filter(({ spec }) => masqueraded.has(spec.network));
  return {
    ports,
    nodeAddresses: nodeAddresses(host, resources, facts).map(formatWords),
    clusterCIDRs: disjoint([...clusterCIDRs(host, resources), ...ports.flatMap(({ subnets }) => subnets)]),
    serviceCIDRs: serviceCIDRs(host, resources),
    local: [
      ...ports.flatMap(({ ways }) => ways.map(({ gateway }) => gateway)),
      ...pods.flatMap(({ spec }) => spec.addresses.map(({ address }) => address)),
    ].sort(),
    nat: host.spec.nat,
  };
}

/** The host's ports; what is for services goes by the first. */
function hostPorts(resources: readonly Resource[]): HostPortPlan[] {
  const networks = new Map(resources.filter((r) => r.kind === 'Network').map((n) => [n.name, n]));
  return resources
    .filter((r) => r.kind === 'Port')
    .filter(({ spec }) => spec.netns === null)
    .map((port) => portPlan(port, networks.get(port.spec.network)!))
    .sort((a, b) => Number(a.internal) - Number(b.internal) || (a.network < b.network ? -1 : 1));
}

/** Where the host's kernel delivers node ports: gateway addresses, one per family (`nat-table.ts`). */
export function deliveryAddresses(resources: readonly Resource[]): readonly string[] {
  return (hostPorts(resources)[0]?.ways ?? []).map(({ gateway }) => gateway);
}

function portPlan(port: ResourceOf<'Port'>, network: ResourceOf<'Network'>): HostPortPlan {
  const { subnets, nat, internal } = network.spec;
  const ways: Way[] = [];
  for (const { address } of port.spec.addresses) {
    const { words, family } = parseAddress(address);
    const subnet = subnets.find(({ cidr }) => contains(parseCidr(cidr), words));
    const isFirst = !ways.some((way) => parseAddress(way.address).family === family);
    if (subnet !== undefined && isFirst) ways.push({ address, gateway: subnet.gateway });
  }
  return {
    name: port.name,
    network: network.name,
    interface: port.spec.interface,
    internal,
    masquerade: nat.masquerade,
    except: disjoint(nat.except),
    subnets: subnets.map(({ cidr }) => cidr),
    ways,
  };
}

/** The same without what lies inside another: of two CIDRs that overlap, the longer does. */
function disjoint(texts: readonly string[]): string[] {
  const cidrs = [...new Set(texts)].map(parseCidr).sort((a, b) => a.prefix - b.prefix);
  return cidrs
    .filter((cidr, i) => !cidrs.slice(0, i).some((wider) => overlaps(wider, cidr)))
    .map(({ text }) => text);
}
