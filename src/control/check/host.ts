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
  if (host.spec.conntrack.tcpLoose !== undefined) {
    const message =
      'has no effect: connections that are masqueraded are tracked by the kernel, and net.netfilter.nf_conntrack_tcp_loose says whether in their middle too';
    set.warn(host, 'spec.conntrack.tcpLoose', message);
  }
  for (const text of underlayAddresses(host)) {
    const { words } = parseAddress(text);
    const inside = [...pods, ...services].find((cidr) => contains(cidr, words));
    if (inside === undefined) continue;
    const message = `${text} lies inside ${inside.text}, a network of pods or services; the underlay is outside both`;
    set.refuse(host, 'spec.underlay.address', message);
  }
}
