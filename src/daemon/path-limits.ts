/** What a path MTU means for the packets inside: the outer headers of V15 taken off. */
import { overhead } from '../control/mtu.ts';
import type { Generation } from '../control/types.ts';
import type { Address } from '../dataplane/config.ts';

/** @returns the largest inner packet, or 0 when every network of the peer fits the path as it is. */
export function innerLimit(generation: Generation, peer: string, pathMtu: number | null): number {
  const config = generation.peers.find((p) => p.name === peer);
  if (!config || pathMtu === null) return 0;
  let limit = 0;
  for (const { network, address } of config.memberships) {
    const joined = generation.networks.find((n) => n.id === network);
    if (!joined) continue;
    const inner = pathMtu - overhead(isV4(address) ? 4 : 6, joined.innerVlan);
    if (joined.mtu > inner) limit = limit === 0 ? inner : Math.min(limit, inner);
  }
  return limit;
}

const isV4 = (address: Address): boolean => address[0] === 0 && address[1] === 0 && address[2] === 0xffff;
