import { BURST } from '../card/layout.ts';
import type { Flows } from '../conntrack/flows.ts';
import { TUPLE_STEP, trafficAt } from '../conntrack/row.ts';
import { INVALID, NEW_FLOW, OUT_OF_WINDOW } from '../conntrack/tcp-state.ts';
import type { Tracker } from '../conntrack/tracker.ts';
import {
  End,
  hasPorts,
  ORIGINAL,
  REPLY,
  readAddresses,
  readTuple,
  reverseTuple,
  TUPLE_WORDS,
  Word,
} from '../conntrack/tuple.ts';
import type { Burst } from '../packet/burst.ts';
import type { Originator, Restorer } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Icmp } from '../wire/icmp.ts';
import { Ipv4, isHeaderSumRight } from '../wire/ipv4.ts';
import { Ipv6 } from '../wire/ipv6.ts';
import type { Ending } from './ending.ts';
import type { Fragments } from './fragments.ts';
import { NO_SERVICE, type Opener, PASS } from './open.ts';
import { DROPPED, type Related, UNRELATED } from './related.ts';
import { lacksChecksum, rewrite } from './rewrite.ts';
import type { Judge } from './verdict.ts';

/**
 * Services: packets to a VIP become packets to a backend, and replies get the VIP back (N1–N6, S15–S24).
 *
 * Only packets addressed to the gateway MAC are translated to a backend (N6); *every* packet with ports is
 * matched against reply tuples, because a backend in the client's own subnet answers the client directly (N2), and one
 * that sees this host instead of the client answers this host.
 * Fragments take part once their datagram is whole.
 */
export class Translate implements Restorer {
  private readonly tuple = new Int32Array(TUPLE_WORDS);
  private readonly reply = new Int32Array(TUPLE_WORDS);
  /** Tuple and flow of the previous packet of this burst; −1 = none. */
  private readonly lastTuple = new Int32Array(TUPLE_WORDS);
  private lastId = -1;
  /** Tuple id by which the last packet was translated; −1 = it was not. */
  private applied = -1;
  /** What goes on, in order; a burst and all fragments that wait fit in. */
  private readonly kept = new Int32Array(BURST);
  /** Packets to be routed that did not come with this burst, or not addressed to the router. */
  private turned = 0;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
    private readonly tracker: Tracker,
    private readonly judge: Judge,
    private readonly opener: Opener,
    private readonly ending: Ending,
    private readonly related: Related,
    private readonly fragments: Fragments,
    private readonly originator: Originator,
  ) {}

  run(burst: Burst, now: number): void {
    if (this.flows.count === 0 && this.judge.isIdle) return;
    const { packets } = this;
    const { slots } = burst;
    const out = this.kept;
    this.lastId = -1;
    this.turned = 0;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if (!isIp(packets.etherType[slot]!) || packets.l3[slot] === 0) {
        out[kept++] = slot;
        continue;
      }
      if ((packets.flags[slot]! & Flag.FRAGMENT) !== 0 && this.fragments.concerns(slot)) {
        const first = this.fragments.hold(slot, now);
        if (first >= 0) kept = this.trackWhole(first, kept, now);
        continue;
      }
      const protocol = packets.protocol[slot]!;
      const isTracked = hasPorts(protocol) && packets.l4[slot] !== 0;
      let goesOn: boolean;
      if (isTracked) goesOn = this.track(slot, 0, now);
      else if (this.related.isError(slot)) goesOn = this.relate(slot, now);
      else goesOn = this.opener.passOther(slot, now);
      if (goesOn) out[kept++] = slot;
    }
    for (let i = 0; i < kept; i++) slots[i] = out[i]!;
    burst.count = kept;
    burst.toGateway += this.turned;
  }

  /** Gives a translated packet the ends it came with, before it is dropped and quoted, if its flow still lives. */
  restore(slot: number, now: number): boolean {
    const { flows, packets, tuple, reply } = this;
    packets.flags[slot]! &= ~Flag.TRANSLATED;
    if (packets.l4[slot] === 0 && !this.fragments.findTransport(slot)) return false;
    readTuple(packets, slot, tuple);
    reverseTuple(tuple, reply);
    const back = flows.find(reply, flows.hash(reply), now);
    if (back < 0) return false;
    // What answers this packet is the reverse of what it was before: the flow's other tuple.
    const came = back ^ 1;
    const line = came * TUPLE_STEP;
    const isBoth = flows.isSnat(back >> 1);
    if (isBoth || (came & 1) === ORIGINAL)
      rewrite(packets, slot, End.DESTINATION, flows.lines, line, End.DESTINATION);
    if (isBoth || (came & 1) === REPLY) rewrite(packets, slot, End.SOURCE, flows.lines, line, End.SOURCE);
    return true;
  }

  isServed(slot: number): boolean {
    readAddresses(this.packets, slot, this.tuple);
    return this.judge.isServed(this.tuple);
  }

  /** @param beyond bytes in later fragments. @returns true when the packet goes on. */
  private track(slot: number, beyond: number, now: number): boolean {
    const { packets, flows, tuple } = this;
    readTuple(packets, slot, tuple);
    const id = this.findFlow(now);
    const toGateway = (packets.flags[slot]! & Flag.TO_GATEWAY) !== 0;
    if (id < 0) return this.open(slot, beyond, now);
    const row = id >> 1;
    const direction = id & 1;
    if (direction === ORIGINAL && !toGateway && flows.service[row] !== NO_SERVICE) return true; // N6
    if (this.ending.refuse(slot, row, direction, beyond, now)) return false;
    if (direction === ORIGINAL && lacksChecksum(packets, slot)) {
      packets.drop(slot, Drop.NO_CHECKSUM);
      return false;
    }
    const verdict = this.tracker.step(slot, row, direction, beyond, now);
    if (verdict === INVALID || verdict === OUT_OF_WINDOW) {
      packets.drop(slot, verdict === INVALID ? Drop.FLOW_INVALID : Drop.OUT_OF_WINDOW);
      return false;
    }
    if (verdict === NEW_FLOW) {
      flows.remove(row);
      return this.open(slot, beyond, now);
    }
    if (direction === REPLY && !toGateway && flows.isSnat(row) && !this.turn(slot, row, now)) return false;
    this.apply(slot, row, direction, beyond);
    return true;
  }

  /**
   * The fragments of a whole datagram, linked behind the first: what becomes of it becomes of all (N36), as far as they are
   * addressed alike. Those for the gateway may have come in earlier bursts.
   * @returns how many packets go on now.
   */
  private trackWhole(first: number, kept: number, now: number): number {
    const { packets, fragments } = this;
    const { link, l4, protocol } = packets;
    for (let one = first; one >= 0; one = link[one]!) if (this.isToGateway(one)) this.turned++;
    const isRouted = this.isToGateway(first);
    let slot = link[first]!;
    const isTracked = hasPorts(protocol[first]!);
    this.applied = -1;
    l4[first] = fragments.l4;
    const goesOn = isTracked ? this.track(first, fragments.beyond, now) : this.opener.passOther(first, now);
    if (goesOn) {
      l4[first] = 0; // V4: all take one way
      this.kept[kept++] = first;
    }
    while (slot >= 0) {
      const next = link[slot]!;
      if (!goesOn) packets.drop(slot, Drop.FRAGMENT_TO_SERVICE);
      else if (this.follow(slot, isRouted, now)) this.kept[kept++] = slot;
      slot = next;
    }
    return kept;
  }

  /**
   * A later fragment of what was judged last.
   * @param isRouted was that for the gateway?
   * @returns true when it goes on
   */
  private follow(slot: number, isRouted: boolean, now: number): boolean {
    const { flows, applied } = this;
    if (applied < 0) return isRouted || this.opener.passOther(slot, now);
    const row = applied >> 1;
    const toGateway = this.isToGateway(slot);
    if ((applied & 1) === ORIGINAL && !toGateway && flows.service[row] !== NO_SERVICE) return true; // N6
    const isAnswer = (applied & 1) === REPLY && flows.isSnat(row);
    if (isAnswer && !toGateway && !this.turn(slot, row, now)) return false;
    this.apply(slot, row, applied & 1, 0);
    return true;
  }

  private isToGateway(slot: number): boolean {
    return (this.packets.flags[slot]! & Flag.TO_GATEWAY) !== 0;
  }

  /** An ICMP error (N45). @returns true when it goes on. */
  private relate(slot: number, now: number): boolean {
    const { packets, flows, related } = this;
    const id = related.find(slot, now);
    if (id === DROPPED) return false;
    if (id === UNRELATED) return this.opener.passOther(slot, now);
    const row = id >> 1;
    const toGateway = (packets.flags[slot]! & Flag.TO_GATEWAY) !== 0;
    if ((id & 1) === ORIGINAL && !toGateway && flows.service[row] !== NO_SERVICE) return true; // N6
    if ((id & 1) === REPLY && !toGateway && flows.isSnat(row) && !this.turn(slot, row, now)) return false;
    related.translate(slot, id);
    packets.flags[slot]! |= Flag.TRANSLATED;
    return true;
  }

  private open(slot: number, beyond: number, now: number): boolean {
    this.lastId = -1; // adding a flow may evict another
    const row = this.opener.open(slot, this.tuple, beyond, now);
    if (row < 0) return row === PASS;
    this.apply(slot, row, ORIGINAL, beyond);
    return true;
  }

  /** The flow of `tuple`. Packets of one burst often belong to one flow: then its key alone is compared. */
  private findFlow(now: number): number {
    const { flows, tuple, lastTuple } = this;
    if (this.lastId >= 0 && isSame(tuple, lastTuple)) return this.lastId;
    this.lastId = flows.find(tuple, flows.hash(tuple), now);
    for (let i = 0; i < TUPLE_WORDS; i++) lastTuple[i] = tuple[i]!;
    return this.lastId;
  }

  private apply(slot: number, row: number, direction: number, beyond: number): void {
    const { packets, flows } = this;
    this.applied = row * 2 + direction;
    const traffic = trafficAt(row * 2 + direction);
    flows.traffic[traffic]!++;
    flows.traffic[traffic + 1]! += packets.length[slot]!;
    packets.flags[slot]! |= Flag.TRANSLATED;
    // The far end as the other tuple knows it: its source is what this direction must be sent to, and vice versa.
    const other = (row * 2 + (direction ^ 1)) * TUPLE_STEP;
    const isBoth = flows.isSnat(row);
    if (isBoth || direction === ORIGINAL)
      rewrite(packets, slot, End.DESTINATION, flows.lines, other, End.SOURCE, beyond);
    if (isBoth || direction === REPLY)
      rewrite(packets, slot, End.SOURCE, flows.lines, other, End.DESTINATION, beyond);
  }

  /**
   * An answer to an address of this host, under which the client appeared (S21): from here on it is the router's.
   * @returns false when it may not be routed (N7)
   */
  private turn(slot: number, row: number, now: number): boolean {
    const { packets } = this;
    if (!this.isMasked(row)) return true;
    if (packets.etherType[slot] === EtherType.IPV4 && !isHeaderSumRight(packets.view, packets.l3[slot]!)) {
      packets.drop(slot, Drop.BAD_IP_HEADER);
      return false;
    }
    if (ttlOf(packets, slot) <= 1) {
      this.originator.icmpError(slot, Icmp.TIME_EXCEEDED, 0, 0, now);
      packets.drop(slot, Drop.TTL_EXPIRED);
      return false;
    }
    packets.flags[slot]! |= Flag.TO_GATEWAY;
    this.turned++;
    return true;
  }

  /** Does the client of a flow appear under another address, not only another port? */
  private isMasked(row: number): boolean {
    const { lines } = this.flows;
    const original = row * 2 * TUPLE_STEP;
    const reply = original + TUPLE_STEP;
    if (lines[original + Word.SOURCE] !== lines[reply + Word.DESTINATION]) return true;
    for (let i = 0; i < 3; i++)
      if (lines[original + Word.SOURCE_HIGH + i] !== lines[reply + Word.DESTINATION_HIGH + i]) return true;
    return false;
  }
}

const isIp = (type: number): boolean => type === EtherType.IPV4 || type === EtherType.IPV6;

function ttlOf({ view, l3, etherType }: Packets, slot: number): number {
  return view.getUint8(l3[slot]! + (etherType[slot] === EtherType.IPV4 ? Ipv4.TTL : Ipv6.HOP_LIMIT));
}

function isSame(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < TUPLE_WORDS; i++) if (a[i] !== b[i]) return false;
  return true;
}
