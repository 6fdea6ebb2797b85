/** The Host against what the cluster says of itself. */
import { contains, overlaps, parseAddress, parseCidr } from '../../wire/address.ts';
import type { Findings } from '../check.ts';
import { clusterCIDRs, serviceCIDRs, underlayAddresses } from '../surroundings.ts';
import type { Resource, ResourceOf } from '../types.ts';

/** Pods, ClusterIPs and the underlay are three different places. */
export function checkHost(host: ResourceOf<'Host'>, resources: readonly Resource[], set: Findings): void {
  const pods = clusterCIDRs(host, resources).map(parseCidr);
  const services = serviceCIDRs(host, resources).map(parseCidr);
  for (const service of services) {
    const shared = pods.find((pod) => overlaps(pod, service));
    if (shared === undefined) continue;
    const message = `${service.text} overlaps ${shared.text}, where pods live; ClusterIPs need a network of their own`;
    set.refuse(host, 'spec.serviceCIDRs', message);
  }
  warnOfKernels(host, set);
  for (const text of underlayAddresses(host)) {
    const { words } = parseAddress(text);
    const inside = [...pods, ...services].find((cidr) => contains(cidr, words));
    if (inside === undefined) continue;
    const message = `${text} lies inside ${inside.text}, a network of pods or services; the underlay is outside both`;
    set.refuse(host, 'spec.underlay.address', message);
  }
}

/**
 * Only what is masqueraded could heed these, and that the kernel tracks (decision 0007, and in its sources
 * Documentation/networking/nf_conntrack-sysctl.rst).
 */
function warnOfKernels(host: ResourceOf<'Host'>, set: Findings): void {
  const { tcpLoose, timeouts } = host.spec.conntrack;
  const kernels = [
    [
      'tcpLoose',
      tcpLoose,
      'takes connections up in their middle unless net.netfilter.nf_conntrack_tcp_loose is 0',
    ],
    [
      'timeouts.icmp',
      timeouts.icmp,
      'forgets ICMP after net.netfilter.nf_conntrack_icmp_timeout, or nf_conntrack_icmpv6_timeout',
    ],
    [
      'timeouts.other',
      timeouts.other,
      'forgets other protocols after net.netfilter.nf_conntrack_generic_timeout',
    ],
  ] as const;
  for (const [field, value, what] of kernels) {
    if (value === undefined) continue;
    const message = `has no effect: the kernel tracks what is masqueraded, and ${what}`;
    set.warn(host, `spec.conntrack.${field}`, message);
  }
}
