import type { Address } from '../dataplane/config.ts';
import { AntiSpoof, isPeer, type Locations } from '../fabric/locations.ts';
import { isIpv4, type Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { ETHERNET_BYTES, EtherType, isReservedGroup, isValidSource, VLAN_BYTES } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Chain, IPV6_BYTES, Ipv6, isLaterFragment, walk } from '../wire/ipv6.ts';
import { UDP_BYTES, Udp } from '../wire/udp.ts';
import { judgeIpv6 } from './ipv6-guard.ts';

/**
 * Admission: what a frame must satisfy before anything is learned from it (B1, B22, B24–B27). Sets
 * Flag.TO_GATEWAY. ARP and neighbour discovery are judged in neigh/, which knows who owns an address.
 */
export class Admit {
  /** 1 for every UDP port that VXLAN uses, and the underlay addresses of all hosts (B26). */
  readonly vxlanPort = new Uint8Array(65536);
  private underlay4 = new Int32Array(0);
  /** Four words each. */
  private underlay6 = new Int32Array(0);

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
  ) {}

  /** @param addresses underlay addresses of this host and of every peer. */
  setUnderlay(addresses: readonly Address[], ports: readonly number[]): void {
    this.underlay4 = Int32Array.from(addresses.filter(isIpv4).map((a) => a[3]));
    this.underlay6 = Int32Array.from(addresses.filter((a) => !isIpv4(a)).flat());
    this.vxlanPort.fill(0);
    for (const port of ports) this.vxlanPort[port] = 1;
  }

  run(burst: Burst): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    burst.toGateway = 0;
    // Frames of one burst often share both addresses: what was said of them is then still true.
    let last = -1;
    let toGateway = false;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if (last < 0 || !this.hasAddressesOf(slot, last)) {
        const reason = this.judgeMacs(
          packets.network[slot]!,
          packets.source[slot]!,
          packets.srcHi[slot]!,
          packets.srcLo[slot]!,
          packets.dstHi[slot]!,
          packets.dstLo[slot]!,
        );
        if (reason !== Drop.NONE) {
          packets.drop(slot, reason);
          last = -1;
          continue;
        }
        toGateway = this.isToGateway(slot);
        last = slot;
      }
      const reason = isPeer(packets.source[slot]!) ? Drop.NONE : this.judgePayload(slot);
      if (reason !== Drop.NONE) {
        packets.drop(slot, reason);
        last = -1; // its slot may be taken by a frame of our own
        continue;
      }
      if (toGateway) {
        packets.flags[slot]! |= Flag.TO_GATEWAY;
        burst.toGateway++;
      }
      slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** Same location, network, source and destination MAC? */
  private hasAddressesOf(slot: number, other: number): boolean {
    const { source, network, srcHi, srcLo, dstHi, dstLo } = this.packets;
    return (
      srcLo[slot] === srcLo[other] &&
      dstLo[slot] === dstLo[other] &&
      source[slot] === source[other] &&
      srcHi[slot] === srcHi[other] &&
      dstHi[slot] === dstHi[other] &&
      network[slot] === network[other]
    );
  }

  private isToGateway(slot: number): boolean {
    const { packets, networks } = this;
    return networks.isRouterMac(packets.network[slot]!, packets.dstHi[slot]!, packets.dstLo[slot]!);
  }

  /** What depends on where a frame comes from and its MAC addresses alone (B1, B22, B24, B27). */
  judgeMacs(
    network: number,
    source: number,
    srcHi: number,
    srcLo: number,
    dstHi: number,
    dstLo: number,
  ): Drop {
    const { networks, locations } = this;
    if (!isValidSource(srcHi, srcLo)) return Drop.BAD_SOURCE_MAC; // B1
    if (isReservedGroup(dstHi, dstLo) && (networks.forwardReserved[network] === 0 || (dstLo & 15) === 1)) {
      return Drop.RESERVED_DESTINATION; // B22; PAUSE (01) always
    }
    if (isPeer(source)) {
      const isGateway = dstLo === networks.gatewayLo[network] && dstHi === networks.gatewayHi[network];
      return isGateway ? Drop.GATEWAY_FROM_TUNNEL : Drop.NONE; // B27
    }
    if (networks.isRouterMac(network, srcHi, srcLo)) return Drop.SPOOF_GATEWAY; // B27
    const isOwn = srcLo === locations.macLo[source] && srcHi === locations.macHi[source];
    return isOwn || locations.antiSpoof[source] === AntiSpoof.OFF ? Drop.NONE : Drop.SPOOF_MAC;
  }

  /** What a port may send behind its MAC addresses (B24–B26). */
  private judgePayload(slot: number): Drop {
    const { packets, locations } = this;
    const port = packets.source[slot]!;
    const mode = locations.antiSpoof[port]!;
    if (mode === AntiSpoof.OFF) return this.judgeUnderlay(slot);
    const l3 = packets.l3[slot]!;
    const type = packets.etherType[slot]!;
    if (l3 === 0) {
      // Linux also takes ARP of hardware type 6, which the guard cannot vouch for.
      if (type === EtherType.ARP) return Drop.SPOOF_ARP;
      return this.isPriorityTagged(slot) ? Drop.PRIORITY_TAG : Drop.NONE;
    }
    if (type === EtherType.IPV4) return this.judgeIpv4(slot, l3, port, mode);
    if (type !== EtherType.IPV6) return Drop.NONE;
    const reason = judgeIpv6(packets.view, l3, port, mode, locations);
    return reason === Drop.NONE ? this.judgeUnderlay(slot) : reason;
  }

  /** Tag with VLAN 0: Linux takes the frame as untagged, so its IP and ARP would escape B24 and B25 (CVE-2021-27853). */
  private isPriorityTagged(slot: number): boolean {
    const { packets } = this;
    if ((packets.flags[slot]! & Flag.TAGGED) === 0) return false;
    const tag = packets.start[slot]! + ETHERNET_BYTES;
    return packets.length[slot]! < ETHERNET_BYTES + VLAN_BYTES || (packets.view.getUint16(tag) & 0xfff) === 0;
  }

  private judgeIpv4(slot: number, ip: number, port: number, mode: number): Drop {
    const { packets, locations } = this;
    const { view } = packets;
    const l4 = packets.protocol[slot] === Protocol.UDP ? packets.l4[slot]! : 0;
    const source = view.getInt32(ip + Ipv4.SOURCE);
    if (mode === AntiSpoof.STRICT && !locations.ownsAddress4(port, source)) {
      const isDhcpQuestion = source === 0 && l4 !== 0 && view.getInt32(l4) === 0x00440043; // 68 → 67
      if (!isDhcpQuestion) return Drop.SPOOF_IP;
    }
    const udp = l4 !== 0 ? l4 : this.firstFragment(slot, ip);
    if (udp === 0) return Drop.NONE;
    if (view.getInt32(udp) === 0x00430044) return Drop.ROGUE_SERVER; // 67 → 68, B25
    return this.judgeUnderlay(slot);
  }

  /** B26, whatever the mode: no datagram of a pod's own to where VXLAN listens. */
  private judgeUnderlay(slot: number): Drop {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    if (ip === 0 || packets.protocol[slot] !== Protocol.UDP) return Drop.NONE;
    const is4 = packets.etherType[slot] === EtherType.IPV4;
    let udp = packets.l4[slot]!;
    if (udp === 0) udp = is4 ? this.firstFragment(slot, ip) : firstFragment6(view, ip);
    if (udp === 0 || this.vxlanPort[view.getUint16(udp + Udp.DESTINATION_PORT)] === 0) return Drop.NONE;
    const isUnderlay = is4
      ? this.underlay4.includes(view.getInt32(ip + Ipv4.DESTINATION))
      : this.isUnderlay6(ip + Ipv6.DESTINATION);
    return isUnderlay ? Drop.UNDERLAY_ACCESS : Drop.NONE;
  }

  private isUnderlay6(at: number): boolean {
    const { underlay6 } = this;
    const { view } = this.packets;
    for (let i = 0; i < underlay6.length; i += 4) {
      if (
        underlay6[i + 3] === view.getInt32(at + 12) &&
        underlay6[i + 2] === view.getInt32(at + 8) &&
        underlay6[i + 1] === view.getInt32(at + 4) &&
        underlay6[i] === view.getInt32(at)
      ) {
        return true;
      }
    }
    return false;
  }

  /** Offset of the UDP header in the first fragment of a datagram, 0 = none: fragments hide no ports. */
  private firstFragment(slot: number, ip: number): number {
    const { view, protocol } = this.packets;
    const header = (view.getUint8(ip) & 15) << 2;
    const isFirst = (view.getUint16(ip + Ipv4.FRAGMENT) & 0x3fff) === 0x2000;
    const hasPorts = view.getUint16(ip + Ipv4.TOTAL_LENGTH) >= header + 8;
    return protocol[slot] === Protocol.UDP && isFirst && hasPorts ? ip + header : 0;
  }
}

const chain = new Chain();

/** The same in IPv6. */
function firstFragment6(view: DataView, ip: number): number {
  const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
  if (!walk(view, ip, end, chain) || chain.protocol !== Protocol.UDP || chain.fragment === 0) return 0;
  return isLaterFragment(view, chain.fragment) || chain.at + UDP_BYTES > end ? 0 : chain.at;
}
