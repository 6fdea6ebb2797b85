/** Host, Nodes and ServiceCIDRs → what the dataplane is told of this host. */
import type { CidrConfig, FlowTimeouts, HostConfig } from '../dataplane/config.ts';
import { mappedPrefix, parseAddress, parseCidr } from '../wire/address.ts';
import { deliveryAddresses } from './host-plan.ts';
import { clusterCIDRs, nodeAddresses, serviceCIDRs, underlayAddresses } from './surroundings.ts';
import type { Facts, Resource, ResourceOf } from './types.ts';

type Host = ResourceOf<'Host'>;

export function hostConfig(host: Host, resources: readonly Resource[], facts: Facts): HostConfig {
  const { conntrack, nat, fragments, proxy, localDetect, masqueradeAll } = host.spec;
  const services = serviceCIDRs(host, resources).map(cidrConfig);
  const delivered = deliveryAddresses(resources).map((text) => parseAddress(text).words);
  return {
    underlayAddresses: underlayAddresses(host).map((text) => parseAddress(text).words),
    vxlanPorts: vxlanPorts(resources),
    maxFlows: conntrack.max,
    nodeAddresses: [...nodeAddresses(host, resources, facts), ...delivered],
    clusterCIDRs: clusterCIDRs(host, resources).map(cidrConfig),
    serviceCIDRs: services,
    unallocatedVIP: proxy.unallocatedVIP ?? (services.length > 0 ? 'drop' : 'pass'),
    localDetect,
    masqueradeAll,
    timeouts: milliseconds(conntrack.timeouts),
    tcpLiberal: conntrack.tcpLiberal,
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

function cidrConfig(text: string): CidrConfig {
  const { family, words, prefix } = parseCidr(text);
  return { address: words, prefix: mappedPrefix(family, prefix) };
}

function milliseconds({ icmp: _, other: __, ...ours }: Host['spec']['conntrack']['timeouts']): FlowTimeouts {
  const entries = Object.entries(ours).map(([state, s]) => [state, Math.round((s as number) * 1000)]);
  return Object.fromEntries(entries) as FlowTimeouts;
}
