/** Host, Nodes and ServiceCIDRs → what the dataplane is told of this host. */
import type { Address, CidrConfig, FlowTimeouts, HostConfig } from '../dataplane/config.ts';
import { contains, mappedPrefix, parseAddress, parseCidr, unusualKind } from '../wire/address.ts';
import { clusterCIDRs, primaryAddresses, serviceCIDRs, underlayAddresses } from './surroundings.ts';
import type { Facts, Resource, ResourceOf } from './types.ts';

type Host = ResourceOf<'Host'>;

export function hostConfig(host: Host, resources: readonly Resource[], facts: Facts): HostConfig {
  const { conntrack, nat, fragments, proxy, localDetect, masqueradeAll } = host.spec;
  const services = serviceCIDRs(host, resources).map(cidrConfig);
  return {
    underlayAddresses: underlayAddresses(host).map((text) => parseAddress(text).words),
    vxlanPorts: vxlanPorts(resources),
    maxFlows: conntrack.max,
    nodeAddresses: nodeAddresses(host, resources, facts),
    clusterCIDRs: clusterCIDRs(host, resources).map(cidrConfig),
    serviceCIDRs: services,
    unallocatedVIP: proxy.unallocatedVIP ?? (services.length > 0 ? 'drop' : 'pass'),
    localDetect,
    masqueradeAll,
    timeouts: milliseconds(conntrack.timeouts),
    tcpLiberal: conntrack.tcpLiberal,
    tcpLoose: conntrack.tcpLoose,
    natPorts: nat.ports,
    natRandom: nat.random,
    fragments: { maxBytes: fragments.maxBytes, timeout: Math.round(fragments.timeout * 1000) },
  };
}

function vxlanPorts(resources: readonly Resource[]): number[] {
  const used = resources.flatMap((r) => {
    if (r.kind === 'Network') return r.spec.vxlan.port;
    return r.kind === 'Peer' ? (r.spec.port ?? []) : [];
  });
  return [...new Set(used)].sort((a, b) => a - b);
}

/** S19: where NodePorts answer, never on loopback. */
function nodeAddresses(host: Host, resources: readonly Resource[], facts: Facts): readonly Address[] {
  const { nodePortAddresses } = host.spec;
  if (nodePortAddresses === 'primary') return primaryAddresses(host, resources);
  const cidrs = nodePortAddresses.map(parseCidr);
  return [...new Set(facts.hostAddresses?.())]
    .map((text) => parseAddress(text).words)
    .filter((words) => unusualKind(words) === null && cidrs.some((cidr) => contains(cidr, words)));
}

function cidrConfig(text: string): CidrConfig {
  const { family, words, prefix } = parseCidr(text);
  return { address: words, prefix: mappedPrefix(family, prefix) };
}

function milliseconds(seconds: FlowTimeouts): FlowTimeouts {
  const entries = Object.entries(seconds).map(([state, s]) => [state, Math.round((s as number) * 1000)]);
  return Object.fromEntries(entries) as FlowTimeouts;
}
