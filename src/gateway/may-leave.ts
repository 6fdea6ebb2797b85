import type { Networks } from '../fabric/networks.ts';
import { Flag, type Packets } from '../packet/packets.ts';

/**
 * May a packet leave by its network's host port? What this host translated may; else not what came from there, and
 * nothing that came through a tunnel: each host is its own pods' way out (A4).
 */
export function mayLeave(packets: Packets, networks: Networks, slot: number): boolean {
  const flags = packets.flags[slot]!;
  if ((flags & Flag.TRANSLATED) !== 0) return true;
  return (flags & Flag.TUNNEL) === 0 && packets.source[slot] !== networks.hostPort[packets.network[slot]!];
}
