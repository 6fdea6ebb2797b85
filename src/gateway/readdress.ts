import type { Networks } from '../fabric/networks.ts';
import type { Neighbors } from '../neigh/neighbors.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { writeMac } from '../wire/ethernet.ts';

/** New Ethernet header towards a neighbour. The source is the router MAC until the egress is known (A14). */
export function readdress(
  packets: Packets,
  networks: Networks,
  neighbors: Neighbors,
  slot: number,
  row: number,
): void {
  const network = packets.network[slot]!;
  const start = packets.start[slot]!;
  packets.dstHi[slot] = neighbors.hi[row]!;
  packets.dstLo[slot] = neighbors.lo[row]!;
  packets.flags[slot] = (packets.flags[slot]! & ~Flag.TO_GATEWAY) | Flag.ROUTED;
  writeMac(packets.view, start, neighbors.hi[row]!, neighbors.lo[row]!);
  writeMac(packets.view, start + 6, networks.routerHi[network]!, networks.routerLo[network]!);
}
