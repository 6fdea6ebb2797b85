import type { Networks } from '../fabric/networks.ts';
import { GATEWAY } from '../telemetry/counters.ts';
import { fold, pseudoSum6, sumBytes } from '../wire/checksum.ts';
import { ETHERNET_BYTES, EtherType, GROUP_BIT, writeEthernet } from '../wire/ethernet.ts';
import { Icmp, Unreachable } from '../wire/icmp.ts';
import { ICMPV6_BYTES, Icmpv6, isIcmpv6Error, Unreachable6 } from '../wire/icmpv6.ts';
import { Protocol } from '../wire/ipv4.ts';
import {
  Chain,
  copyAddress,
  IPV6_BYTES,
  Ipv6,
  interfaceId2,
  interfaceId3,
  isLaterFragment,
  isLinkLocal,
  isMulticast6,
  LINK_LOCAL,
  MULTICAST_MAC_HI,
  SOLICITED_NODE,
  solicitedNode3,
  walk,
  writeAddress,
  writeIpv6,
} from '../wire/ipv6.ts';
import { finishNd, ND_BYTES, ND_HOP_LIMIT, Nd, NdFlag, NdOption } from '../wire/nd.ts';
import { TCP_BYTES, Tcp, TcpFlag, writeTcpRefusal } from '../wire/tcp.ts';
import type { IcmpBudget } from './icmp-budget.ts';
import type { Originator } from './originate.ts';
import { Flag, type Packets } from './packets.ts';

/** An error quotes as much as fits the least MTU of IPv6 (N9). */
export const LEAST_MTU6 = 1280;
const QUOTE_BYTES = LEAST_MTU6 - IPV6_BYTES - ICMPV6_BYTES;
const ND_FRAME_BYTES = ETHERNET_BYTES + IPV6_BYTES + ND_BYTES;
const HOP_LIMIT = 64;
/** ff02::1. */
const ALL_NODES = 0xff020000 | 0;

/** IPv6 frames of the daemon's own: neighbour discovery, ICMPv6 errors, TCP resets. */
export class Originator6 {
  private readonly chain = new Chain();

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly budget: IcmpBudget,
    private readonly frames: Originator,
  ) {}

  /**
   * Asks for the MAC of an address, from the host's router MAC and its link-local address (A14): everybody, or the
   * station whose MAC (hi, lo) is to be verified.
   */
  solicit(
    network: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    isKnown: boolean,
    hi: number,
    lo: number,
  ): void {
    const { networks } = this;
    const made = this.frames.make(network, ND_FRAME_BYTES);
    if (made < 0) return;
    const { view, start } = this.packets;
    const ip = start[made]! + ETHERNET_BYTES;
    const srcHi = networks.routerHi[network]!;
    const srcLo = networks.routerLo[network]!;
    const group3 = solicitedNode3(w3);
    const dstHi = isKnown ? hi : MULTICAST_MAC_HI;
    writeEthernet(view, start[made]!, dstHi, isKnown ? lo : group3, srcHi, srcLo, EtherType.IPV6);
    writeIpv6(view, ip, ND_BYTES, Protocol.ICMPV6, ND_HOP_LIMIT);
    writeAddress(view, ip + Ipv6.SOURCE, LINK_LOCAL, 0, interfaceId2(srcHi, srcLo), interfaceId3(srcLo));
    if (isKnown) writeAddress(view, ip + Ipv6.DESTINATION, w0, w1, w2, w3);
    else writeAddress(view, ip + Ipv6.DESTINATION, SOLICITED_NODE, 0, 1, group3);
    writeAddress(view, ip + IPV6_BYTES + Nd.TARGET, w0, w1, w2, w3);
    finishNd(view, ip, Icmpv6.NEIGHBOR_SOLICITATION, 0, NdOption.SOURCE_LINK, srcHi, srcLo);
    this.frames.send(made, -1);
  }

  /**
   * Answers the solicitation in `slot`: its target is at (hi, lo). To the asker, out of the port it came in by (A9);
   * to an asker without address, who tests whether the target is free, to all nodes (A7).
   * @param flags `NdFlag.ROUTER` or 0
   */
  advertise(slot: number, hi: number, lo: number, flags: number): void {
    const { packets } = this;
    const made = this.frames.make(packets.network[slot]!, ND_FRAME_BYTES);
    if (made < 0) return;
    const { view } = packets;
    const asked = packets.l3[slot]!;
    const asker = asked + Ipv6.SOURCE;
    const target = packets.l4[slot]! + Nd.TARGET;
    const start = packets.start[made]!;
    const ip = start + ETHERNET_BYTES;
    const isProbe = isUnspecified(view, asker);
    const dstHi = isProbe ? MULTICAST_MAC_HI : packets.srcHi[slot]!;
    const dstLo = isProbe ? 1 : packets.srcLo[slot]!;
    writeEthernet(view, start, dstHi, dstLo, hi, lo, EtherType.IPV6);
    writeIpv6(view, ip, ND_BYTES, Protocol.ICMPV6, ND_HOP_LIMIT);
    copyAddress(view, target, ip + Ipv6.SOURCE);
    if (isProbe) writeAddress(view, ip + Ipv6.DESTINATION, ALL_NODES, 0, 0, 1);
    else copyAddress(view, asker, ip + Ipv6.DESTINATION);
    copyAddress(view, target, ip + IPV6_BYTES + Nd.TARGET);
    const all = flags | NdFlag.OVERRIDE | (isProbe ? 0 : NdFlag.SOLICITED);
    finishNd(view, ip, Icmpv6.NEIGHBOR_ADVERTISEMENT, all, NdOption.TARGET_LINK, hi, lo);
    this.frames.send(made, packets.source[slot]!);
  }

  /** An unsolicited advertisement of (hi, lo) for its address (A15, K9). @returns false when there is no buffer. */
  announce(network: number, hi: number, lo: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const made = this.frames.make(network, ND_FRAME_BYTES);
    if (made < 0) return false;
    const { view, start } = this.packets;
    const ip = start[made]! + ETHERNET_BYTES;
    writeEthernet(view, start[made]!, MULTICAST_MAC_HI, 1, hi, lo, EtherType.IPV6);
    writeIpv6(view, ip, ND_BYTES, Protocol.ICMPV6, ND_HOP_LIMIT);
    writeAddress(view, ip + Ipv6.SOURCE, w0, w1, w2, w3);
    writeAddress(view, ip + Ipv6.DESTINATION, ALL_NODES, 0, 0, 1);
    writeAddress(view, ip + IPV6_BYTES + Nd.TARGET, w0, w1, w2, w3);
    finishNd(view, ip, Icmpv6.NEIGHBOR_ADVERTISEMENT, NdFlag.OVERRIDE, NdOption.TARGET_LINK, hi, lo);
    this.frames.send(made, -1);
    return true;
  }

  /**
   * As `Originator.icmpError`, whose type, code and rest are those of ICMPv4: the same said in ICMPv6 (RFC 7915 §4.2).
   */
  icmpError(slot: number, type: number, code: number, rest: number, now: number): void {
    const isTooBig = type === Icmp.UNREACHABLE && code === Unreachable.FRAGMENTATION_NEEDED;
    if (isTooBig) this.complain(slot, Icmpv6.TOO_BIG, 0, Math.max(rest, LEAST_MTU6), now);
    else if (type === Icmp.TIME_EXCEEDED) this.complain(slot, Icmpv6.TIME_EXCEEDED, 0, 0, now);
    else this.complain(slot, Icmpv6.UNREACHABLE, unreachableCode(code), 0, now);
  }

  /** An ICMPv6 error about the packet in `slot`, which stays the caller's, unless N9 forbids or N10 limits it. */
  complain(slot: number, type: number, code: number, rest: number, now: number): void {
    const { packets, networks } = this;
    const { view } = packets;
    const isTooBig = type === Icmpv6.TOO_BIG;
    if (!this.mayComplain(slot, isTooBig)) return;
    const ip = packets.l3[slot]!;
    const network = packets.network[slot]!;
    const w0 = view.getInt32(ip + Ipv6.SOURCE);
    const w1 = view.getInt32(ip + Ipv6.SOURCE + 4);
    const w2 = view.getInt32(ip + Ipv6.SOURCE + 8);
    const w3 = view.getInt32(ip + Ipv6.SOURCE + 12);
    const isItself = this.speaksItself(slot, network, w0, w1, w2, w3);
    const row = isItself ? 0 : this.subnetOf(slot, network, w0, w1, w2, w3);
    if (row < 0) return;
    if (!this.budget.take(network, w0, w1, w2, w3, !isTooBig, now)) return;
    const quoted = Math.min(view.getUint16(ip + Ipv6.PAYLOAD_LENGTH) + IPV6_BYTES, this.quoteBytes(slot, ip));
    const made = this.frames.make(network, ETHERNET_BYTES + IPV6_BYTES + ICMPV6_BYTES + quoted);
    if (made < 0) return;
    const at = this.frames.addressBack(made, slot, EtherType.IPV6);
    writeIpv6(view, at, ICMPV6_BYTES + quoted, Protocol.ICMPV6, HOP_LIMIT);
    const rows = networks.subnets6[network]!;
    if (isItself) copyAddress(view, ip + Ipv6.DESTINATION, at + Ipv6.SOURCE);
    else
      writeAddress(view, at + Ipv6.SOURCE, rows[row + 8]!, rows[row + 9]!, rows[row + 10]!, rows[row + 11]!);
    writeAddress(view, at + Ipv6.DESTINATION, w0, w1, w2, w3);
    const icmp = at + IPV6_BYTES;
    view.setInt32(icmp, (type << 24) | (code << 16));
    view.setInt32(icmp + 4, rest);
    packets.bytes.copyWithin(icmp + ICMPV6_BYTES, ip, ip + quoted);
    if ((packets.flags[slot]! & Flag.ROUTED) !== 0) {
      const hop = icmp + ICMPV6_BYTES + Ipv6.HOP_LIMIT; // as its sender knows it
      view.setUint8(hop, view.getUint8(hop) + 1);
    }
    const length = ICMPV6_BYTES + quoted;
    const sum = pseudoSum6(view, at, Protocol.ICMPV6, length) + sumBytes(view, icmp, length);
    view.setUint16(icmp + 2, ~fold(sum) & 0xffff);
    this.frames.send(made, packets.source[slot]!);
  }

  /** A reset that refuses the TCP segment in `slot` (S16). The caller drops the slot. */
  tcpReset(slot: number, beyond: number): void {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const tcp = packets.l4[slot]!;
    if ((view.getUint8(tcp + Tcp.FLAGS) & TcpFlag.RST) !== 0) return;
    const made = this.frames.make(packets.network[slot]!, ETHERNET_BYTES + IPV6_BYTES + TCP_BYTES);
    if (made < 0) return;
    const at = this.frames.addressBack(made, slot, EtherType.IPV6);
    writeIpv6(view, at, TCP_BYTES, Protocol.TCP, HOP_LIMIT);
    copyAddress(view, ip + Ipv6.DESTINATION, at + Ipv6.SOURCE);
    copyAddress(view, ip + Ipv6.SOURCE, at + Ipv6.DESTINATION);
    const out = at + IPV6_BYTES;
    const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
    writeTcpRefusal(view, out, tcp, end - tcp + beyond);
    const sum = pseudoSum6(view, at, Protocol.TCP, TCP_BYTES) + sumBytes(view, out, TCP_BYTES);
    view.setUint16(out + Tcp.CHECKSUM, ~fold(sum) & 0xffff);
    this.frames.send(made, packets.source[slot]!);
  }

  /**
   * The subnet whose gateway speaks to a source. What the host routes here may come from anywhere; a pod speaks from
   * the network's subnets, or from the link.
   */
  private subnetOf(slot: number, network: number, w0: number, w1: number, w2: number, w3: number): number {
    const { networks, packets } = this;
    if (isLinkLocal(w0)) return networks.subnets6[network]!.length > 0 ? 0 : -1;
    if (packets.source[slot] !== networks.hostPort[network]) return networks.subnet6(network, w0, w1, w2, w3);
    const { hostAddress6: host } = networks;
    const at = network * 4;
    return networks.subnet6(network, host[at]!, host[at + 1]!, host[at + 2]!, host[at + 3]!);
  }

  /** As in originate.ts: to whoever is outside a service's address speaks for itself. */
  private speaksItself(
    slot: number,
    network: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
  ): boolean {
    const { networks, packets } = this;
    if (packets.source[slot] !== networks.hostPort[network] || isLinkLocal(w0)) return false;
    return networks.subnet6(network, w0, w1, w2, w3) < 0 && this.frames.isServed(slot);
  }

  /** N9: no errors about errors, later fragments, sources that are nobody, or, but for their size, multicasts. */
  private mayComplain(slot: number, isTooBig: boolean): boolean {
    const { packets, chain } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    if (ip === 0 || packets.source[slot] === GATEWAY) return false;
    const isGroup =
      (view.getUint16(packets.start[slot]!) & GROUP_BIT) !== 0 ||
      isMulticast6(view.getInt32(ip + Ipv6.DESTINATION));
    if (isGroup && !isTooBig) return false;
    const source = ip + Ipv6.SOURCE;
    if (isMulticast6(view.getInt32(source)) || isNobody(view, source)) return false;
    const end = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
    if (!walk(view, ip, end, chain)) return chain.fragment === 0;
    if (chain.fragment !== 0 && isLaterFragment(view, chain.fragment)) return false;
    if (chain.protocol !== Protocol.ICMPV6) return true;
    return chain.at < end && !isIcmpv6Error(view.getUint8(chain.at));
  }

  /** All that surely is whole: the checksum of a partial or segmented packet is not the one on its sender's wire. */
  private quoteBytes(slot: number, ip: number): number {
    const { packets } = this;
    const l4 = packets.l4[slot]!;
    return l4 === 0 || packets.hasSenderSum(slot) ? QUOTE_BYTES : l4 - ip + 8;
  }
}

/** ICMPv6's word for an ICMPv4 "unreachable". */
function unreachableCode(code: number): Unreachable6 {
  if (code === Unreachable.HOST) return Unreachable6.ADDRESS;
  if (code === Unreachable.PORT) return Unreachable6.PORT;
  return code === Unreachable.PROHIBITED ? Unreachable6.PROHIBITED : Unreachable6.NO_ROUTE;
}

/** Is the address at `at` "::"? */
export const isUnspecified = (view: DataView, at: number): boolean =>
  (view.getInt32(at) | view.getInt32(at + 4) | view.getInt32(at + 8) | view.getInt32(at + 12)) === 0;

/** "::" or "::1". */
const isNobody = (view: DataView, at: number): boolean =>
  (view.getInt32(at) | view.getInt32(at + 4) | view.getInt32(at + 8) | (view.getInt32(at + 12) & ~1)) === 0;
