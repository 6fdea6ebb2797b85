import { isPeer } from '../fabric/locations.ts';
import type { Locator } from '../fabric/locator.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { GATEWAY } from '../telemetry/counters.ts';
import { ARP_REPLY, ARP_REQUEST, Arp } from '../wire/arp.ts';
import { EtherType, isBroadcast, isValidSource } from '../wire/ethernet.ts';
import { NeighborState, type Neighbors } from './neighbors.ts';
import type { Resolver } from './resolver.ts';

/** ARP: answers for the gateway (A3), answers for stations behind tunnels (A5), and learns bindings (A11). */
export class ArpResponder {
  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly neighbors: Neighbors,
    private readonly resolver: Resolver,
    private readonly originator: Originator,
    private readonly locator: Locator,
  ) {}

  run(burst: Burst, now: number): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const isArp = packets.etherType[slot] === EtherType.ARP && packets.l3[slot] !== 0;
      if (isArp && this.handle(slot, now)) packets.consume(slot);
      else slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** @returns true when the frame ends here. */
  private handle(slot: number, now: number): boolean {
    const { packets, networks } = this;
    const { view } = packets;
    const arp = packets.l3[slot]!;
    const network = packets.network[slot]!;
    const target = view.getInt32(arp + Arp.TARGET_IP);
    const sender = view.getInt32(arp + Arp.SENDER_IP);
    if (sender !== 0) this.snoop(network, sender, arp, now);
    const isRequest = view.getUint16(arp + Arp.OPERATION) === ARP_REQUEST;
    if (isRequest && networks.isGateway4(network, target)) {
      this.answer(slot, arp, target, networks.gatewayHi[network]!, networks.gatewayLo[network]!);
      return true;
    }
    if ((packets.flags[slot]! & Flag.TO_GATEWAY) !== 0) return true;
    const isQuestion = isRequest && sender !== 0 && sender !== target; // A7, A8: neither probe nor announcement
    if (!isQuestion || networks.suppressArp[network] === 0) return false;
    if (!isBroadcast(packets.dstHi[slot]!, packets.dstLo[slot]!)) return false; // A6
    return this.suppress(slot, arp, network, target, now);
  }

  /** A5: a known station behind a tunnel is answered for; one on a local port keeps the question local. */
  private suppress(slot: number, arp: number, network: number, target: number, now: number): boolean {
    const { packets, neighbors } = this;
    const row = neighbors.find4(network, target);
    if (row < 0 || neighbors.state[row] === NeighborState.INCOMPLETE) return false;
    const location = this.locator.locate(network, neighbors.hi[row]!, neighbors.lo[row]!, now);
    if (location <= GATEWAY) return false;
    if (!isPeer(location)) {
      packets.flags[slot]! |= Flag.LOCAL_ONLY;
      return false;
    }
    if (isPeer(packets.source[slot]!)) return false;
    this.answer(slot, arp, target, neighbors.hi[row]!, neighbors.lo[row]!);
    return true;
  }

  /** A16: a reply to the asker, out of the port the question came in by. */
  private answer(slot: number, arp: number, address: number, hi: number, lo: number): void {
    const { packets, originator } = this;
    const { view } = packets;
    const askerHi = packets.srcHi[slot]!;
    const askerLo = packets.srcLo[slot]!;
    const asker = view.getInt32(arp + Arp.SENDER_IP);
    const network = packets.network[slot]!;
    const to = packets.source[slot]!;
    originator.arp(network, to, ARP_REPLY, askerHi, askerLo, hi, lo, address, askerHi, askerLo, asker);
  }

  private snoop(network: number, sender: number, arp: number, now: number): void {
    const { view } = this.packets;
    const hi = view.getUint16(arp + Arp.SENDER_MAC);
    const lo = view.getInt32(arp + Arp.SENDER_MAC + 2);
    if (!isValidSource(hi, lo) || this.networks.isRouterMac(network, hi, lo)) return;
    const mayCreate = this.networks.subnet4(network, sender) >= 0;
    const row = this.neighbors.learn4(network, sender, hi, lo, now, mayCreate);
    if (row >= 0) this.resolver.release(row);
  }
}
