import { type Flows, ORIGINAL, REPLY } from '../conntrack/flows.ts';
import { INVALID, NEW_FLOW } from '../conntrack/tcp-state.ts';
import type { Tracker } from '../conntrack/tracker.ts';
import { End, LINE_WORDS, readTuple, reverseTuple, TUPLE_WORDS } from '../conntrack/tuple.ts';
import type { Burst } from '../packet/burst.ts';
import type { Restorer } from '../packet/originate.ts';
import { Flag, type Packets } from '../packet/packets.ts';
import { Drop } from '../telemetry/drop.ts';
import { EtherType } from '../wire/ethernet.ts';
import { Ipv4, Protocol } from '../wire/ipv4.ts';
import { type Opener, PASS } from './open.ts';
import { rewrite } from './rewrite.ts';
import type { Services } from './services.ts';

/**
 * Services: packets to a VIP become packets to a backend, and replies get the VIP back (N1–N6, S15–S24).
 *
 * Only packets addressed to the gateway MAC are translated to a backend (N6); *every* TCP or UDP packet is
 * matched against reply tuples, because a backend in the client's own subnet answers the client directly (N2).
 *
 * Limits: IPv4; fragments and ICMP errors of translated flows are not translated.
 */
export class Translate implements Restorer {
  private readonly tuple = new Int32Array(TUPLE_WORDS);
  private readonly reply = new Int32Array(TUPLE_WORDS);
  /** Tuple and flow of the previous packet of this burst; −1 = none. */
  private readonly lastTuple = new Int32Array(TUPLE_WORDS);
  private lastId = -1;

  constructor(
    private readonly packets: Packets,
    private readonly flows: Flows,
    private readonly tracker: Tracker,
    private readonly services: Services,
    private readonly opener: Opener,
  ) {}

  run(burst: Burst, now: number): void {
    if (this.flows.count === 0 && this.services.count === 0) return;
    const { packets } = this;
    const { slots } = burst;
    this.lastId = -1;
    let kept = 0;
    for (let i = 0; i < burst.count; i++) {
      const slot = slots[i]!;
      if (packets.etherType[slot] !== EtherType.IPV4 || packets.l3[slot] === 0) {
        slots[kept++] = slot;
        continue;
      }
      const protocol = packets.protocol[slot]!;
      const isTracked = (protocol === Protocol.TCP || protocol === Protocol.UDP) && packets.l4[slot] !== 0;
      if (isTracked ? this.track(slot, now) : this.passUntracked(slot, protocol, now)) slots[kept++] = slot;
    }
    burst.count = kept;
  }

  /** Gives a translated packet the ends it came with, before it is dropped and quoted, if its flow still lives. */
  restore(slot: number, now: number): boolean {
    const { flows, packets, tuple, reply } = this;
    packets.flags[slot]! &= ~Flag.TRANSLATED;
    readTuple(packets, slot, tuple);
    reverseTuple(tuple, reply);
    const back = flows.find(reply, flows.hash(reply), now);
    if (back < 0) return false;
    // What answers this packet is the reverse of what it was before: the flow's other tuple.
    const came = back ^ 1;
    const line = came * LINE_WORDS;
    const isBoth = flows.snat[back >> 1] === 1;
    if (isBoth || (came & 1) === ORIGINAL)
      rewrite(packets, slot, End.DESTINATION, flows.lines, line, End.DESTINATION);
    if (isBoth || (came & 1) === REPLY) rewrite(packets, slot, End.SOURCE, flows.lines, line, End.SOURCE);
    return true;
  }

  /** @returns true when the packet goes on. */
  private track(slot: number, now: number): boolean {
    const { packets, flows, tuple } = this;
    readTuple(packets, slot, tuple);
    const id = this.findFlow(now);
    const toGateway = (packets.flags[slot]! & Flag.TO_GATEWAY) !== 0;
    if (id < 0) {
      if (toGateway) return this.open(slot, now);
      this.lastId = -1;
      this.opener.passDirect(slot, tuple, now);
      return true;
    }
    const row = id >> 1;
    const direction = id & 1;
    if (direction === ORIGINAL && !toGateway) return true;
    const verdict = this.tracker.step(slot, row, direction, now);
    if (verdict === INVALID) {
      packets.drop(slot, Drop.FLOW_INVALID);
      return false;
    }
    if (verdict === NEW_FLOW) {
      flows.remove(row);
      return this.open(slot, now);
    }
    this.apply(slot, row, direction);
    return true;
  }

  private open(slot: number, now: number): boolean {
    this.lastId = -1; // adding a flow may evict another
    const row = this.opener.open(slot, this.tuple, now);
    if (row < 0) return row === PASS;
    this.apply(slot, row, ORIGINAL);
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

  private apply(slot: number, row: number, direction: number): void {
    const { packets, flows } = this;
    const traffic = row * 4 + direction * 2;
    flows.traffic[traffic]!++;
    flows.traffic[traffic + 1]! += packets.length[slot]!;
    packets.flags[slot]! |= Flag.TRANSLATED;
    // The far end as the other tuple knows it: its source is what this direction must be sent to, and vice versa.
    const other = (row * 2 + (direction ^ 1)) * LINE_WORDS;
    const isBoth = flows.snat[row] === 1;
    if (isBoth || direction === ORIGINAL)
      rewrite(packets, slot, End.DESTINATION, flows.lines, other, End.SOURCE);
    if (isBoth || direction === REPLY)
      rewrite(packets, slot, End.SOURCE, flows.lines, other, End.DESTINATION);
  }

  /** Other protocols, and fragments, which a service address cannot serve. */
  private passUntracked(slot: number, protocol: number, now: number): boolean {
    const { packets } = this;
    if ((packets.flags[slot]! & Flag.TO_GATEWAY) === 0) return true;
    if (!this.services.isVip4(packets.view.getInt32(packets.l3[slot]! + Ipv4.DESTINATION))) return true;
    if ((packets.flags[slot]! & Flag.FRAGMENT) !== 0) packets.drop(slot, Drop.FRAGMENT_TO_SERVICE);
    else if (protocol === Protocol.TCP || protocol === Protocol.UDP) packets.drop(slot, Drop.BAD_IP_HEADER);
    else this.opener.reject(slot, Drop.UNSUPPORTED_TO_SERVICE, now);
    return false;
  }
}

function isSame(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < TUPLE_WORDS; i++) if (a[i] !== b[i]) return false;
  return true;
}
