import { AntiSpoof, isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import type { Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { Arp } from '../wire/arp.ts';
import { EtherType } from '../wire/ethernet.ts';
import { NeighborSource, type Neighbors } from './neighbors.ts';

/** Judges ARP senders before anything is learned from them (B24, B25, A3). */
export class ArpGuard {
  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly neighbors: Neighbors,
  ) {}

  run(burst: Burst): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const isArp = packets.etherType[slot] === EtherType.ARP && packets.l3[slot] !== 0;
      const reason = isArp ? this.judge(slot) : Drop.NONE;
      if (reason === Drop.NONE) slots[kept++] = slot;
      else packets.drop(slot, reason);
    }
    burst.count = kept;
  }

  private judge(slot: number): Drop {
    const { packets, networks, locations, neighbors } = this;
    const { view } = packets;
    const arp = packets.l3[slot]!;
    const network = packets.network[slot]!;
    const from = packets.source[slot]!;
    const sender = view.getInt32(arp + Arp.SENDER_IP);
    if (isPeer(from)) {
      // Each host answers for the gateway itself, so a tunnel has no business with its address (A3).
      if (sender !== 0 && networks.isGateway4(network, sender)) return Drop.SPOOF_GATEWAY;
      return networks.isGateway4(network, view.getInt32(arp + Arp.TARGET_IP))
        ? Drop.GATEWAY_FROM_TUNNEL
        : Drop.NONE;
    }
    const mode = locations.antiSpoof[from]!;
    if (mode === AntiSpoof.OFF || sender === 0) return this.judgeMac(slot, arp, mode);
    if (networks.isGateway4(network, sender)) return Drop.SPOOF_GATEWAY;
    if (!locations.ownsAddress4(from, sender)) {
      if (mode === AntiSpoof.STRICT) return Drop.SPOOF_ARP;
      const owner = neighbors.find4(network, sender);
      if (owner >= 0 && neighbors.source[owner] === NeighborSource.PORT) return Drop.SPOOF_GATEWAY;
    }
    return this.judgeMac(slot, arp, mode);
  }

  /** The sender MAC inside ARP must be the frame's. */
  private judgeMac(slot: number, arp: number, mode: number): Drop {
    const { packets } = this;
    if (mode === AntiSpoof.OFF) return Drop.NONE;
    const hi = packets.view.getUint16(arp + Arp.SENDER_MAC);
    const lo = packets.view.getInt32(arp + Arp.SENDER_MAC + 2);
    return hi === packets.srcHi[slot] && lo === packets.srcLo[slot] ? Drop.NONE : Drop.SPOOF_ARP;
  }
}
