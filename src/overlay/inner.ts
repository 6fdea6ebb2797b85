import { Gso } from '../card/layout.ts';
import type { Networks } from '../fabric/networks.ts';
import type { Burst } from '../packet/burst.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { fold, pseudoSum4, pseudoSum6 } from '../wire/checksum.ts';
import { ETHERNET_BYTES, EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol, setTos } from '../wire/ipv4.ts';
import { IPV6_BYTES, Ipv6, setTrafficClass, trafficClass } from '../wire/ipv6.ts';
import { Tcp } from '../wire/tcp.ts';
import { Udp } from '../wire/udp.ts';

const NOT_ECT = 0;
const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;

/** What a decapsulated frame still needs once its inner headers are parsed: VLAN policy, ECN, offload metadata. */
export class Inner {
  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
  ) {}

  run(burst: Burst): void {
    const { packets } = this;
    const { slots } = burst;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      const reason = (packets.flags[slot]! & Flag.TUNNEL) === 0 ? Drop.NONE : this.finish(slot);
      if (reason === Drop.NONE) slots[kept++] = slot;
      else packets.drop(slot, reason);
    }
    burst.count = kept;
  }

  private finish(slot: number): Drop {
    const { packets } = this;
    const network = packets.network[slot]!;
    if ((packets.flags[slot]! & Flag.TAGGED) !== 0) {
      return this.networks.passInnerVlan[network] === 1 ? Drop.NONE : Drop.INNER_VLAN; // V9
    }
    if (packets.l3[slot] === 0 || packets.etherType[slot] === EtherType.ARP) return Drop.NONE; // V13
    const outer = packets.memory.tos[slot]! & 3;
    if (outer !== NOT_ECT && !this.mergeEcn(slot, outer)) return Drop.ECN;
    const l4 = packets.l4[slot]!;
    const protocol = packets.protocol[slot]!;
    if (l4 === 0 || (protocol !== Protocol.TCP && protocol !== Protocol.UDP)) return Drop.NONE;
    if (packets.gsoSize[slot] !== 0) return Drop.NONE; // merged by the card, complete in every respect
    this.restorePartial(slot, l4, protocol);
    // Complete: it is one packet, however large (V16).
    if (protocol !== Protocol.TCP || packets.csumStart[slot] === 0) return Drop.NONE;
    return this.restoreSuperFrame(slot, l4, network);
  }

  /** RFC 6040 §4.2 (V12). @returns false when the mark cannot be carried. */
  private mergeEcn(slot: number, outer: number): boolean {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const isIpv4 = packets.etherType[slot] === EtherType.IPV4;
    const field = isIpv4 ? view.getUint8(ip + Ipv4.TOS) : trafficClass(view, ip);
    const inner = field & 3;
    let next = inner;
    if (outer === CE) {
      if (inner === NOT_ECT) return false;
      next = CE;
    } else if (outer === ECT_1 && inner === ECT_0) {
      next = ECT_1;
    }
    if (next === inner) return true;
    if (isIpv4) setTos(view, ip, (field & 0xfc) | next);
    else setTrafficClass(view, ip, (field & 0xfc) | next);
    return true;
  }

  /**
   * A Linux VXLAN device hands packets of local senders to a veth with the inner checksum still partial: the
   * field holds the bare pseudo-header sum (kernel-peer trap; drivers/net/vxlan, iptunnel_handle_offloads). Such
   * a field is taken for what it is. A complete checksum equals the pseudo-header sum once in 65536 packets;
   * marking that one partial is harmless, since whoever needs it complete computes the same value again.
   */
  private restorePartial(slot: number, l4: number, protocol: number): void {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const offset = protocol === Protocol.TCP ? Tcp.CHECKSUM : Udp.CHECKSUM;
    const field = view.getUint16(l4 + offset);
    let sum: number;
    if (packets.etherType[slot] === EtherType.IPV4) {
      const length = view.getUint16(ip + Ipv4.TOTAL_LENGTH) - (l4 - ip);
      sum = pseudoSum4(
        view.getInt32(ip + Ipv4.SOURCE),
        view.getInt32(ip + Ipv4.DESTINATION),
        protocol,
        length,
      );
    } else {
      sum = pseudoSum6(view, ip, protocol, view.getUint16(ip + Ipv6.PAYLOAD_LENGTH));
    }
    if (fold(sum) !== field) return;
    packets.csumStart[slot] = l4 - packets.start[slot]!;
    packets.csumOffset[slot] = offset;
  }

  /**
   * V26: a TCP frame whose checksum is partial may be a Linux peer's unsegmented super-frame; one larger than the
   * overlay MTU is. A smaller one, two segments of a connection to a port of a small MTU, shows only there (Fit).
   */
  private restoreSuperFrame(slot: number, tcp: number, network: number): Drop {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const isIpv4 = packets.etherType[slot] === EtherType.IPV4;
    const header = (view.getUint8(tcp + Tcp.DATA_OFFSET) >>> 4) << 2;
    const total = isIpv4
      ? view.getUint16(ip + Ipv4.TOTAL_LENGTH)
      : view.getUint16(ip + Ipv6.PAYLOAD_LENGTH) + IPV6_BYTES;
    const segment = this.networks.mtu[network]! - (tcp - ip) - header;
    const isWhole = total === packets.length[slot]! - ETHERNET_BYTES;
    const isSuper = packets.length[slot]! - ETHERNET_BYTES > this.networks.mtu[network]!;
    if (!isWhole || header < 20 || segment <= 0 || total <= tcp - ip + header) {
      return isSuper ? Drop.BAD_OFFLOAD : Drop.NONE;
    }
    packets.flags[slot]! |= Flag.SIZE_UNKNOWN;
    if (isSuper) {
      packets.gsoType[slot] = isIpv4 ? Gso.TCPV4 : Gso.TCPV6;
      packets.gsoSize[slot] = segment;
    }
    return Drop.NONE;
  }
}
