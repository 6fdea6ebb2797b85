/** How large a packet of a network may be (V15). */
import { familyOf, parseAddress } from '../wire/address.ts';
import { VXLAN_OVERHEAD_4, VXLAN_OVERHEAD_6 } from '../wire/vxlan.ts';
import { inNetwork, peerAddress } from './membership.ts';
import { problemIn } from './problem.ts';
import type { Facts, Problem, Resource, ResourceOf } from './types.ts';

type Host = ResourceOf<'Host'>;
type Network = ResourceOf<'Network'>;
type Peer = ResourceOf<'Peer'>;

const VLAN_TAG = 4;
const ETHERNET_MTU = 1500;
const MOST_MTU = 9216;
const LEAST_MTU_V6 = 1280;
/** What the kernel says of its loopback device, by which it routes its own addresses. */
const LOOPBACK_MTU = 65_536;

/** What a packet of a network grows by on its way through an underlay of this family. */
export function overhead(family: 4 | 6, innerVlan: 'drop' | 'pass'): number {
  return (family === 4 ? VXLAN_OVERHEAD_4 : VXLAN_OVERHEAD_6) + (innerVlan === 'pass' ? VLAN_TAG : 0);
}

/** Asks for every address once. */
export function cachedFacts(facts: Facts): Facts {
  const known = new Map<string, number>();
  return {
    mtuTowards(address) {
      const mtu = known.get(address) ?? facts.mtuTowards(address);
      known.set(address, mtu);
      return mtu;
    },
  };
}

/**
 * The largest IP packet that reaches every peer of the network in one datagram; without peers, what the link
 * of the underlay address would carry. Peers without a route do not count. At most 9216.
 */
export function computedMtu(network: Network, host: Host, peers: readonly Peer[], facts: Facts): number {
  const { innerVlan } = network.spec.vxlan;
  const through = (address: string, link: number) =>
    link - overhead(familyOf(parseAddress(address).words), innerVlan);
  const limits = [MOST_MTU];
  for (const peer of peers) {
    const address = inNetwork(peer, network) ? peerAddress(peer, host) : undefined;
    const link = address === undefined ? undefined : linkMtu(address, facts);
    if (address !== undefined && link !== undefined) limits.push(through(address, link));
  }
  if (limits.length === 1) {
    const { address } = host.spec.underlay;
    const link = linkMtu(address, facts) ?? ETHERNET_MTU;
    limits.push(through(address, link >= LOOPBACK_MTU ? ETHERNET_MTU : link));
  }
  return Math.min(...limits);
}

/** The MTU a network gets: its own, or the computed one. */
export function networkMtu(network: Network, host: Host, peers: readonly Peer[], facts: Facts): number {
  return network.spec.mtu === 'auto' ? computedMtu(network, host, peers, facts) : network.spec.mtu;
}

/** Warnings only the running system can tell: an MTU above the computed one, peers without a route. */
export function mtuWarnings(resources: readonly Resource[], facts: Facts): Problem[] {
  const asked = cachedFacts(facts);
  const host = resources.find((r) => r.kind === 'Host');
  const peers = resources.filter((r) => r.kind === 'Peer');
  const networks = new Map(resources.filter((r) => r.kind === 'Network').map((n) => [n.name, n]));
  const warnings: Problem[] = [];
  if (host === undefined) return warnings;
  for (const peer of peers) {
    const address = peerAddress(peer, host);
    if (address === undefined || linkMtu(address, asked) !== undefined) continue;
    const path = `spec.addresses[${peer.spec.addresses.indexOf(address)}]`;
    warnings.push(
      problemIn(peer, path, `no route to ${address}; nothing reaches this peer until there is one`),
    );
  }
  for (const network of networks.values()) {
    const limit = computedMtu(network, host, peers, asked);
    const { mtu, subnets } = network.spec;
    if (mtu === 'auto' && limit < LEAST_MTU_V6 && subnets.some(({ cidr }) => cidr.includes(':'))) {
      warnings.push(
        problemIn(
          network,
          'spec.subnets',
          `the underlay carries ${limit}, and IPv6 needs ${LEAST_MTU_V6}; use a wider underlay, or no IPv6`,
        ),
      );
    }
    if (mtu === 'auto' || mtu <= limit) continue;
    warnings.push(
      problemIn(
        network,
        'spec.mtu',
        `${mtu} is above ${limit}, what the underlay carries; larger packets are lost, use auto`,
      ),
    );
  }
  for (const port of resources.filter((r) => r.kind === 'Port')) {
    const network = networks.get(port.spec.network);
    const { mtu } = port.spec;
    if (mtu === undefined || network?.spec.mtu !== 'auto') continue;
    const limit = computedMtu(network, host, peers, asked);
    if (mtu <= limit) continue;
    warnings.push(
      problemIn(
        port,
        'spec.mtu',
        `${mtu} is above ${limit}, the MTU of network ${network.name}; ${limit} is used`,
      ),
    );
  }
  return warnings;
}

function linkMtu(address: string, facts: Facts): number | undefined {
  try {
    return facts.mtuTowards(address);
  } catch {
    return undefined;
  }
}
