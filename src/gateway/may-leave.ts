import type { Networks } from '../fabric/networks.ts';
import { Flag, type Packets } from '../packet/packets.ts';

/**
 * May a packet leave by its network's host port? Not what came from there, and of what came through a tunnel only the
 * answers to flows that this host translates: each host is its own pods' way out (A4).
 */
export function mayLeave(packets: Packets, networks: Networks, slot: number): boolean {
  if (packets.source[slot] === networks.hostPort[packets.network[slot]!]) return false;
  return (packets.flags[slot]! & (Flag.TUNNEL | Flag.TRANSLATED)) !== Flag.TUNNEL;
}
