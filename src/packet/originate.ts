import { HEADROOM, SLOT_BYTES, TX_MAX } from '../card/layout.ts';
import { isPeer } from '../fabric/locations.ts';
import type { Networks } from '../fabric/networks.ts';
import { COUNTER_FIELDS, Counter, GATEWAY } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { ARP_FRAME_BYTES, writeArp } from '../wire/arp.ts';
import { fold, pseudoSum4, sumBytes } from '../wire/checksum.ts';
import { ETHERNET_BYTES, EtherType, GROUP_BIT, writeEthernet } from '../wire/ethernet.ts';
import { ICMP_BYTES, Icmp, isIcmpError, Unreachable } from '../wire/icmp.ts';
import { IPV4_BYTES, Ipv4, incrementTtl, Protocol, writeIpv4 } from '../wire/ipv4.ts';
import { TCP_BYTES, Tcp, TcpFlag, writeTcpRefusal } from '../wire/tcp.ts';
import { Burst } from './burst.ts';
import type { Egress } from './egress.ts';
import type { IcmpBudget } from './icmp-budget.ts';
import { Originator6 } from './originate6.ts';
import { Flag, type Packets } from './packets.ts';
import { parseFrame } from './parse.ts';

/** What an ICMP error must know of the services. */
export interface Restorer {
  /**
   * Puts a packet back into the form its sender gave it, before it is quoted.
   * @returns false when that form is no longer known.
   */
  restore(slot: number, now: number): boolean;
  /** Is a packet's destination an address that only services answer for? */
  isServed(slot: number): boolean;
}

/** At most this much of an offending packet is quoted, so that the error stays within 576 bytes (N9). */
const QUOTE_BYTES = 576 - IPV4_BYTES - ICMP_BYTES;

/**
 * Frames the daemon makes itself: ARP, ICMP errors, TCP resets; those of IPv6 in originate6.ts. They carry the gateway MAC towards ports and
 * the router MAC into tunnels (A14) and are never learned (B27).
 *
 * A made frame goes either straight to a location (answers return where the question came from) or into
 * `outbox`, from where it is forwarded by its destination like any other.
 */
export class Originator {
  readonly outbox = new Burst(1024);
  readonly six: Originator6;
  private restorer: Restorer | null = null;

  constructor(
    private readonly packets: Packets,
    private readonly networks: Networks,
    private readonly egress: Egress,
    private readonly budget: IcmpBudget,
  ) {
    this.six = new Originator6(packets, networks, budget, this);
  }

  setRestorer(restorer: Restorer): void {
    this.restorer = restorer;
  }

  /** An ARP frame; `to` is a location, or −1 = forward by destination. @returns false when there is no buffer. */
  arp(
    network: number,
    to: number,
    operation: number,
    dstHi: number,
    dstLo: number,
    senderHi: number,
    senderLo: number,
    senderIp: number,
    targetHi: number,
    targetLo: number,
    targetIp: number,
  ): boolean {
    const slot = this.make(network, ARP_FRAME_BYTES);
    if (slot < 0) return false;
    const { view, start } = this.packets;
    writeArp(
      view,
      start[slot]!,
      operation,
      dstHi,
      dstLo,
      senderHi,
      senderLo,
      senderIp,
      targetHi,
      targetLo,
      targetIp,
    );
    this.send(slot, to);
    return true;
  }

  /**
   * An ICMP error about the packet in `slot`, to where it came from, unless N9 forbids or N10 limits it.
   * The slot still belongs to the caller, which drops it afterwards. About an IPv6 packet ICMPv6 says the same.
   * @param rest second header word: the next-hop MTU of a frag-needed.
   */
  icmpError(slot: number, type: number, code: number, rest: number, now: number): void {
    const { packets } = this;
    const wasTranslated = (packets.flags[slot]! & Flag.TRANSLATED) !== 0;
    if (wasTranslated && this.restorer?.restore(slot, now) === false) return;
    if (packets.etherType[slot] === EtherType.IPV6) {
      this.six.icmpError(slot, type, code, rest, now);
      return;
    }
    if (!this.mayComplain(slot)) return;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const network = packets.network[slot]!;
    const source = view.getInt32(ip + Ipv4.SOURCE);
    const speaker = this.speaker(slot, ip, source);
    if (speaker === 0) return;
    const limited = !(type === Icmp.UNREACHABLE && code === Unreachable.FRAGMENTATION_NEEDED);
    if (!this.budget.take(network, 0, 0, 0xffff, source, limited, now)) return;
    const total = view.getUint16(ip + Ipv4.TOTAL_LENGTH);
    const quoted = Math.min(total, this.quoteBytes(slot, ip));
    const made = this.make(network, ETHERNET_BYTES + IPV4_BYTES + ICMP_BYTES + quoted);
    if (made < 0) return;
    const at = this.addressBack(made, slot, EtherType.IPV4);
    // Without DF (K14): an error is lost for good where it does not fit.
    writeIpv4(view, at, IPV4_BYTES + ICMP_BYTES + quoted, Protocol.ICMP, speaker, source, 0);
    const icmp = at + IPV4_BYTES;
    view.setInt32(icmp, (type << 24) | (code << 16));
    view.setInt32(icmp + 4, rest);
    packets.bytes.copyWithin(icmp + ICMP_BYTES, ip, ip + quoted);
    if ((packets.flags[slot]! & Flag.ROUTED) !== 0) incrementTtl(view, icmp + ICMP_BYTES); // as its sender knows it
    view.setUint16(icmp + 2, ~fold(sumBytes(view, icmp, ICMP_BYTES + quoted)) & 0xffff);
    this.send(made, packets.source[slot]!);
  }

  /**
   * A reset that refuses the TCP segment in `slot` (RFC 9293 §3.10.7.1; S16). The caller drops the slot.
   * @param beyond bytes of it that are in later fragments
   */
  tcpReset(slot: number, beyond = 0): void {
    const { packets } = this;
    if (packets.etherType[slot] === EtherType.IPV6) {
      this.six.tcpReset(slot, beyond);
      return;
    }
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const tcp = packets.l4[slot]!;
    const flags = view.getUint8(tcp + Tcp.FLAGS);
    if ((flags & TcpFlag.RST) !== 0) return;
    const made = this.make(packets.network[slot]!, ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES);
    if (made < 0) return;
    const at = this.addressBack(made, slot, EtherType.IPV4);
    const source = view.getInt32(ip + Ipv4.DESTINATION);
    const destination = view.getInt32(ip + Ipv4.SOURCE);
    writeIpv4(view, at, IPV4_BYTES + TCP_BYTES, Protocol.TCP, source, destination);
    const out = at + IPV4_BYTES;
    writeTcpRefusal(view, out, tcp, view.getUint16(ip + Ipv4.TOTAL_LENGTH) - (tcp - ip) + beyond);
    const sum = pseudoSum4(source, destination, Protocol.TCP, TCP_BYTES) + sumBytes(view, out, TCP_BYTES);
    view.setUint16(out + Tcp.CHECKSUM, ~fold(sum) & 0xffff);
    this.send(made, packets.source[slot]!);
  }

  /** A slot with all columns of an ordinary frame from GATEWAY; −1 and a count when there is none. */
  make(network: number, length: number): number {
    const { packets } = this;
    const slot =
      this.egress.count < TX_MAX && this.outbox.count < this.outbox.capacity ? packets.allocate() : -1;
    if (slot < 0) {
      packets.countLost(Drop.NO_BUFFER);
      return -1;
    }
    packets.start[slot] = slot * SLOT_BYTES + HEADROOM;
    packets.length[slot] = length;
    packets.network[slot] = network;
    packets.source[slot] = GATEWAY;
    packets.flags[slot] = 0;
    packets.csumStart[slot] = 0;
    packets.csumOffset[slot] = 0;
    packets.gsoType[slot] = 0;
    packets.gsoSize[slot] = 0;
    packets.counters.values[GATEWAY * COUNTER_FIELDS + Counter.RX]!++;
    packets.counters.values[GATEWAY * COUNTER_FIELDS + Counter.RX_BYTES]! += length;
    return slot;
  }

  /** Ethernet header of an answer to the sender of `to`. @returns where the IP header goes. */
  addressBack(made: number, to: number, type: EtherType): number {
    const { packets, networks } = this;
    const network = packets.network[to]!;
    const remote = isPeer(packets.source[to]!);
    const start = packets.start[made]!;
    writeEthernet(
      packets.view,
      start,
      packets.srcHi[to]!,
      packets.srcLo[to]!,
      remote ? networks.routerHi[network]! : networks.gatewayHi[network]!,
      remote ? networks.routerLo[network]! : networks.gatewayLo[network]!,
      type,
    );
    return start + ETHERNET_BYTES;
  }

  /** To a location, or −1 = forwarded by destination. */
  send(made: number, to: number): void {
    parseFrame(this.packets, made);
    if (to < 0) this.outbox.push(made);
    else this.egress.push(made, to);
  }

  /** N9: no errors about errors, group destinations, later fragments, or sources that are nobody. */
  private mayComplain(slot: number): boolean {
    const { packets } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    if (packets.etherType[slot] !== EtherType.IPV4 || ip === 0 || packets.source[slot] === GATEWAY)
      return false;
    if ((view.getUint16(packets.start[slot]!) & GROUP_BIT) !== 0) return false;
    if ((view.getUint16(ip + Ipv4.FRAGMENT) & 0x1fff) !== 0) return false;
    const source = view.getInt32(ip + Ipv4.SOURCE);
    const destination = view.getInt32(ip + Ipv4.DESTINATION);
    if (source === 0 || source >>> 24 === 127 || source >>> 28 >= 14 || destination >>> 28 >= 14)
      return false;
    const l4 = packets.l4[slot]!;
    return !(packets.protocol[slot] === Protocol.ICMP && (l4 === 0 || isIcmpError(view.getUint8(l4))));
  }

  /**
   * Who speaks to the sender of a packet: the gateway of its subnet. What the host routes here may come from anywhere;
   * whoever is outside knows none of our gateways, so a service's address speaks for itself, as it does in resets and in
   * the errors of routers behind it (N47; decision 0007).
   * @returns 0 = nobody does
   */
  private speaker(slot: number, ip: number, source: number): number {
    const { packets, networks } = this;
    const network = packets.network[slot]!;
    let row = networks.subnet4(network, source);
    if (packets.source[slot] === networks.hostPort[network]) {
      if (row < 0 && this.isServed(slot)) return packets.view.getInt32(ip + Ipv4.DESTINATION);
      row = networks.subnet4(network, networks.hostAddress4[network]!);
    }
    return row < 0 ? 0 : networks.subnets4[network]![row + 2]!;
  }

  /** As `Restorer` has it. */
  isServed(slot: number): boolean {
    return this.restorer?.isServed(slot) === true;
  }

  /** How much to quote: header and 8 bytes are the least a receiver needs, and all that surely is whole. */
  private quoteBytes(slot: number, ip: number): number {
    const header = (this.packets.view.getUint8(ip) & 15) << 2;
    return this.packets.hasSenderSum(slot) ? QUOTE_BYTES : header + 8;
  }
}
