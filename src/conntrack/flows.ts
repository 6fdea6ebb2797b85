import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { Lists } from '../table/lists.ts';
import { RowPool } from '../table/row-pool.ts';
import { EVICTION_CLASS, EvictionClass, TIMEOUT_MS } from './timeouts.ts';
import { TUPLE_WORDS } from './tuple.ts';

/** Direction bit of a tuple id. */
export const ORIGINAL = 0;
export const REPLY = 1;

/**
 * Flow memory: each row is a translated connection, found by either of its two tuples.
 *
 *   tuple id = row × 2 + direction     keys[tuple id × 10 …]   see tuple.ts
 *   row   state (TcpState | UdpState) · expires (ms) · service · generation of the service · backend address and
 *         port stand in the reply tuple · hairpin · packets and bytes of both directions
 *         acked[row × 2 + direction]: last acknowledgment number that direction sent (N14)
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

  private readonly hasher: Hasher;
  private index!: HashIndex;
  private rows!: RowPool;
  private lists!: Lists;
  private keys!: Int32Array;
  private used!: Uint8Array;
  state!: Uint8Array;
  expires!: Int32Array;
  service!: Int32Array;
  generation!: Int32Array;
  hairpin!: Uint8Array;
  acked!: Int32Array;
  /** [row × 4]: packets, bytes, reply packets, reply bytes. */
  traffic!: Float64Array;
  private cursor = 0;

  constructor(
    public limit: number,
    seed: number,
  ) {
    this.hasher = new Hasher(seed);
    this.allocate(limit);
  }

  /** All columns for `capacity` flows. @throws RangeError without changing anything when memory is short. */
  private allocate(capacity: number): void {
    const columns = {
      index: new HashIndex(capacity * 2),
      rows: new RowPool(capacity),
      lists: new Lists(4, capacity),
      keys: new Int32Array(capacity * 2 * TUPLE_WORDS),
      used: new Uint8Array(capacity),
      state: new Uint8Array(capacity),
      expires: new Int32Array(capacity),
      service: new Int32Array(capacity),
      generation: new Int32Array(capacity),
      hairpin: new Uint8Array(capacity),
      acked: new Int32Array(capacity * 2),
      traffic: new Float64Array(capacity * 4),
    };
    Object.assign(this, columns);
    this.limit = capacity;
  }

  /** Another capacity, at least `count`; every flow and its place in the eviction order stay (N23). Cold. */
  resize(capacity: number): void {
    const old = { keys: this.keys, state: this.state, expires: this.expires };
    const { service, generation, hairpin, acked, traffic, lists } = this;
    const created = this.created;
    const rows: number[] = [];
    for (let list = EvictionClass.UNREPLIED_UDP as number; list <= EvictionClass.KEPT; list++) {
      for (let row = lists.head[list]!; row >= 0; row = lists.after(row)) rows.push(row);
    }
    // A lower limit evicts nothing; it is kept by refusing new flows until enough have ended.
    this.allocate(Math.max(capacity, this.count));
    this.count = 0;
    for (const row of rows) {
      const key = row * 2 * TUPLE_WORDS;
      const original = old.keys.subarray(key, key + TUPLE_WORDS);
      const to = this.add(
        original,
        old.keys.subarray(key + TUPLE_WORDS, key + 2 * TUPLE_WORDS),
        old.state[row]!,
        0,
      );
      this.expires[to] = old.expires[row]!;
      this.service[to] = service[row]!;
      this.generation[to] = generation[row]!;
      this.hairpin[to] = hairpin[row]!;
      this.acked.set(acked.subarray(row * 2, row * 2 + 2), to * 2);
      this.traffic.set(traffic.subarray(row * 4, row * 4 + 4), to * 4);
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
    const { keys } = this;
    const { slots, hashes, mask } = this.index;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const id = slots[at]! - 1;
      if (id < 0) return -1;
      if (hashes[at] !== hash) continue;
      const key = id * TUPLE_WORDS;
      if (
        keys[key] === tuple[0] &&
        keys[key + 1] === tuple[1] &&
        keys[key + 2] === tuple[2] &&
        keys[key + 3] === tuple[3] &&
        keys[key + 4] === tuple[4] &&
        keys[key + 5] === tuple[5] &&
        keys[key + 6] === tuple[6] &&
        keys[key + 7] === tuple[7] &&
        keys[key + 8] === tuple[8] &&
        keys[key + 9] === tuple[9]
      ) {
        if (((this.expires[id >> 1]! - now) | 0) > 0) return id;
        this.remove(id >> 1);
        return -1;
      }
    }
  }

  /**
   * Adds a flow; neither tuple may be in the table.
   * @returns its row, or −1 when the table is full of flows that must stay.
   */
  add(original: Int32Array, reply: Int32Array, state: number, now: number): number {
    if (this.count >= this.limit && !this.evict()) return -1;
    const row = this.rows.take();
    this.keys.set(original, row * 2 * TUPLE_WORDS);
    this.keys.set(reply, (row * 2 + 1) * TUPLE_WORDS);
    this.index.insert(this.hash(original), row * 2);
    this.index.insert(this.hash(reply), row * 2 + 1);
    this.used[row] = 1;
    this.state[row] = state;
    this.expires[row] = (now + TIMEOUT_MS[state]!) | 0;
    this.acked[row * 2] = 0;
    this.acked[row * 2 + 1] = 0;
    this.traffic.fill(0, row * 4, row * 4 + 4);
    this.lists.append(EVICTION_CLASS[state]!, row);
    this.count++;
    this.created++;
    return row;
  }

  /** A valid packet of the flow: its timer restarts, its place in the eviction order moves back (N19). */
  refresh(row: number, state: number, now: number): void {
    const expires = (now + TIMEOUT_MS[state]!) | 0;
    const before = EVICTION_CLASS[this.state[row]!]!;
    const after = EVICTION_CLASS[state]!;
    if (before !== after) {
      this.lists.remove(before, row);
      this.lists.append(after, row);
    } else if (after !== EvictionClass.KEPT && expires !== this.expires[row]) {
      this.lists.refresh(after, row);
    }
    this.state[row] = state;
    this.expires[row] = expires;
  }

  remove(row: number): void {
    const original = this.tuple(row * 2);
    const reply = this.tuple(row * 2 + 1);
    this.index.remove(this.hash(original), row * 2);
    this.index.remove(this.hash(reply), row * 2 + 1);
    this.lists.remove(EVICTION_CLASS[this.state[row]!]!, row);
    this.used[row] = 0;
    this.rows.give(row);
    this.count--;
  }

  /** Word of a tuple's key. */
  word(id: number, word: number): number {
    return this.keys[id * TUPLE_WORDS + word]!;
  }

  /** Removes expired flows among the next `budget` rows. */
  sweep(now: number, budget: number): void {
    const extent = this.rows.extent;
    for (let i = Math.min(budget, extent); i > 0; i--) {
      if (this.cursor >= extent) this.cursor = 0;
      const row = this.cursor++;
      if (this.used[row] === 1 && ((this.expires[row]! - now) | 0) <= 0) this.remove(row);
    }
  }

  get extent(): number {
    return this.rows.extent;
  }

  isLive(row: number, now: number): boolean {
    return this.used[row] === 1 && ((this.expires[row]! - now) | 0) > 0;
  }

  /** Scratch for `remove`: a copy, so that hashing needs no second form and no allocation. */
  private readonly scratch = [new Int32Array(TUPLE_WORDS), new Int32Array(TUPLE_WORDS)] as const;

  private tuple(id: number): Int32Array {
    const into = this.scratch[(id & 1) as 0 | 1];
    const key = id * TUPLE_WORDS;
    for (let i = 0; i < TUPLE_WORDS; i++) into[i] = this.keys[key + i]!;
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
