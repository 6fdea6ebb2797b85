import type { FlowTimeouts } from '../dataplane/config.ts';
import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { Lists } from '../table/lists.ts';
import { RowPool } from '../table/row-pool.ts';
import { Pairs } from './pairs.ts';
import { prepareLine } from './prepare.ts';
import { FLOW_WORDS, Flow, TUPLE_STEP } from './row.ts';
import { EVICTION_CLASS, EvictionClass, TIMERS, timeoutTable } from './timeouts.ts';
import { isTuple4, TUPLE_WORDS, Word } from './tuple.ts';

/** Large allocations begin 16 bytes behind a page: from here on a line of the table is one of the cache, a row within a page. */
const FIRST_LINE = FLOW_WORDS * 4 - 16;

/** Do answers come to the address and port the flow's packets have as their source? */
function isSourceKept(original: Int32Array, reply: Int32Array): boolean {
  for (let i = 0; i < 3; i++) {
    if (original[Word.SOURCE_HIGH + i] !== reply[Word.DESTINATION_HIGH + i]) return false;
  }
  const ports = original[Word.PORTS]! >>> 16 === (reply[Word.PORTS]! & 0xffff);
  return ports && original[Word.SOURCE] === reply[Word.DESTINATION];
}

/** Whoever counts flows. */
export interface FlowEnds {
  /** The flow with `counted` begins to close, or is forgotten; once per flow. */
  ended(row: number): void;
}

/**
 * Flow memory: each row is a translated connection, found by either of its two tuples.
 *
 *   lines[row × 64 …]   what packets read and write, see row.ts; a tuple id is row × 2 + direction
 *   row                 born (ms) · service · generation of the service · backend address and port stand in the reply
 *                       tuple · how, why: service/why.ts
 *
 * States: absent → any state of its protocol → absent, by expiry, eviction or removal. An expired row is absent
 * from the moment it expires, swept or not.
 * Full table (N22): the oldest unreplied UDP, then unreplied TCP, then closing TCP flow goes; established and
 * replied ones never do. Each class is a list ordered by last refresh.
 * Limits: at most `limit` flows; `resize` changes it. Cost: one probe and one key compare per lookup, no allocation ever.
 */
export class Flows {
  count = 0;
  created = 0;
  evicted = 0;

  /** Between which addresses there are flows. */
  pairs!: Pairs;
  private readonly hasher: Hasher;
  index!: HashIndex;
  private rows!: RowPool;
  private lists!: Lists;
  lines!: Int32Array;
  /** The same memory; see `trafficAt`. */
  traffic!: Float64Array;
  /** Idle times, see timeouts.ts; `setTimeouts` changes them. */
  readonly timeouts = timeoutTable();
  private used!: Uint8Array;
  service!: Int32Array;
  generation!: Int32Array;
  /** When it began, as `age` counts. */
  private born!: Float64Array;
  /** As of which change the flow found its service. */
  version!: Int32Array;
  /** When it is ended because its endpoint left (S30), ms; 0 = it is not. */
  ends!: Int32Array;
  /** Not 0: `onEnd` wants to know of its end. */
  counted!: Int32Array;
  onEnd: FlowEnds | null = null;
  /** How the endpoint was chosen; for whoever opened the flow. */
  how!: Uint8Array;
  why!: Int32Array;
  private cursor = 0;
  /** ms up to `swept`: `now` alone wraps after weeks. */
  private elapsed = 0;
  private swept = 0;

  constructor(
    public limit: number,
    private readonly seed: number,
  ) {
    this.hasher = new Hasher(seed);
    this.allocate(limit);
  }

  /** All columns for `capacity` flows. @throws RangeError without changing anything when memory is short. */
  private allocate(capacity: number): void {
    const memory = new ArrayBuffer(FIRST_LINE + capacity * FLOW_WORDS * 4);
    const columns = {
      pairs: new Pairs(capacity * 2, this.seed),
      index: new HashIndex(capacity * 2),
      rows: new RowPool(capacity),
      lists: new Lists(4, capacity),
      lines: new Int32Array(memory, FIRST_LINE),
      traffic: new Float64Array(memory, FIRST_LINE),
      used: new Uint8Array(capacity),
      service: new Int32Array(capacity),
      generation: new Int32Array(capacity),
      born: new Float64Array(capacity),
      version: new Int32Array(capacity),
      ends: new Int32Array(capacity),
      counted: new Int32Array(capacity),
      how: new Uint8Array(capacity),
      why: new Int32Array(capacity),
    };
    Object.assign(this, columns);
    this.limit = capacity;
  }

  /** Another capacity, at least `count`; every flow and its place in the eviction order stay (N23). Cold. */
  resize(capacity: number): void {
    const { lines, service, generation, born, version, ends, counted, how, why, lists, created } = this;
    const rows: number[] = [];
    for (let list = EvictionClass.UNREPLIED_UDP as number; list <= EvictionClass.KEPT; list++) {
      for (let row = lists.head[list]!; row >= 0; row = lists.after(row)) rows.push(row);
    }
    // A lower limit evicts nothing; it is kept by refusing new flows until enough have ended.
    this.allocate(Math.max(capacity, this.count));
    this.count = 0;
    for (const row of rows) {
      const flow = lines.subarray(row * FLOW_WORDS, (row + 1) * FLOW_WORDS);
      const to = this.add(flow, flow.subarray(TUPLE_STEP), flow[Flow.STATE]!, 0);
      this.lines.set(flow, to * FLOW_WORDS);
      this.service[to] = service[row]!;
      this.generation[to] = generation[row]!;
      this.born[to] = born[row]!;
      this.version[to] = version[row]!;
      this.ends[to] = ends[row]!;
      this.counted[to] = counted[row]!;
      this.how[to] = how[row]!;
      this.why[to] = why[row]!;
    }
    this.limit = capacity;
    this.created = created;
    this.cursor = 0;
  }

  hash(tuple: Int32Array): number {
    const { hasher } = this;
    const low = hasher.of4(tuple[0]!, tuple[1]!, tuple[2]!, tuple[3]!);
    if (tuple[6] === 0xffff && tuple[5] === 0 && tuple[4] === 0) return low;
    return low ^ hasher.of6(tuple[4]!, tuple[5]!, tuple[6]!, tuple[7]!, tuple[8]!, tuple[9]!);
  }

  /** @returns the tuple id of a live flow, or −1. An expired flow that is met is removed. */
  find(tuple: Int32Array, hash: number, now: number): number {
    const { entries, mask } = this.index;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const id = entries[at]! - 1;
      if (id < 0) return -1;
      if (entries[at + 1] !== hash || !this.isTuple(id, tuple)) continue;
      if (this.left(id >> 1, now) > 0) return id;
      this.remove(id >> 1);
      return -1;
    }
  }

  /** The same by the words of an IPv4 tuple, and leaving an expired flow alone. */
  find4(scope: number, ports: number, source: number, destination: number): number {
    const { lines } = this;
    const { entries, mask } = this.index;
    const hash = this.hasher.of4(scope, ports, source, destination);
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const id = entries[at]! - 1;
      if (id < 0) return -1;
      const line = id * TUPLE_STEP;
      if (
        entries[at + 1] === hash &&
        lines[line + Word.PORTS] === ports &&
        lines[line + Word.SOURCE] === source &&
        lines[line + Word.DESTINATION] === destination &&
        lines[line] === scope &&
        isTuple4(lines, line)
      ) {
        return id;
      }
    }
  }

  /** The same by a whole tuple. */
  seek(tuple: Int32Array): number {
    const { entries, mask } = this.index;
    const hash = this.hash(tuple);
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const id = entries[at]! - 1;
      if (id < 0) return -1;
      if (entries[at + 1] === hash && this.isTuple(id, tuple)) return id;
    }
  }

  isTuple(id: number, tuple: Int32Array): boolean {
    const { lines } = this;
    const line = id * TUPLE_STEP;
    return (
      lines[line] === tuple[0] &&
      lines[line + 1] === tuple[1] &&
      lines[line + 2] === tuple[2] &&
      lines[line + 3] === tuple[3] &&
      lines[line + 4] === tuple[4] &&
      lines[line + 5] === tuple[5] &&
      lines[line + 6] === tuple[6] &&
      lines[line + 7] === tuple[7] &&
      lines[line + 8] === tuple[8] &&
      lines[line + 9] === tuple[9]
    );
  }

  /**
   * Adds a flow; neither tuple may be in the table.
   * @returns its row, or −1 when the table is full of flows that must stay.
   */
  add(original: Int32Array, reply: Int32Array, state: number, now: number): number {
    if (this.count >= this.limit && !this.evict()) return -1;
    const row = this.rows.take();
    const { lines } = this;
    const at = row * FLOW_WORDS;
    // A loop: `fill` is a call out of compiled code.
    for (let i = TUPLE_WORDS; i < FLOW_WORDS; i++) lines[at + i] = 0;
    for (let i = 0; i < TUPLE_WORDS; i++) {
      lines[at + i] = original[i]!;
      lines[at + TUPLE_STEP + i] = reply[i]!;
    }
    lines[at + Flow.STATE] = state;
    lines[at + Flow.SNAT] = isSourceKept(original, reply) ? 0 : 1;
    lines[at + Flow.EXPIRES] = (now + this.timeout(row, state, false)) | 0;
    this.index.insert(this.hash(original), row * 2);
    this.index.insert(this.hash(reply), row * 2 + 1);
    this.pairs.count(original, 0, 1);
    this.pairs.count(reply, 0, 1);
    this.used[row] = 1;
    this.born[row] = this.elapsed + ((now - this.swept) >>> 0);
    this.version[row] = 0;
    this.ends[row] = 0;
    this.counted[row] = 0;
    this.lists.append(EVICTION_CLASS[state]!, row);
    this.count++;
    this.created++;
    return row;
  }

  /** From now on; running timers stay as they are. */
  setTimeouts(timeouts: FlowTimeouts | undefined): void {
    this.timeouts.set(timeoutTable(timeouts));
  }

  /** Idle time of a flow in a state, ms. @param isUnanswered TCP whose peer owes an answer (N20) */
  timeout(row: number, state: number, isUnanswered: boolean): number {
    return this.timeouts[
      (this.lines[row * FLOW_WORDS + Flow.SNAT]! + (isUnanswered ? 2 : 0)) * TIMERS + state
    ]!;
  }

  /** A valid packet of the flow: its timer restarts, its place in the eviction order moves back (N19). */
  refresh(row: number, state: number, now: number, isUnanswered = false): void {
    const { lines } = this;
    const at = row * FLOW_WORDS;
    const expires = (now + this.timeout(row, state, isUnanswered)) | 0;
    const before = EVICTION_CLASS[lines[at + Flow.STATE]!]!;
    const after = EVICTION_CLASS[state]!;
    if (before !== after) {
      this.lists.remove(before, row);
      this.lists.append(after, row);
      if (after === EvictionClass.CLOSING_TCP) this.end(row);
    } else if (after !== EvictionClass.KEPT && expires !== lines[at + Flow.EXPIRES]) {
      this.lists.refresh(after, row);
    }
    lines[at + Flow.STATE] = state;
    lines[at + Flow.EXPIRES] = expires;
  }

  remove(row: number): void {
    this.end(row);
    const original = this.tuple(row * 2);
    const reply = this.tuple(row * 2 + 1);
    this.index.remove(this.hash(original), row * 2);
    this.index.remove(this.hash(reply), row * 2 + 1);
    this.pairs.count(original, 0, -1);
    this.pairs.count(reply, 0, -1);
    this.lists.remove(EVICTION_CLASS[this.stateOf(row)]!, row);
    this.used[row] = 0;
    this.rows.give(row);
    this.count--;
  }

  private end(row: number): void {
    if (this.counted[row] !== 0) this.onEnd?.ended(row);
  }

  /** TcpState or UdpState. */
  stateOf(row: number): number {
    return this.lines[row * FLOW_WORDS + Flow.STATE]!;
  }

  /** Does its client appear as another address or port? */
  isSnat(row: number): boolean {
    return this.lines[row * FLOW_WORDS + Flow.SNAT] !== 0;
  }

  /** ms until the flow expires unless a packet comes. */
  left(row: number, now: number): number {
    return (this.lines[row * FLOW_WORDS + Flow.EXPIRES]! - now) | 0;
  }

  /** ms since the flow began. */
  age(row: number, now: number): number {
    return this.elapsed + ((now - this.swept) >>> 0) - this.born[row]!;
  }

  /** Word of a tuple's key. */
  word(id: number, word: number): number {
    return this.lines[id * TUPLE_STEP + word]!;
  }

  /** Fills in what a packet with tuple `id` becomes. */
  prepare(id: number): void {
    prepareLine(this.lines, id, this.hasher);
  }

  /** Removes expired flows among the next `budget` rows. */
  sweep(now: number, budget: number): void {
    this.elapsed += (now - this.swept) >>> 0;
    this.swept = now;
    const extent = this.rows.extent;
    for (let i = Math.min(budget, extent); i > 0; i--) {
      if (this.cursor >= extent) this.cursor = 0;
      const row = this.cursor++;
      if (this.used[row] === 1 && this.left(row, now) <= 0) this.remove(row);
    }
  }

  get extent(): number {
    return this.rows.extent;
  }

  isLive(row: number, now: number): boolean {
    return this.used[row] === 1 && this.left(row, now) > 0;
  }

  /** Scratch for `remove`: a copy, so that hashing needs no second form and no allocation. */
  private readonly scratch = [new Int32Array(TUPLE_WORDS), new Int32Array(TUPLE_WORDS)] as const;

  private tuple(id: number): Int32Array {
    const into = this.scratch[(id & 1) as 0 | 1];
    const line = id * TUPLE_STEP;
    for (let i = 0; i < TUPLE_WORDS; i++) into[i] = this.lines[line + i]!;
    return into;
  }

  private evict(): boolean {
    for (let list: number = EvictionClass.UNREPLIED_UDP; list < EvictionClass.KEPT; list++) {
      const row = this.lists.head[list]!;
      if (row < 0) continue;
      this.remove(row);
      this.evicted++;
      return true;
    }
    return false;
  }
}
