import { AntiSpoof, isPeer, type Locations } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { ETHERNET_BYTES, EtherType, isReservedGroup, isValidSource, VLAN_BYTES } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Udp } from '../wire/udp.ts';
import { judgeIpv6 } from './ipv6-guard.ts';

/**
 * Admission: what a frame must satisfy before anything is learned from it (B1, B22, B24–B27). Sets
 * Flag.TO_GATEWAY. ARP claims are judged by neigh/guard.ts, which knows who owns an address.
 * Limits: the link-layer options of IPv6 neighbour discovery are not compared with the Ethernet source; underlay
 * addresses are IPv4 here, since pods have no IPv6 route to them.
 */
export class Admit {
  /** Bit per UDP port that VXLAN uses, and the underlay addresses of all hosts (B26). */
  private readonly vxlanPort = new Uint8Array(65536);
  private underlay4 = new Int32Array(0);

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly locations: Locations,
  ) {}

  /** @param addresses IPv4 underlay addresses of this host and of every peer. */
  setUnderlay(addresses: Int32Array<ArrayBuffer>, ports: readonly number[]): void {
    this.underlay4 = addresses;
    this.vxlanPort.fill(0);
    for (const port of ports) this.vxlanPort[port] = 1;
  }

  run(burst: Burst): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    burst.toGateway = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const reason = this.judge(slot);
      if (reason !== Drop.NONE) {
        packets.drop(slot, reason);
        continue;
      }
      if ((packets.flags[slot]! & Flag.TO_GATEWAY) !== 0) burst.toGateway++;
      slots[kept++] = slot;
    }
    burst.count = kept;
  }

  private judge(slot: number): Drop {
    const { packets, networks } = this;
    const network = packets.network[slot]!;
    const dstHi = packets.dstHi[slot]!;
    const dstLo = packets.dstLo[slot]!;
    if (!isValidSource(packets.srcHi[slot]!, packets.srcLo[slot]!)) return Drop.BAD_SOURCE_MAC; // B1
    if (isReservedGroup(dstHi, dstLo) && (networks.forwardReserved[network] === 0 || (dstLo & 15) === 1)) {
      return Drop.RESERVED_DESTINATION; // B22; PAUSE (01) always
    }
    const toGateway = dstLo === networks.gatewayLo[network] && dstHi === networks.gatewayHi[network];
    if (isPeer(packets.source[slot]!)) {
      if (toGateway) return Drop.GATEWAY_FROM_TUNNEL; // B27
    } else {
      const reason = this.judgePort(slot, network);
      if (reason !== Drop.NONE) return reason;
    }
    if (toGateway || (dstLo === networks.routerLo[network] && dstHi === networks.routerHi[network])) {
      packets.flags[slot]! |= Flag.TO_GATEWAY;
    }
    return Drop.NONE;
  }

  /** What a port may send (B24–B27). */
  private judgePort(slot: number, network: number): Drop {
    const { packets, locations, networks } = this;
    const port = packets.source[slot]!;
    const srcHi = packets.srcHi[slot]!;
    const srcLo = packets.srcLo[slot]!;
    if (
      (srcLo === networks.gatewayLo[network] && srcHi === networks.gatewayHi[network]) ||
      (srcLo === networks.routerLo[network] && srcHi === networks.routerHi[network])
    ) {
      return Drop.SPOOF_GATEWAY; // B27
    }
    const mode = locations.antiSpoof[port]!;
    if (mode === AntiSpoof.OFF) return this.judgeUnderlay(slot);
    if (srcLo !== locations.macLo[port] || srcHi !== locations.macHi[port]) return Drop.SPOOF_MAC;
    const l3 = packets.l3[slot]!;
    const type = packets.etherType[slot]!;
    if (l3 === 0) {
      // Linux also takes ARP of hardware type 6, which the guard cannot vouch for.
      if (type === EtherType.ARP) return Drop.SPOOF_ARP;
      return this.isPriorityTagged(slot) ? Drop.PRIORITY_TAG : Drop.NONE;
    }
    if (type === EtherType.IPV4) return this.judgeIpv4(slot, l3, port, mode);
    return type === EtherType.IPV6 ? judgeIpv6(packets.view, l3, port, mode, locations) : Drop.NONE;
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
    if (ip === 0 || packets.etherType[slot] !== EtherType.IPV4 || packets.protocol[slot] !== Protocol.UDP)
      return Drop.NONE;
    const udp = packets.l4[slot] !== 0 ? packets.l4[slot]! : this.firstFragment(slot, ip);
    if (udp === 0 || this.vxlanPort[view.getUint16(udp + Udp.DESTINATION_PORT)] === 0) return Drop.NONE;
    return this.underlay4.includes(view.getInt32(ip + Ipv4.DESTINATION)) ? Drop.UNDERLAY_ACCESS : Drop.NONE;
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
