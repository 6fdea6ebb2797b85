import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { int32, uint8 } from '../table/memory.ts';
import { AddressSet } from './address-set.ts';
import { FrontendKind } from './record.ts';

const FIRST_CAPACITY = 1024;
const KEY_WORDS = 5;
/** Rows moved between two turns while the table grows: about 100 µs. */
const ROWS_PER_STEP = 1024;
/** `owner` of a row whose address another service port has taken. */
const DISPLACED = -1;

/**
 * Where clients find services: (address, protocol, port) → service id, any number of rows per service.
 *
 *   row   key (address 0–3, protocol << 16 | port) · owner: service id · kind: FrontendKind
 *         after: the next row of the same service, or of the free ones; −1 = the last
 */
export class Frontends {
  capacity = FIRST_CAPACITY;
  owner = int32(FIRST_CAPACITY);
  kind = uint8(FIRST_CAPACITY);
  private keys = int32(FIRST_CAPACITY * KEY_WORDS);
  private after = int32(FIRST_CAPACITY);
  private index = new HashIndex(FIRST_CAPACITY);
  /** Every address with a row, to know an undefined port from a foreign address (S15). */
  private addresses: AddressSet;
  private readonly hasher: Hasher;
  private free = -1;
  /** One past the highest row ever used; and rows in use. */
  private extent = 0;
  private used = 0;

  constructor(private readonly seed: number) {
    this.hasher = new Hasher(seed);
    this.addresses = new AddressSet(FIRST_CAPACITY, seed);
  }

  /** @returns a row, or −1. */
  find(w0: number, w1: number, w2: number, w3: number, protocol: number, port: number): number {
    const { keys } = this;
    const last = (protocol << 16) | port;
    const hash = this.hasher.of5(w0, w1, w2, w3, last);
    const { entries, mask } = this.index;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]! - 1;
      if (row < 0) return -1;
      const key = row * KEY_WORDS;
      if (
        entries[at + 1] === hash &&
        keys[key + 3] === w3 &&
        keys[key + 4] === last &&
        keys[key + 2] === w2 &&
        keys[key + 1] === w1 &&
        keys[key] === w0
      ) {
        return row;
      }
    }
  }

  /** Does any service have the address? */
  has(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.addresses.has(w0, w1, w2, w3);
  }

  hasClusterIP(w0: number, w1: number, w2: number, w3: number): boolean {
    return this.addresses.hasClusterIP(w0, w1, w2, w3);
  }

  /**
   * The frontend in the words at `at`, which another service may have had, becomes the first of a chain. There must be
   * room, see `grow`.
   * @param chain rows of the service so far, −1 = none
   * @returns the chain with it; without it when the service has it already
   */
  add(words: Int32Array, at: number, protocol: number, service: number, chain: number): number {
    const last = words[at + 4]!;
    const known = this.find(
      words[at]!,
      words[at + 1]!,
      words[at + 2]!,
      words[at + 3]!,
      protocol,
      last & 0xffff,
    );
    if (known >= 0) {
      if (this.owner[known] === service) return chain;
      this.unlink(known);
      this.owner[known] = DISPLACED;
    }
    const row = this.take();
    const { keys } = this;
    const key = row * KEY_WORDS;
    for (let i = 0; i < 4; i++) keys[key + i] = words[at + i]!;
    keys[key + 4] = (protocol << 16) | (last & 0xffff);
    this.owner[row] = service;
    this.kind[row] = last >>> 16;
    this.after[row] = chain;
    this.link(row, this.index, this.addresses);
    return row;
  }

  /** Gives back a chain. */
  remove(chain: number): void {
    for (let row = chain; row >= 0; ) {
      const next = this.after[row]!;
      if (this.owner[row] !== DISPLACED) this.unlink(row);
      this.owner[row] = DISPLACED;
      this.after[row] = this.free;
      this.free = row;
      this.used--;
      row = next;
    }
  }

  /** Makes room for `more` rows, a step per `next()`; packets may pass between steps, changes may not. */
  *grow(more: number): Generator<void> {
    let capacity = this.capacity;
    while (capacity < this.used + more) capacity *= 2;
    if (capacity === this.capacity) return;
    const index = new HashIndex(capacity);
    const addresses = new AddressSet(capacity, this.seed);
    const owner = int32(capacity);
    const kind = uint8(capacity);
    const keys = int32(capacity * KEY_WORDS);
    const after = int32(capacity);
    for (let row = 0; row < this.extent; row++) {
      if (row % ROWS_PER_STEP === 0) yield;
      for (let i = row * KEY_WORDS; i < (row + 1) * KEY_WORDS; i++) keys[i] = this.keys[i]!;
      owner[row] = this.owner[row]!;
      kind[row] = this.kind[row]!;
      after[row] = this.after[row]!;
      if (owner[row] !== DISPLACED) this.link(row, index, addresses);
    }
    yield;
    Object.assign(this, { capacity, owner, kind, keys, after, index, addresses });
  }

  private take(): number {
    this.used++;
    const row = this.free;
    if (row < 0) return this.extent++;
    this.free = this.after[row]!;
    return row;
  }

  private link(row: number, index: HashIndex, addresses: AddressSet): void {
    const { keys } = this;
    const key = row * KEY_WORDS;
    index.insert(this.hashOf(row), row);
    const isClusterIP = this.kind[row] === FrontendKind.CLUSTER_IP;
    addresses.add(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, isClusterIP);
  }

  private unlink(row: number): void {
    const { keys } = this;
    const key = row * KEY_WORDS;
    this.index.remove(this.hashOf(row), row);
    const isClusterIP = this.kind[row] === FrontendKind.CLUSTER_IP;
    this.addresses.remove(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, isClusterIP);
  }

  private hashOf(row: number): number {
    const { keys } = this;
    const key = row * KEY_WORDS;
    return this.hasher.of5(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, keys[key + 4]!);
  }
}
