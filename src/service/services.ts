import type { ServiceConfig } from '../dataplane/config.ts';
import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { int32, uint8 } from '../table/memory.ts';
import { Segments } from '../table/segments.ts';
import {
  ADDRESS_WORDS,
  BACKEND_WORDS,
  clusterAt,
  Field,
  mainFrontendAt,
  NONE_SERVES,
  othersAt,
  RecordWriter,
  recordEnd,
} from './record.ts';
import { VipSet } from './vip-set.ts';

const FIRST_CAPACITY = 1024;
const KEY_WORDS = 5;
/** Ids moved between two turns while the table grows: about 100 µs. */
const IDS_PER_STEP = 1024;

/** Whether an id is in use, and whether its address still is its own. */
const enum State {
  FREE = 0,
  LINKED = 1,
  /** Another service port took its address within the same transaction. */
  DISPLACED = 2,
}

/**
 * Service ports: (VIP, protocol, port) → service id, and per service its backends and round-robin index.
 * The cost of a lookup does not grow with the number of services or backends (S25).
 *
 *   id    key (VIP 0–3, protocol << 16 | port) · affinity (ms) · next (round robin) · generation
 *         size: backends · run: where in `segments` its backends, other serving addresses and name lie (`record.ts`)
 *
 * `generation` counts how often an id was removed, so that a flow can tell whether its service is still the one it
 * was made for. Nothing here is an object per service: a hundred thousand of them leave no work for a collector.
 */
export class Services {
  count = 0;
  capacity = FIRST_CAPACITY;
  affinity = int32(FIRST_CAPACITY);
  next = int32(FIRST_CAPACITY);
  generation = int32(FIRST_CAPACITY);
  /** Number of backends. */
  size = int32(FIRST_CAPACITY);
  private state = uint8(FIRST_CAPACITY);
  private keys = int32(FIRST_CAPACITY * KEY_WORDS);
  private run = int32(FIRST_CAPACITY);
  private others = int32(FIRST_CAPACITY);
  private nameBytes = int32(FIRST_CAPACITY);
  private index = new HashIndex(FIRST_CAPACITY);
  /** Every IPv4 VIP in use; to know an undefined port from a foreign address (S15). */
  private vips = new VipSet(FIRST_CAPACITY);
  private readonly segments = new Segments();
  private readonly hasher: Hasher;

  constructor(seed: number) {
    this.hasher = new Hasher(seed);
  }

  /** One service port, whole. */
  set(config: ServiceConfig): void {
    const writer = new RecordWriter();
    writer.add(config);
    const { records, ids } = writer.finish();
    for (const _ of this.grow(ids)) {
    }
    this.put(records, 0);
  }

  /**
   * Sets the service port of the record at `at`; its id is below `capacity`. From one packet to the next it is
   * another. An address that another id has is taken over.
   * @returns where the next record begins
   */
  put(records: Int32Array, at: number): number {
    const id = records[at + Field.ID]!;
    const key = id * KEY_WORDS;
    const { keys } = this;
    if (this.state[id] === State.FREE) this.count++;
    else this.release(id);
    if (this.state[id] === State.LINKED) this.unlink(id);
    const vip = mainFrontendAt(records, at);
    const protocol = records[at + Field.PORT]! >>> 16;
    const port = records[vip + 4]! & 0xffff;
    const owner = this.find(
      records[vip]!,
      records[vip + 1]!,
      records[vip + 2]!,
      records[vip + 3]!,
      protocol,
      port,
    );
    if (owner >= 0) {
      this.unlink(owner);
      this.state[owner] = State.DISPLACED;
    }
    for (let i = 0; i < ADDRESS_WORDS; i++) keys[key + i] = records[vip + i]!;
    keys[key + 4] = (protocol << 16) | port;
    this.index.insert(this.hashOf(id), id);
    if (this.isV4(id)) this.vips.add(keys[key + 3]!);
    this.state[id] = State.LINKED;

    const size = records[at + Field.CLUSTER]!;
    this.affinity[id] = records[at + Field.AFFINITY]!;
    this.size[id] = size;
    this.others[id] = records[at + Field.OTHERS]!;
    this.nameBytes[id] = records[at + Field.NAME_BYTES]!;
    // S24: the index survives a change of backends, modulo their number.
    this.next[id] = size === 0 ? 0 : this.next[id]! % size;
    const end = recordEnd(records, at);
    const cluster = clusterAt(records, at);
    const rest = othersAt(records, at);
    const length = size * BACKEND_WORDS + (end - rest);
    if (length > 0) {
      const run = this.segments.take(length);
      const words = this.segments.words(run);
      let to = this.segments.offset(run);
      for (let i = 0; i < size * BACKEND_WORDS; i++) {
        const word = records[cluster + i]!;
        words[to++] = i % BACKEND_WORDS === 4 ? word & 0xffff : word; // a port without its weight
      }
      for (let i = rest; i < end; i++) words[to++] = records[i]!;
      this.run[id] = run;
    }
    return end;
  }

  remove(id: number): void {
    if (!this.has(id)) return;
    if (this.state[id] === State.LINKED) this.unlink(id);
    this.release(id);
    this.state[id] = State.FREE;
    this.size[id] = 0;
    this.others[id] = NONE_SERVES;
    this.nameBytes[id] = 0;
    this.next[id] = 0;
    this.generation[id]!++;
    this.count--;
  }

  has(id: number): boolean {
    return id < this.capacity && this.state[id] !== State.FREE;
  }

  /** @returns a service id, or −1. */
  find(w0: number, w1: number, w2: number, w3: number, protocol: number, port: number): number {
    const { keys } = this;
    const last = (protocol << 16) | port;
    const hash = this.hasher.of5(w0, w1, w2, w3, last);
    const { entries, mask } = this.index;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const id = entries[at]! - 1;
      if (id < 0) return -1;
      const key = id * KEY_WORDS;
      if (
        entries[at + 1] === hash &&
        keys[key + 3] === w3 &&
        keys[key + 4] === last &&
        keys[key + 2] === w2 &&
        keys[key + 1] === w1 &&
        keys[key] === w0
      ) {
        return id;
      }
    }
  }

  isVip4(address: number): boolean {
    return this.vips.has(address);
  }

  /** Word of a service port's key: VIP 0–3, then protocol << 16 | port. */
  key(id: number, word: number): number {
    return this.keys[id * KEY_WORDS + word]!;
  }

  /** The words its backends lie in, the first at `first(id)`. */
  backends(id: number): Int32Array {
    return this.segments.words(this.run[id]!);
  }

  first(id: number): number {
    return this.segments.offset(this.run[id]!);
  }

  /** "namespace/name:port"; for listings. */
  name(id: number): string {
    const length = this.nameBytes[id]!;
    if (length === 0) return '';
    const at = this.first(id) + this.size[id]! * BACKEND_WORDS + this.otherCount(id) * ADDRESS_WORDS;
    return new TextDecoder().decode(new Uint8Array(this.backends(id).buffer, at * 4, length));
  }

  /**
   * May a UDP flow to this endpoint stay? Yes to a backend, and to an address that still serves and has no other port
   * now (S31, S33). A service without any serving endpoint keeps its flows (S32).
   */
  serves(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    if (this.others[id] === NONE_SERVES || this.hasBackend(id, w0, w1, w2, w3, port)) return true;
    const words = this.backends(id);
    let at = this.first(id);
    for (let i = this.size[id]!; i > 0; i--, at += BACKEND_WORDS) {
      if (isAddress(words, at, w0, w1, w2, w3)) return false;
    }
    for (let i = this.otherCount(id); i > 0; i--, at += ADDRESS_WORDS) {
      if (isAddress(words, at, w0, w1, w2, w3)) return true;
    }
    return false;
  }

  /** Does the service have this backend? */
  hasBackend(id: number, w0: number, w1: number, w2: number, w3: number, port: number): boolean {
    if (this.size[id] === 0) return false;
    const words = this.backends(id);
    let at = this.first(id);
    for (let i = this.size[id]!; i > 0; i--, at += BACKEND_WORDS) {
      if (words[at + 4] === port && isAddress(words, at, w0, w1, w2, w3)) return true;
    }
    return false;
  }

  /**
   * Makes room for ids below `needed`, a step per `next()`; packets may pass between steps, changes may not.
   * Everything keeps its place. What is in use stays in use until the last step, which swaps.
   */
  *grow(needed: number): Generator<void> {
    let capacity = this.capacity;
    while (capacity < needed) capacity *= 2;
    if (capacity === this.capacity) return;
    const index = new HashIndex(capacity);
    const vips = new VipSet(capacity);
    const next = int32(capacity);
    const state = uint8(capacity);
    const wide = (words: number) => int32(capacity * words);
    const columns = {
      keys: wide(KEY_WORDS),
      affinity: wide(1),
      generation: wide(1),
      size: wide(1),
      run: wide(1),
      others: wide(1),
      nameBytes: wide(1),
    };
    for (let id = 0; id < this.capacity; id++) {
      if (id % IDS_PER_STEP === 0) yield;
      for (let i = 0; i < KEY_WORDS; i++) columns.keys[id * KEY_WORDS + i] = this.keys[id * KEY_WORDS + i]!;
      columns.affinity[id] = this.affinity[id]!;
      columns.generation[id] = this.generation[id]!;
      columns.size[id] = this.size[id]!;
      columns.run[id] = this.run[id]!;
      columns.others[id] = this.others[id]!;
      columns.nameBytes[id] = this.nameBytes[id]!;
      state[id] = this.state[id]!;
      if (state[id] !== State.LINKED) continue;
      index.insert(this.hashOf(id), id);
      if (this.isV4(id)) vips.add(this.keys[id * KEY_WORDS + 3]!);
    }
    yield;
    next.set(this.next); // last: packets move it
    Object.assign(this, columns, { index, vips, next, state, capacity });
  }

  /** Gives back what belongs to the old state of an id. */
  private release(id: number): void {
    const length =
      this.size[id]! * BACKEND_WORDS + this.otherCount(id) * ADDRESS_WORDS + ((this.nameBytes[id]! + 3) >> 2);
    if (length > 0) this.segments.give(this.run[id]!, length);
  }

  private unlink(id: number): void {
    this.index.remove(this.hashOf(id), id);
    if (this.isV4(id)) this.vips.remove(this.keys[id * KEY_WORDS + 3]!);
  }

  private otherCount(id: number): number {
    return Math.max(0, this.others[id]!);
  }

  private isV4(id: number): boolean {
    const key = id * KEY_WORDS;
    return this.keys[key + 2] === 0xffff && this.keys[key] === 0 && this.keys[key + 1] === 0;
  }

  private hashOf(id: number): number {
    const key = id * KEY_WORDS;
    const { keys } = this;
    return this.hasher.of5(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, keys[key + 4]!);
  }
}

const isAddress = (words: Int32Array, at: number, w0: number, w1: number, w2: number, w3: number): boolean =>
  words[at + 3] === w3 && words[at + 2] === w2 && words[at + 1] === w1 && words[at] === w0;
