import { Gso, TX_MAX } from '../card/layout.ts';
import { isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import { Egress, UNICAST_RESERVE } from '../packet/egress.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { ETHERNET_BYTES, EtherType, VLAN_BYTES } from '../wire/ethernet.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { DONT_FRAGMENT, Ipv4 } from '../wire/ipv4.ts';
import { Tcp } from '../wire/tcp.ts';
import { UDP_BYTES } from '../wire/udp.ts';
import { Fragmenter } from './fragment.ts';

const MAX_INT = 0x7fffffff;

/**
 * Takes copies off the egress list that are larger than their egress takes (B20, V17) and tells the sender of a
 * don't-fragment packet, as every IPv6 packet is one, the size that fits (N34). What was routed without DF goes in
 * fragments. A super-frame is judged by its segments.
 */
export class Fit {
  /** The smallest MTU of all; a frame within it fits whatever its egress. */
  private least = 0;
  private readonly kept = new Egress();
  private readonly fragmenter: Fragmenter;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly egress: Egress,
    private readonly originator: Originator,
  ) {
    this.fragmenter = new Fragmenter(packets, originator);
  }

  /** To be called when an MTU changed. */
  limitsChanged(): void {
    this.least = Math.min(this.networks.smallestMtu(), this.locations.smallestMtu());
  }

  run(now: number): void {
    if (!this.allFitAnywhere()) this.judgeAll(now);
  }

  /** Most bursts hold nothing larger than what every egress takes. */
  private allFitAnywhere(): boolean {
    const { slots, count, prepared } = this.egress;
    const { length } = this.packets;
    const most = this.least + ETHERNET_BYTES;
    for (let i = prepared; i < count; i++) if (length[slots[i]!]! > most) return false;
    return true;
  }

  private judgeAll(now: number): void {
    const { egress, kept } = this;
    const { slots, locations } = egress;
    kept.count = 0;
    // `count` is read every time: answers made here join the end of the list.
    for (let first = egress.prepared, next = first; first < egress.count; first = next) {
      const slot = slots[first]!;
      let least = MAX_INT;
      for (; next < egress.count && slots[next] === slot; next++)
        least = Math.min(least, this.limit(this.packets.network[slot]!, locations[next]!));
      if (this.size(slot) <= least || this.shrink(slot, least)) this.keep(slot, first, next);
      else if (this.mayBeCut(slot)) this.cut(slot, first, next, least);
      else this.keepFitting(slot, first, next, least, now);
    }
    for (let i = 0; i < kept.count; i++) {
      slots[egress.prepared + i] = kept.slots[i]!;
      locations[egress.prepared + i] = kept.locations[i]!;
    }
    egress.count = egress.prepared + kept.count;
  }

  /** Lets all copies in [first, next) of the list go, of a slot or of what came of it. */
  private keep(slot: number, first: number, next: number): void {
    for (let i = first; i < next; i++) this.kept.push(slot, this.egress.locations[i]!);
  }

  /** Of what cannot be made smaller the copies go that fit. If none does, its sender is told. */
  private keepFitting(slot: number, first: number, next: number, least: number, now: number): void {
    const { packets, kept, originator } = this;
    const { locations } = this.egress;
    const size = this.size(slot);
    const before = kept.count;
    for (let i = first; i < next; i++)
      if (size <= this.limit(packets.network[slot]!, locations[i]!)) kept.push(slot, locations[i]!);
    if (kept.count > before) return;
    if (this.isUnfragmentable(slot))
      originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.FRAGMENTATION_NEEDED, least, now);
    packets.drop(slot, Drop.TOO_BIG);
  }

  /** In fragments that fit everywhere, as a router cuts what it hands to a link: copies of a flood share their bytes. */
  private cut(slot: number, first: number, next: number, least: number): void {
    const { packets, egress, kept, fragmenter } = this;
    const count = fragmenter.count(slot, least);
    const copies = next - first;
    const listed = kept.count + egress.count - first + (count - 1) * copies;
    let reason = Drop.NONE;
    if (count === 0) reason = Drop.TOO_BIG;
    else if (copies > 1 && egress.prepared + listed > TX_MAX - UNICAST_RESERVE) reason = Drop.TX_BUSY;
    else reason = fragmenter.cut(slot, least, count);
    if (reason !== Drop.NONE) packets.drop(slot, reason);
    else for (let one = slot; one >= 0; one = packets.link[one]!) this.keep(one, first, next);
  }

  /**
   * Gives a TCP super-frame smaller segments, where that is as right. Where nobody knows what the sender cut for (V26), and
   * where it lets routers cut: a stream in smaller segments reaches everybody that its fragments would, and none is lost
   * for another.
   * @returns whether it fits now
   */
  private shrink(slot: number, most: number): boolean {
    const { packets } = this;
    const type = packets.gsoType[slot]! & ~Gso.ECN;
    const isKnown = (packets.flags[slot]! & Flag.SIZE_UNKNOWN) === 0;
    if (isKnown && (type !== Gso.TCPV4 || !this.mayBeCut(slot))) return false;
    const gsoSize = most - this.headers(slot);
    if (gsoSize <= 0) return false;
    if (type === Gso.NONE)
      packets.gsoType[slot] = packets.etherType[slot] === EtherType.IPV4 ? Gso.TCPV4 : Gso.TCPV6;
    packets.gsoSize[slot] = gsoSize;
    return true;
  }

  /** Largest packet behind the Ethernet header that will be on a wire. */
  private size(slot: number): number {
    const { packets } = this;
    const gsoSize = packets.gsoSize[slot]!;
    return gsoSize === 0 ? packets.length[slot]! - this.outside(slot) : this.headers(slot) + gsoSize;
  }

  /** Bytes in front of the packet. */
  private outside(slot: number): number {
    return ETHERNET_BYTES + ((this.packets.flags[slot]! & Flag.TAGGED) !== 0 ? VLAN_BYTES : 0);
  }

  /** Bytes of a super-frame's headers that every segment has behind Ethernet's. */
  private headers(slot: number): number {
    const { packets } = this;
    const l4 = packets.start[slot]! + packets.csumStart[slot]!;
    const isUdp = (packets.gsoType[slot]! & ~Gso.ECN) === Gso.UDP_L4;
    const header = isUdp ? UDP_BYTES : (packets.view.getUint8(l4 + Tcp.DATA_OFFSET) >>> 4) << 2;
    return packets.csumStart[slot]! - this.outside(slot) + header;
  }

  /** Largest packet of a network that a location takes. */
  limit(network: number, to: number): number {
    const mtu = this.locations.mtu[to]!;
    if (!isPeer(to)) return mtu;
    const overlay = this.networks.mtu[network]!;
    return mtu !== 0 && mtu < overlay ? mtu : overlay;
  }

  /** By its header: IPv6, or IPv4 with DF. */
  private isUnfragmentable(slot: number): boolean {
    const { packets } = this;
    const ip = packets.l3[slot]!;
    if (ip === 0) return false;
    if (packets.etherType[slot] === EtherType.IPV6) return true;
    if (packets.etherType[slot] !== EtherType.IPV4) return false;
    return (packets.view.getUint16(ip + Ipv4.FRAGMENT) & DONT_FRAGMENT) !== 0;
  }

  /** By a router: IPv4 without DF that was routed, or came from the gateway's side of a service as far as its client knows. */
  private mayBeCut(slot: number): boolean {
    const { packets } = this;
    const isRouted = (packets.flags[slot]! & (Flag.ROUTED | Flag.TRANSLATED)) !== 0;
    const isIpv4 = packets.etherType[slot] === EtherType.IPV4 && packets.l3[slot] !== 0;
    return isRouted && isIpv4 && !this.isUnfragmentable(slot);
  }
}
