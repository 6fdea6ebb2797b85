import { Word } from '../conntrack/tuple.ts';
import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { Lists } from '../table/lists.ts';
import { RowPool } from '../table/row-pool.ts';
import { BACKEND_WORDS } from './record.ts';

/** Words of a key: network, service id, client address 0–3. */
const KEY_WORDS = 6;
/** S26: the largest timeoutSeconds. */
const MAX_TIMEOUT_MS = 86_400_000;

/**
 * ClientIP session affinity: (client, service port) → endpoint (S26–S28), whichever frontend was used.
 *
 *   row   key · backend (address 0–3, port) · index: where in its set it was · stamp (ms of the last refresh) · hits
 *
 * A row is refreshed by each new flow, unless its service says `absolute`; never by packets. Limits: `capacity` rows;
 * the one with the oldest stamp goes first, so new clients are never refused.
 */
export class Affinities {
  private readonly hasher: Hasher;
  private readonly table: HashIndex;
  private readonly rows: RowPool;
  private readonly lists: Lists;
  private readonly keys: Int32Array;
  readonly backend: Int32Array;
  readonly index: Int32Array;
  readonly stamp: Int32Array;
  readonly hits: Int32Array;

  constructor(
    readonly capacity: number,
    seed: number,
  ) {
    this.hasher = new Hasher(seed);
    this.table = new HashIndex(capacity);
    this.rows = new RowPool(capacity);
    this.lists = new Lists(1, capacity);
    this.keys = new Int32Array(capacity * KEY_WORDS);
    this.backend = new Int32Array(capacity * BACKEND_WORDS);
    this.index = new Int32Array(capacity);
    this.stamp = new Int32Array(capacity);
    this.hits = new Int32Array(capacity);
  }

  get count(): number {
    return this.lists.length[0]!;
  }

  find(network: number, service: number, w0: number, w1: number, w2: number, w3: number): number {
    const { keys } = this;
    const hash = this.hash(network, service, w0, w1, w2, w3);
    const { entries, mask } = this.table;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]! - 1;
      if (row < 0) return -1;
      const key = row * KEY_WORDS;
      if (
        entries[at + 1] === hash &&
        keys[key] === network &&
        keys[key + 1] === service &&
        keys[key + 5] === w3 &&
        keys[key + 4] === w2 &&
        keys[key + 3] === w1 &&
        keys[key + 2] === w0
      ) {
        return row;
      }
    }
  }

  /** The row of the client who sends a packet of `tuple`, or −1. */
  of(tuple: Int32Array, service: number): number {
    const high = Word.SOURCE_HIGH;
    return this.find(
      tuple[Word.SCOPE]! >>> 8,
      service,
      tuple[high]!,
      tuple[high + 1]!,
      tuple[high + 2]!,
      tuple[Word.SOURCE]!,
    );
  }

  /** A new flow went where the client's row says, which ends as if it had not. */
  repeat(tuple: Int32Array, service: number): void {
    const row = this.of(tuple, service);
    if (row >= 0) this.hits[row]!++;
  }

  /**
   * Remembers or refreshes the choice for the client who sends a packet of `tuple`: the endpoint at `endpoint` of
   * `words`, `index` in its set.
   */
  remember(
    tuple: Int32Array,
    service: number,
    words: Int32Array,
    endpoint: number,
    index: number,
    now: number,
  ): void {
    const network = tuple[Word.SCOPE]! >>> 8;
    const w0 = tuple[Word.SOURCE_HIGH]!;
    const w1 = tuple[Word.SOURCE_HIGH + 1]!;
    const w2 = tuple[Word.SOURCE_HIGH + 2]!;
    const w3 = tuple[Word.SOURCE]!;
    let row = this.find(network, service, w0, w1, w2, w3);
    if (row < 0) {
      row = this.rows.take();
      if (row < 0) {
        this.remove(this.lists.head[0]!);
        row = this.rows.take();
      }
      const key = row * KEY_WORDS;
      this.keys[key] = network;
      this.keys[key + 1] = service;
      this.keys[key + 2] = w0;
      this.keys[key + 3] = w1;
      this.keys[key + 4] = w2;
      this.keys[key + 5] = w3;
      this.hits[row] = 0;
      this.table.insert(this.hash(network, service, w0, w1, w2, w3), row);
      this.lists.append(0, row);
    } else {
      this.lists.refresh(0, row);
    }
    const backend = row * BACKEND_WORDS;
    for (let i = 0; i < 4; i++) this.backend[backend + i] = words[endpoint + i]!;
    this.backend[backend + 4] = words[endpoint + 4]! & 0xffff;
    this.index[row] = index;
    this.stamp[row] = now;
    this.hits[row]!++;
  }

  remove(row: number): void {
    const key = row * KEY_WORDS;
    const { keys } = this;
    const hash = this.hash(
      keys[key]!,
      keys[key + 1]!,
      keys[key + 2]!,
      keys[key + 3]!,
      keys[key + 4]!,
      keys[key + 5]!,
    );
    this.table.remove(hash, row);
    this.lists.remove(0, row);
    keys[key + 1] = -1;
    this.rows.give(row);
  }

  /** Forgets rows that are not kept, from one row to before another; cold. */
  forget(isKept: (row: number) => boolean, from = 0, to = this.rows.extent): void {
    const end = Math.min(to, this.rows.extent);
    for (let row = from; row < end; row++) if (this.isUsed(row) && !isKept(row)) this.remove(row);
  }

  /** Removes rows older than any timeout can be, oldest first; so a stamp never wraps. */
  sweep(now: number, budget: number): void {
    for (let i = 0; i < budget; i++) {
      const oldest = this.lists.head[0]!;
      if (oldest < 0 || ((now - this.stamp[oldest]!) | 0) <= MAX_TIMEOUT_MS) return;
      this.remove(oldest);
    }
  }

  get extent(): number {
    return this.rows.extent;
  }

  /** Network, service, client words 0–3 of a row. */
  key(row: number, word: number): number {
    return this.keys[row * KEY_WORDS + word]!;
  }

  isUsed(row: number): boolean {
    return this.keys[row * KEY_WORDS + 1] !== -1;
  }

  private hash(network: number, service: number, w0: number, w1: number, w2: number, w3: number): number {
    return this.hasher.of6(network, service, w0, w1, w2, w3);
  }
}
