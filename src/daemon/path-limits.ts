/** What a path MTU means for the packets inside: the outer headers of V15 taken off. */
import type { Generation } from '../control/types.ts';
import type { Address } from '../dataplane/config.ts';

/** Outer IP, UDP, VXLAN and inner Ethernet header. */
const OVERHEAD_4 = 50;
const OVERHEAD_6 = 70;

/** @returns the largest inner packet, or 0 when every network of the peer fits the path as it is. */
export function innerLimit(generation: Generation, peer: string, pathMtu: number | null): number {
  const config = generation.peers.find((p) => p.name === peer);
  if (!config || pathMtu === null) return 0;
  let limit = 0;
  for (const { network, address } of config.memberships) {
    const inner = pathMtu - (isV4(address) ? OVERHEAD_4 : OVERHEAD_6);
    const needed = generation.networks.find((n) => n.id === network)?.mtu ?? 0;
    if (needed > inner) limit = limit === 0 ? inner : Math.min(limit, inner);
  }
  return limit;
}

const isV4 = (address: Address): boolean => address[0] === 0 && address[1] === 0 && address[2] === 0xffff;
