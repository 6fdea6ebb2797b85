import type { Flows } from '../conntrack/flows.ts';
import { TUPLE_STEP } from '../conntrack/row.ts';
import {
  hasPorts,
  isTuple4,
  ORIGINAL,
  REPLY,
  readAddresses,
  reverseTuple,
  TUPLE_WORDS,
  Word,
} from '../conntrack/tuple.ts';
import type { Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import {
  deltaHalf,
  deltaWord,
  fold,
  pseudoSum6,
  sumBytes,
  updateField,
  updatePartial,
} from '../wire/checksum.ts';
import { EtherType } from '../wire/ethernet.ts';
import { ICMP_BYTES, isIcmpError, isRelatedIcmp } from '../wire/icmp.ts';
import { isIcmpv6Error, isRelatedIcmpv6 } from '../wire/icmpv6.ts';
import { IPV4_BYTES, Ipv4, Protocol } from '../wire/ipv4.ts';
import { Chain, IPV6_BYTES, Ipv6, isLaterFragment, walk } from '../wire/ipv6.ts';
import { Tcp } from '../wire/tcp.ts';
import { Udp } from '../wire/udp.ts';
import type { Judge } from './verdict.ts';

/** What `find` answers where there is no flow. */
export const UNRELATED = -1;
export const DROPPED = -2;

/** The least of a transport header that an error quotes (RFC 792): ports, and a UDP checksum. */
const QUOTED_BYTES = 8;

/**
 * ICMP errors about packets of translated flows (N17, N45–N49): found by the packet they quote, and translated so
 * that their receiver finds in them what it sent.
 *
 *   outer header    as of any packet of the flow in this direction: towards the client the source is the service's address,
 *                   whichever router speaks (N47)
 *   quoted packet   the tuple its sender gave it, all its checksums that are there
 *   ICMP checksum   by what changed (N40)
 *
 * A flow is neither changed nor refreshed. The quotation at hand is in the fields.
 */
export class Related {
  private readonly tuple = new Int32Array(TUPLE_WORDS);
  private readonly reply = new Int32Array(TUPLE_WORDS);
  private readonly chain = new Chain();
  private isV4 = false;
  /** The quoted packet: its IP and transport headers, one past all that is quoted. */
  private ip = 0;
  private l4 = 0;
  private end = 0;
  /** What the quotation's changes add to a sum over it. */
  private delta = 0;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
    private readonly judge: Judge,
  ) {}

  /** Is it an error that quotes a packet? */
  isError(slot: number): boolean {
    const { packets } = this;
    const l4 = packets.l4[slot]!;
    if (l4 === 0) return false;
    const type = packets.view.getUint8(l4);
    if (packets.etherType[slot] === EtherType.IPV4)
      return packets.protocol[slot] === Protocol.ICMP && isRelatedIcmp(type);
    return packets.protocol[slot] === Protocol.ICMPV6 && isRelatedIcmpv6(type);
  }

  /**
   * The flow an error belongs to.
   * @returns the tuple id of packets that go where the error goes, or UNRELATED, or DROPPED
   */
  find(slot: number, now: number): number {
    const { packets, flows, tuple, reply } = this;
    const network = packets.network[slot]!;
    const isWhole = this.read(slot);
    if (isWhole) this.readQuotedAddresses();
    if (isWhole && this.isHopeless()) {
      if (this.mayBeTracked(network)) return this.drop(slot, Drop.BAD_ICMP);
    } else if (isWhole && this.readQuotedTuple(network)) {
      reverseTuple(tuple, reply);
      const id = flows.find(reply, flows.hash(reply), now);
      if (id >= 0) return this.isSumRight(slot) ? id : this.drop(slot, Drop.BAD_ICMP); // N49
    }
    readAddresses(packets, slot, tuple);
    return this.judge.isServed(tuple) ? this.drop(slot, Drop.UNRELATED_ERROR) : UNRELATED;
  }

  /** Translates the error that `find` was last asked about. */
  translate(slot: number, id: number): void {
    const { packets, flows } = this;
    const { lines } = flows;
    const { view } = packets;
    const sent = (id ^ 1) * TUPLE_STEP;
    this.delta = 0;
    this.restoreQuoted(lines, sent);
    const isBoth = flows.isSnat(id >> 1);
    let outer = 0;
    if (isBoth || (id & 1) === ORIGINAL) outer += this.setOuter(slot, lines, sent, true);
    if (isBoth || (id & 1) === REPLY) outer += this.setOuter(slot, lines, sent, false);
    const at = packets.l4[slot]! + 2;
    const field = view.getUint16(at);
    if (this.isV4) outer = 0; // N43: no pseudo-header
    if (packets.csumStart[slot] !== 0) view.setUint16(at, updatePartial(field, outer));
    else view.setUint16(at, updateField(field, fold(this.delta) + fold(outer)));
  }

  /** Finds the headers of what is quoted. @returns false when too little is. */
  private read(slot: number): boolean {
    const { packets, chain } = this;
    const { view } = packets;
    const outer = packets.l3[slot]!;
    const ip = packets.l4[slot]! + ICMP_BYTES;
    this.isV4 = packets.etherType[slot] === EtherType.IPV4;
    this.ip = ip;
    this.end = this.isV4
      ? outer + view.getUint16(outer + Ipv4.TOTAL_LENGTH)
      : outer + IPV6_BYTES + view.getUint16(outer + Ipv6.PAYLOAD_LENGTH);
    if (ip + (this.isV4 ? IPV4_BYTES : IPV6_BYTES) > this.end) return false;
    const first = view.getUint8(ip);
    if (this.isV4) {
      const header = (first & 15) << 2;
      chain.protocol = view.getUint8(ip + Ipv4.PROTOCOL);
      chain.at = ip + header;
      if (first >>> 4 !== 4 || header < IPV4_BYTES) return false;
    } else if (first >>> 4 !== 6 || !walk(view, ip, this.end, chain)) {
      return false;
    }
    this.l4 = chain.at;
    return this.l4 < this.end;
  }

  /** About an error, or about a later fragment, of which nobody can tell whose they are (N48, N49). */
  private isHopeless(): boolean {
    const { chain, ip } = this;
    const { view } = this.packets;
    if (this.isV4) {
      if ((view.getUint16(ip + Ipv4.FRAGMENT) & 0x1fff) !== 0) return true;
      return chain.protocol === Protocol.ICMP && isIcmpError(view.getUint8(this.l4));
    }
    if (chain.fragment !== 0 && isLaterFragment(view, chain.fragment)) return true;
    return chain.protocol === Protocol.ICMPV6 && isIcmpv6Error(view.getUint8(this.l4));
  }

  /** Are there flows between the quoted addresses? Nothing of an error is translated where there are none (pairs.ts). */
  private mayBeTracked(network: number): boolean {
    const { tuple, reply } = this;
    const { pairs } = this.flows;
    reverseTuple(tuple, reply);
    return pairs.has(network, reply) || pairs.has(network, tuple);
  }

  private readQuotedAddresses(): void {
    const { tuple, ip, isV4 } = this;
    const { view } = this.packets;
    for (let i = 0; i < 3; i++) {
      const mapped = i === 2 ? 0xffff : 0;
      tuple[Word.SOURCE_HIGH + i] = isV4 ? mapped : view.getInt32(ip + Ipv6.SOURCE + i * 4);
      tuple[Word.DESTINATION_HIGH + i] = isV4 ? mapped : view.getInt32(ip + Ipv6.DESTINATION + i * 4);
    }
    tuple[Word.SOURCE] = view.getInt32(ip + (isV4 ? Ipv4.SOURCE : Ipv6.SOURCE + 12));
    tuple[Word.DESTINATION] = view.getInt32(ip + (isV4 ? Ipv4.DESTINATION : Ipv6.DESTINATION + 12));
  }

  /** The quoted packet's tuple, its addresses read. @returns false when it has none that can be a flow's. */
  private readQuotedTuple(network: number): boolean {
    const { tuple, l4, isV4, chain } = this;
    const { view } = this.packets;
    if (!hasPorts(chain.protocol)) return false;
    if (l4 + QUOTED_BYTES > this.end) return false;
    tuple[Word.SCOPE] = (network << 8) | chain.protocol;
    tuple[Word.PORTS] = view.getInt32(l4);
    return isV4 === isTuple4(tuple, 0); // ::ffff:a.b.c.d is no address of a packet, and in a tuple another family's
  }

  private isSumRight(slot: number): boolean {
    const { packets } = this;
    if (packets.csumStart[slot] !== 0) return true; // not made yet
    const { view } = packets;
    const icmp = packets.l4[slot]!;
    const length = this.end - icmp;
    const pseudo = this.isV4 ? 0 : pseudoSum6(view, packets.l3[slot]!, Protocol.ICMPV6, length);
    return fold(pseudo + sumBytes(view, icmp, length)) === 0xffff;
  }

  /** Gives the quoted packet the tuple at `sent` of `lines`, and what covers it the checksums for it. */
  private restoreQuoted(lines: Int32Array, sent: number): void {
    const { ip, l4, isV4, chain } = this;
    const { view } = this.packets;
    this.setAddress(ip + (isV4 ? Ipv4.SOURCE : Ipv6.SOURCE), lines, sent, true);
    this.setAddress(ip + (isV4 ? Ipv4.DESTINATION : Ipv6.DESTINATION), lines, sent, false);
    const addresses = fold(this.delta);
    if (isV4) this.put16(ip + Ipv4.CHECKSUM, updateField(view.getUint16(ip + Ipv4.CHECKSUM), addresses));
    const ports = deltaWord(view.getInt32(l4), lines[sent + Word.PORTS]!);
    this.delta += ports;
    view.setInt32(l4, lines[sent + Word.PORTS]!);
    if (chain.protocol === Protocol.SCTP) return; // its sum is not quoted, and addresses are no part of it
    const isUdp = chain.protocol === Protocol.UDP;
    const field = l4 + (isUdp ? Udp.CHECKSUM : Tcp.CHECKSUM);
    if (field + 2 > this.end) return; // N48
    const before = view.getUint16(field);
    if (isUdp && before === 0) return; // N41
    const after = updateField(before, addresses + ports);
    this.put16(field, isUdp && after === 0 ? 0xffff : after);
  }

  /** One end of the outer header as the tuple at `sent` of `lines` has the other. @returns the change of a pseudo-header. */
  private setOuter(slot: number, lines: Int32Array, sent: number, isDestination: boolean): number {
    const { packets, isV4 } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const before = this.delta;
    const at4 = isDestination ? Ipv4.DESTINATION : Ipv4.SOURCE;
    const at6 = isDestination ? Ipv6.DESTINATION : Ipv6.SOURCE;
    this.setAddress(ip + (isV4 ? at4 : at6), lines, sent, isDestination);
    const change = this.delta - before;
    this.delta = before;
    if (isV4) view.setUint16(ip + Ipv4.CHECKSUM, updateField(view.getUint16(ip + Ipv4.CHECKSUM), change));
    return change;
  }

  /** The source or destination address of the tuple at `from` of `lines`, to `at`. */
  private setAddress(at: number, lines: Int32Array, from: number, isSource: boolean): void {
    const low = lines[from + (isSource ? Word.SOURCE : Word.DESTINATION)]!;
    if (this.isV4) {
      this.put32(at, low);
      return;
    }
    const high = from + (isSource ? Word.SOURCE_HIGH : Word.DESTINATION_HIGH);
    for (let i = 0; i < 3; i++) this.put32(at + i * 4, lines[high + i]!);
    this.put32(at + 12, low);
  }

  private put32(at: number, value: number): void {
    const { view } = this.packets;
    this.delta += deltaWord(view.getInt32(at), value);
    view.setInt32(at, value);
  }

  private put16(at: number, value: number): void {
    const { view } = this.packets;
    this.delta += deltaHalf(view.getUint16(at), value);
    view.setUint16(at, value);
  }

  private drop(slot: number, reason: Drop): number {
    this.packets.drop(slot, reason);
    return DROPPED;
  }
}
