import { SLOTS } from '../card/layout.ts';
import type { Flows } from '../conntrack/flows.ts';
import { readAddresses, TUPLE_WORDS, Word } from '../conntrack/tuple.ts';
import type { FragmentLimits } from '../dataplane/config.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { LOCATIONS } from '../telemetry/counters.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { Chain, IPV6_BYTES, Ipv6, walk } from '../wire/ipv6.ts';
import { SCTP_BYTES } from '../wire/sctp.ts';
import { TCP_BYTES } from '../wire/tcp.ts';
import { UDP_BYTES } from '../wire/udp.ts';
import type { Judge } from './verdict.ts';

/** Datagrams that wait at once, and fragments in all: the card keeps most of its slots. */
const DATAGRAMS = 64;
const MOST_HELD = 192;
/** N37. */
const MOST_FRAGMENTS = 64;
const MOST_BYTES = 65_535;

const USUAL_LIMITS: FragmentLimits = { maxBytes: 4 << 20, timeout: 30_000 };

/** What a fragment is to those of its datagram that are there. */
const enum Fit {
  NEW,
  DUPLICATE,
  OVERLAP,
}

/**
 * Datagrams in fragments that may need translation (N35–N38): their fragments wait, as they came, until all are there; then
 * they go on in order, all translated as the first one tells. So none is larger than it came, and each keeps its
 * identification.
 *
 *   row   key: as a tuple, with the identification in the place of the ports · owner: location its first fragment to come
 *         came from · born (ms) · head: slots in order of offset, linked by `link` · count · have: bytes of payload
 *         total: of the whole, −1 = not known yet · dead: dropped, and so is what still comes of it
 *   slot  from, to: which bytes of the datagram
 *
 * Limits: 64 datagrams, 192 fragments, `maxBytes`, 64 fragments per datagram, `timeout`. Over a limit of all together the
 * oldest datagram goes of the location that has most, so nobody can push out what others have begun (as B10).
 */
export class Fragments {
  /** Of the datagram that `hold` completed: transport header, and bytes that are not in the first fragment. */
  l4 = 0;
  beyond = 0;
  /** Datagrams that made room for others. */
  evicted = 0;

  private readonly key = new Int32Array(TUPLE_WORDS);
  private readonly chain = new Chain();
  /** The fragment at hand. */
  private start = 0;
  private end = 0;
  private isLast = false;

  private readonly used = new Uint8Array(DATAGRAMS);
  private readonly dead = new Uint8Array(DATAGRAMS);
  private readonly keys = new Int32Array(DATAGRAMS * TUPLE_WORDS);
  private readonly owner = new Int32Array(DATAGRAMS);
  private readonly born = new Int32Array(DATAGRAMS);
  private readonly head = new Int32Array(DATAGRAMS);
  private readonly count = new Int32Array(DATAGRAMS);
  private readonly have = new Int32Array(DATAGRAMS);
  private readonly total = new Int32Array(DATAGRAMS);
  private readonly from = new Int32Array(SLOTS);
  private readonly to = new Int32Array(SLOTS);
  /** What each location has of what is short; 0 but for a moment. */
  private readonly owned = new Int32Array(LOCATIONS);
  private maxBytes = USUAL_LIMITS.maxBytes;
  private timeout = USUAL_LIMITS.timeout;
  private held = 0;
  private bytes = 0;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
    private readonly judge: Judge,
  ) {}

  /** What waits beyond them goes as it comes up. */
  setLimits({ maxBytes, timeout } = USUAL_LIMITS): void {
    this.maxBytes = maxBytes;
    this.timeout = timeout;
  }

  /** May the datagram of a fragment need translation? Its addresses tell (N35). */
  concerns(slot: number): boolean {
    const { packets, key } = this;
    const protocol = packets.protocol[slot]!;
    const isV4 = packets.etherType[slot] === EtherType.IPV4;
    if (isV4 && headerBytes(protocol) === 0) return false;
    readAddresses(packets, slot, key);
    if (this.flows.pairs.has(packets.network[slot]!, key)) return true;
    const flags = packets.flags[slot]! & (Flag.TO_GATEWAY | Flag.TUNNEL);
    return flags === Flag.TO_GATEWAY && this.judge.mayBeServed(packets.network[slot]!, key);
  }

  /**
   * Takes a fragment that `concerns`.
   * @returns the first fragment of its datagram, now complete, the others linked behind it up to −1; or −1: it waits, or
   *   was dropped
   */
  hold(slot: number, now: number): number {
    const { packets, key } = this;
    const length = packets.length[slot]!;
    if (!this.read(slot)) {
      packets.drop(slot, Drop.FRAGMENT_INVALID);
      return -1;
    }
    const source = packets.source[slot]!;
    while (this.held >= MOST_HELD) this.makeRoom(this.count, source, 1);
    while (this.held > 0 && this.bytes + length > this.maxBytes) this.makeRoom(this.have, source, length);
    let row = this.find(now);
    if (row < 0) row = this.begin(key, source, now);
    const fit = this.dead[row] === 1 ? Fit.OVERLAP : this.insert(row, slot);
    if (fit === Fit.DUPLICATE) {
      packets.consume(slot);
    } else if (fit === Fit.OVERLAP) {
      this.kill(row, Drop.FRAGMENT_INVALID);
      packets.drop(slot, Drop.FRAGMENT_INVALID);
    } else {
      packets.countHeld(slot, 1);
      this.held++;
      this.bytes += length;
      if (this.have[row] === this.total[row]) return this.finish(row);
      if (this.count[row]! >= MOST_FRAGMENTS) this.kill(row, Drop.FRAGMENT_LIMIT);
    }
    return -1;
  }

  /** Finds the transport header of a translated first fragment again. @returns false for a later one, which has none. */
  findTransport(slot: number): boolean {
    const { packets, chain } = this;
    if ((packets.flags[slot]! & Flag.FRAGMENT) === 0 || !this.read(slot) || this.start > 0) return false;
    packets.l4[slot] = chain.at;
    return true;
  }

  /** Ends datagrams that did not become whole in time. */
  maintain(now: number): void {
    for (let row = 0; row < DATAGRAMS; row++) {
      if (this.used[row] === 1 && this.isOver(row, now)) this.drop(row, Drop.FRAGMENT_TIMEOUT);
    }
  }

  /** Ends datagrams of which a location that is going away sent a part. Cold. */
  abandon(location: number): void {
    const { source, link } = this.packets;
    for (let row = 0; row < DATAGRAMS; row++) {
      if (this.used[row] === 0) continue;
      let slot = this.head[row]!;
      while (slot >= 0 && source[slot] !== location) slot = link[slot]!;
      if (slot >= 0) this.drop(row, Drop.FRAGMENT_TIMEOUT);
    }
  }

  /** Ends the datagrams of a network that is going away. Cold. */
  abandonNetwork(network: number): void {
    for (let row = 0; row < DATAGRAMS; row++) {
      const isIts = this.keys[row * TUPLE_WORDS + Word.SCOPE]! >>> 8 === network;
      if (this.used[row] === 1 && isIts) this.drop(row, Drop.FRAGMENT_TIMEOUT);
    }
  }

  /** Fills in `key` and what the fragment is of its datagram. @returns false when it can be no part of one (N37). */
  private read(slot: number): boolean {
    const { packets, key, chain } = this;
    const { view } = packets;
    const ip = packets.l3[slot]!;
    const network = packets.network[slot]!;
    let at: number;
    let last: number;
    let isMore: boolean;
    if (packets.etherType[slot] === EtherType.IPV4) {
      const word = view.getUint16(ip + Ipv4.FRAGMENT);
      key[Word.SCOPE] = (network << 8) | packets.protocol[slot]!;
      key[Word.PORTS] = view.getUint16(ip + Ipv4.ID);
      at = ip + ((view.getUint8(ip) & 15) << 2);
      last = ip + view.getUint16(ip + Ipv4.TOTAL_LENGTH);
      this.start = (word & 0x1fff) << 3;
      isMore = (word & 0x2000) !== 0;
      chain.at = at;
      chain.protocol = packets.protocol[slot]!;
    } else {
      last = ip + IPV6_BYTES + view.getUint16(ip + Ipv6.PAYLOAD_LENGTH);
      walk(view, ip, last, chain);
      const word = view.getUint16(chain.fragment + 2);
      key[Word.SCOPE] = network << 8; // RFC 8200 §4.5: not by protocol
      key[Word.PORTS] = view.getInt32(chain.fragment + 4);
      at = chain.fragment + 8;
      this.start = word & 0xfff8;
      isMore = (word & 1) !== 0;
    }
    const length = last - at;
    const before = at - ip - (packets.etherType[slot] === EtherType.IPV4 ? 0 : IPV6_BYTES + 8);
    this.end = this.start + length;
    this.isLast = !isMore;
    if (length <= 0 || (isMore && (length & 7) !== 0) || before + this.end > MOST_BYTES) return false;
    return this.start > 0 || chain.at + headerBytes(chain.protocol) <= last;
  }

  private find(now: number): number {
    const { keys, key } = this;
    for (let row = 0; row < DATAGRAMS; row++) {
      if (this.used[row] === 0) continue;
      let i = 0;
      const at = row * TUPLE_WORDS;
      while (i < TUPLE_WORDS && keys[at + i] === key[i]) i++;
      if (i < TUPLE_WORDS) continue;
      if (!this.isOver(row, now)) return row;
      this.drop(row, Drop.FRAGMENT_TIMEOUT);
    }
    return -1;
  }

  private begin(key: Int32Array, source: number, now: number): number {
    if (this.used.indexOf(0) < 0) this.makeRoom(this.used, source, 1);
    const row = this.used.indexOf(0);
    this.used[row] = 1;
    this.owner[row] = source;
    this.dead[row] = 0;
    for (let i = 0; i < TUPLE_WORDS; i++) this.keys[row * TUPLE_WORDS + i] = key[i]!;
    this.born[row] = now;
    this.head[row] = -1;
    this.count[row] = 0;
    this.have[row] = 0;
    this.total[row] = -1;
    return row;
  }

  /** Links the fragment at hand into its datagram, if it fits. */
  private insert(row: number, slot: number): Fit {
    const { from, to, head, total, start, end } = this;
    const { link } = this.packets;
    let before = -1;
    let after = head[row]!;
    while (after >= 0 && from[after]! < start) {
      before = after;
      after = link[after]!;
    }
    if (after >= 0 && from[after] === start && to[after] === end) return Fit.DUPLICATE;
    if ((before >= 0 && to[before]! > start) || (after >= 0 && end > from[after]!)) return Fit.OVERLAP;
    // Nothing lies behind the last one, and there is one last.
    if (this.isLast ? after >= 0 || total[row]! >= 0 : total[row]! >= 0 && end > total[row]!)
      return Fit.OVERLAP;
    if (this.isLast) total[row] = end;
    from[slot] = start;
    to[slot] = end;
    link[slot] = after;
    if (before < 0) head[row] = slot;
    else link[before] = slot;
    this.count[row]!++;
    this.have[row]! += end - start;
    return Fit.NEW;
  }

  /** Lets the fragments of a whole datagram go. @returns the first. */
  private finish(row: number): number {
    const { packets, chain } = this;
    const first = this.head[row]!;
    for (let slot = first; slot >= 0; slot = packets.link[slot]!) this.release(slot);
    this.used[row] = 0;
    this.read(first);
    this.l4 = chain.at;
    this.beyond = this.total[row]! - this.to[first]!;
    packets.protocol[first] = chain.protocol;
    return first;
  }

  /** Drops what there is of a datagram; its row remembers it, so that nothing of it comes through later. */
  private kill(row: number, reason: Drop): void {
    const { packets } = this;
    for (let slot = this.head[row]!; slot >= 0; ) {
      const next = packets.link[slot]!;
      this.release(slot);
      packets.drop(slot, reason);
      slot = next;
    }
    this.head[row] = -1;
    this.count[row] = 0;
    this.have[row] = 0;
    this.dead[row] = 1;
  }

  private drop(row: number, reason: Drop): void {
    this.kill(row, reason);
    this.used[row] = 0;
  }

  private release(slot: number): void {
    this.packets.countHeld(slot, -1);
    this.held--;
    this.bytes -= this.packets.length[slot]!;
  }

  /**
   * Ends a datagram, the oldest of whoever has most.
   * @param shares of each row in what is short
   * @param more what `source` is about to add, if it has any: then it is the one rather than its equals
   */
  private makeRoom(shares: Int32Array | Uint8Array, source: number, more: number): void {
    const { used, owner, owned, born } = this;
    for (let row = 0; row < DATAGRAMS; row++) if (used[row] === 1) owned[owner[row]!]! += shares[row]!;
    if (owned[source] !== 0) owned[source]! += more;
    let victim = -1;
    let most = 0;
    for (let row = 0; row < DATAGRAMS; row++) {
      if (used[row] === 0 || shares[row] === 0) continue;
      const has = owned[owner[row]!]!;
      if (has < most || (has === most && ((born[row]! - born[victim]!) | 0) >= 0)) continue;
      victim = row;
      most = has;
    }
    for (let row = 0; row < DATAGRAMS; row++) owned[owner[row]!] = 0;
    this.evicted++;
    this.drop(victim, Drop.FRAGMENT_LIMIT);
  }

  private isOver(row: number, now: number): boolean {
    return ((now - this.born[row]!) | 0) >= this.timeout;
  }
}

/** What a transport header with ports has at least; 0 for what has none. */
function headerBytes(protocol: number): number {
  if (protocol === Protocol.TCP) return TCP_BYTES;
  if (protocol === Protocol.SCTP) return SCTP_BYTES;
  return protocol === Protocol.UDP ? UDP_BYTES : 0;
}
