import { Gso } from '../card/layout.ts';
import { isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Egress } from '../packet/egress.ts';
import type { Originator } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { ETHERNET_BYTES, EtherType, VLAN_BYTES } from '../wire/ethernet.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { DONT_FRAGMENT, Ipv4 } from '../wire/ipv4.ts';
import { Tcp } from '../wire/tcp.ts';
import { UDP_BYTES } from '../wire/udp.ts';

/**
 * Takes copies off the egress list that are larger than their egress takes (B20, V17) and tells the sender of a
 * don't-fragment packet, as every IPv6 packet is one, the size that fits (N34). A super-frame is judged by its segments.
 * Limits: routed packets without DF are dropped, not fragmented.
 */
export class Fit {
  /** The smallest MTU of all; a frame within it fits whatever its egress. */
  private least = 0;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
    private readonly egress: Egress,
    private readonly originator: Originator,
  ) {}

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
    const { egress, packets } = this;
    const { slots, locations } = egress;
    let kept = egress.prepared;
    // `count` is read every time: answers made here join the end of the list.
    for (let i = egress.prepared; i < egress.count; ) {
      const slot = slots[i]!;
      let size = this.size(slot);
      const before = kept;
      let limit = 0;
      for (; i < egress.count && slots[i] === slot; i++) {
        const to = locations[i]!;
        const most = this.limit(packets.network[slot]!, to);
        if (size > most) size = this.shrink(slot, size, most);
        if (size <= most) {
          slots[kept] = slot;
          locations[kept++] = to;
        } else {
          limit = most;
        }
      }
      if (kept === before) {
        if (this.isUnfragmentable(slot)) {
          this.originator.icmpError(slot, Icmp.UNREACHABLE, Unreachable.FRAGMENTATION_NEEDED, limit, now);
        }
        packets.drop(slot, Drop.TOO_BIG);
      }
    }
    egress.count = kept;
  }

  /**
   * The sender cut its segments for the receiver's MSS, which we do not know: smaller ones are as right (V26).
   * @returns the new size
   */
  private shrink(slot: number, size: number, most: number): number {
    const { packets } = this;
    const gsoSize = most - this.headers(slot);
    if ((packets.flags[slot]! & Flag.SIZE_UNKNOWN) === 0 || gsoSize <= 0) return size;
    packets.gsoType[slot] = packets.etherType[slot] === EtherType.IPV4 ? Gso.TCPV4 : Gso.TCPV6;
    packets.gsoSize[slot] = gsoSize;
    return most;
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

  private isUnfragmentable(slot: number): boolean {
    const { packets } = this;
    const ip = packets.l3[slot]!;
    if (ip === 0) return false;
    if (packets.etherType[slot] === EtherType.IPV6) return true;
    if (packets.etherType[slot] !== EtherType.IPV4) return false;
    return (packets.view.getUint16(ip + Ipv4.FRAGMENT) & DONT_FRAGMENT) !== 0;
  }
}
