import { Epochs } from '../table/epochs.ts';
import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { Lists } from '../table/lists.ts';
import { RowPool } from '../table/row-pool.ts';
import { LOCATIONS } from '../telemetry/counters.ts';

/** How an entry came to be. */
export const enum FdbKind {
  LEARNED = 0,
  /** Configured behind a peer. */
  STATIC = 1,
  /** A local port's own MAC, the gateway MAC or the router MAC. */
  LOCAL = 2,
}

/** One entry, for people. `age` in ms. */
export interface FdbEntry {
  readonly hi: number;
  readonly lo: number;
  readonly location: number;
  readonly kind: FdbKind;
  readonly age: number;
  readonly moves: number;
}

/** What `learn` did. */
export const enum Learned {
  KNOWN = 0,
  NEW = 1,
  MOVED = 2,
  /** Table full and nothing may be evicted: forwarded, not learned (B10). */
  REFUSED = 3,
  /** The MAC is a static entry elsewhere (B7). */
  STATIC_ELSEWHERE = 4,
  /** The MAC is a local entry elsewhere (B8, B27). */
  LOCAL_ELSEWHERE = 5,
}

/**
 * Forwarding database of one network: MAC → location.
 *
 *   row    hi, lo (MAC) · location · stamp (ms, when its source was last heard) · kind · moves
 *   index  HashIndex over hash(seed, hi, lo)
 *   lists  learned rows of each location, least recently refreshed first
 *
 * States: absent → learned (aged by `ageing`) ⇄ static/local (never aged, moved or evicted).
 * Limits: at most `maxEntries` learned rows, plus MAX_STATIC configured ones. Stamps wrap after 24 days, which
 * is beyond the largest ageing time (B4: 1 000 000 s = 11.6 days) as long as sweep runs.
 * Cost: a hit is one probe of the index and one row; eviction scans the locations that own entries.
 */
export class Fdb {
  static readonly MAX_STATIC = 8192;
  /** Learned entries now (B9: exact at all times). */
  learned = 0;
  evictions = 0;

  private readonly hasher: Hasher;
  private index: HashIndex;
  private rows: RowPool;
  private lists: Lists;
  private readonly hi: Int32Array;
  private readonly lo: Int32Array;
  readonly location: Int32Array;
  private readonly stamp: Int32Array;
  private readonly kind: Uint8Array;
  private readonly moves: Int32Array;
  private cursor = 0;

  /**
   * @param ageing ms, 0 = never.
   * @param epochs told, under `network`, of every entry that moves or goes before it is too old to be looked up.
   */
  constructor(
    readonly maxEntries: number,
    private ageing: number,
    private readonly seed: number,
    private readonly epochs = new Epochs(1),
    private readonly network = 0,
  ) {
    this.hasher = new Hasher(seed);
    const capacity = maxEntries + Fdb.MAX_STATIC;
    this.index = new HashIndex(capacity);
    this.rows = new RowPool(capacity);
    this.lists = new Lists(LOCATIONS, capacity);
    this.hi = new Int32Array(capacity);
    this.lo = new Int32Array(capacity);
    this.location = new Int32Array(capacity).fill(-1);
    this.stamp = new Int32Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.moves = new Int32Array(capacity);
  }

  /** @returns the location of a MAC, or −1. Does not refresh (B3). */
  locate(hi: number, lo: number, now: number): number {
    const row = this.find(hi, lo);
    if (row < 0 || this.isExpired(row, now)) return -1;
    return this.location[row]!;
  }

  /** Learns or refreshes the source of an admitted frame (B2, B6). */
  learn(hi: number, lo: number, location: number, now: number): Learned {
    let row = this.find(hi, lo);
    if (row >= 0) {
      if (this.location[row] === location) {
        this.touch(row, now);
        return Learned.KNOWN;
      }
      if (this.kind[row] === FdbKind.STATIC) return Learned.STATIC_ELSEWHERE;
      if (this.kind[row] === FdbKind.LOCAL) return Learned.LOCAL_ELSEWHERE;
      const fresh = this.isExpired(row, now);
      this.lists.remove(this.location[row]!, row);
      this.lists.append(location, row);
      this.location[row] = location;
      this.stamp[row] = now;
      this.epochs.bump(this.network);
      if (fresh) return Learned.NEW;
      this.moves[row]!++;
      return Learned.MOVED;
    }
    if (this.learned >= this.maxEntries && !this.evictFor(location, now)) return Learned.REFUSED;
    row = this.insert(hi, lo, location, FdbKind.LEARNED, now);
    if (row < 0) return Learned.REFUSED;
    this.learned++;
    this.lists.append(location, row);
    return Learned.NEW;
  }

  /** The source of a row was heard again. */
  touch(row: number, now: number): void {
    if (this.stamp[row] === now || this.kind[row] !== FdbKind.LEARNED) return;
    this.stamp[row] = now;
    this.lists.refresh(this.location[row]!, row);
  }

  /** Another ageing time (ms, 0 = never). Where entries did not age before, they start to now. */
  setAgeing(ageing: number, now: number): void {
    if (this.ageing === 0 && ageing !== 0) this.stamp.fill(now);
    this.ageing = ageing;
  }

  /** Adds or replaces an entry that learning cannot touch (B7). @throws RangeError when MAX_STATIC is reached. */
  setStatic(hi: number, lo: number, location: number, kind: FdbKind.STATIC | FdbKind.LOCAL): void {
    const old = this.find(hi, lo);
    if (old >= 0) this.delete(old);
    if (this.insert(hi, lo, location, kind, 0) < 0) throw new RangeError('too many static FDB entries');
  }

  /** Removes a location's static entry; the learned one it replaced does not come back (B9). */
  removeStatic(hi: number, lo: number, location: number): void {
    const row = this.find(hi, lo);
    if (row >= 0 && this.kind[row] !== FdbKind.LEARNED && this.location[row] === location) this.delete(row);
  }

  /** Forgets every entry of a location that went away (B13), static ones included. */
  flush(location: number): void {
    for (let row = 0; row < this.rows.extent; row++) if (this.location[row] === location) this.delete(row);
  }

  /** Removes expired entries among the next `budget` rows (B5: gone within 10 s). */
  sweep(now: number, budget: number): void {
    const extent = this.rows.extent;
    for (let i = Math.min(budget, extent); i > 0; i--) {
      if (this.cursor >= extent) this.cursor = 0;
      const row = this.cursor++;
      if (this.location[row]! >= 0 && this.isExpired(row, now)) this.delete(row);
    }
  }

  get extent(): number {
    return this.rows.extent;
  }

  /** Learned entries of a location. */
  count(location: number): number {
    return this.lists.length[location]!;
  }

  /** Live entries; cold. */
  *entries(now: number): Generator<FdbEntry> {
    for (let row = 0; row < this.rows.extent; row++) {
      if (this.location[row]! < 0 || this.isExpired(row, now)) continue;
      yield {
        hi: this.hi[row]!,
        lo: this.lo[row]!,
        location: this.location[row]!,
        kind: this.kind[row]!,
        age: (now - this.stamp[row]!) | 0,
        moves: this.moves[row]!,
      };
    }
  }

  /** A table of another size with the same live entries: changing a limit is not a flush. */
  resized(maxEntries: number, ageing: number, now: number): Fdb {
    const next = new Fdb(maxEntries, ageing, this.seed, this.epochs, this.network);
    for (let row = 0; row < this.rows.extent; row++) {
      const location = this.location[row]!;
      if (location < 0 || this.kind[row] === FdbKind.LEARNED) continue;
      next.setStatic(this.hi[row]!, this.lo[row]!, location, this.kind[row] as FdbKind.STATIC);
    }
    for (let location = 0; location < LOCATIONS; location++) {
      for (let row = this.lists.head[location]!; row >= 0; row = this.lists.after(row)) {
        if (this.isExpired(row, now)) continue;
        next.learn(this.hi[row]!, this.lo[row]!, location, this.stamp[row]!);
      }
    }
    return next;
  }

  isExpired(row: number, now: number): boolean {
    return (
      this.kind[row] === FdbKind.LEARNED && this.ageing !== 0 && ((now - this.stamp[row]!) | 0) >= this.ageing
    );
  }

  /** @returns the row of a MAC, expired or not, or −1. Good until the network's epoch changes. */
  find(hi: number, lo: number): number {
    const hash = this.hasher.of2(hi, lo);
    const { entries, mask } = this.index;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]! - 1;
      if (row < 0) return -1;
      if (entries[at + 1] === hash && this.lo[row] === lo && this.hi[row] === hi) return row;
    }
  }

  private insert(hi: number, lo: number, location: number, kind: FdbKind, now: number): number {
    const row = this.rows.take();
    if (row < 0) return -1;
    this.hi[row] = hi;
    this.lo[row] = lo;
    this.location[row] = location;
    this.stamp[row] = now;
    this.kind[row] = kind;
    this.moves[row] = 0;
    this.index.insert(this.hasher.of2(hi, lo), row);
    return row;
  }

  private delete(row: number): void {
    if (this.kind[row] === FdbKind.LEARNED) {
      this.learned--;
      this.lists.remove(this.location[row]!, row);
    }
    this.index.remove(this.hasher.of2(this.hi[row]!, this.lo[row]!), row);
    this.location[row] = -1;
    this.rows.give(row);
    this.epochs.bump(this.network);
  }

  /** B10: the oldest entry of the location that owns most; ties go to the ingress, so nobody loses its last. */
  private evictFor(ingress: number, now: number): boolean {
    const { length, head } = this.lists;
    let owner = ingress;
    // Who owns more than half owns most: a flood from one place needs no search.
    const isMajority = length[ingress]! * 2 > this.learned;
    for (let location = 0; location < LOCATIONS && !isMajority; location++) {
      const oldest = head[location]!;
      if (oldest >= 0 && this.isExpired(oldest, now)) {
        this.delete(oldest); // absent already (B5), only not swept yet
        return true;
      }
      if (length[location]! > length[owner]!) owner = location;
    }
    if (length[owner] === 0 || (owner !== ingress && length[owner]! < 2)) return false;
    this.delete(head[owner]!);
    this.evictions++;
    return true;
  }
}
