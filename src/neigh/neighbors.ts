import type { Packets } from '../packet/packets.ts';
import { Hasher } from '../table/hash.ts';
import { HashIndex } from '../table/hash-index.ts';
import { Lists } from '../table/lists.ts';
import { RowPool } from '../table/row-pool.ts';

/** Authority of a binding, weakest first (A10). The gateway's own addresses are not in the table. */
export const enum NeighborSource {
  LEARNED = 0,
  PEER = 1,
  PORT = 2,
}

export const enum NeighborState {
  /** MAC unknown, requests under way, packets may wait. */
  INCOMPLETE = 0,
  REACHABLE = 1,
  /** MAC known and used while it is verified again (A13). */
  PROBING = 2,
  PERMANENT = 3,
}

/** A13. */
const QUEUE_PER_ADDRESS = 64;
const QUEUE_TOTAL = 256;
const MAX_LEARNED = 8192;
const MAX_PERMANENT = 8192;

const enum List {
  /** INCOMPLETE and PROBING, by time of the last request. */
  ASKING = 0,
  /** Learned and reachable, least recently confirmed first. */
  LEARNED = 1,
}

/**
 * Neighbours: (network, IP) → MAC, for all networks.
 *
 *   row    key (network, 4 address words) · MAC (hi, lo) · source · state · stamp (ms of the last confirmation,
 *          or of the last request while asking) · tries · queue of waiting slots (head, tail, length)
 *
 * States:  absent → INCOMPLETE → REACHABLE ⇄ PROBING → absent;  PERMANENT for configured bindings.
 * A weaker source never changes a stronger binding (A10). Limits: MAX_LEARNED bindings from the wire, the
 * least recently confirmed one goes first; 64 packets wait per address and 256 in all.
 */
export class Neighbors {
  private readonly hasher: Hasher;
  private readonly index = new HashIndex(MAX_LEARNED + MAX_PERMANENT);
  private readonly rows = new RowPool(MAX_LEARNED + MAX_PERMANENT);
  private readonly lists = new Lists(2, MAX_LEARNED + MAX_PERMANENT);
  private readonly keys = new Int32Array((MAX_LEARNED + MAX_PERMANENT) * 5);
  readonly hi = new Int32Array(MAX_LEARNED + MAX_PERMANENT);
  readonly lo = new Int32Array(MAX_LEARNED + MAX_PERMANENT);
  readonly source = new Uint8Array(MAX_LEARNED + MAX_PERMANENT);
  readonly state = new Uint8Array(MAX_LEARNED + MAX_PERMANENT);
  readonly stamp = new Int32Array(MAX_LEARNED + MAX_PERMANENT);
  readonly tries = new Uint8Array(MAX_LEARNED + MAX_PERMANENT);
  private readonly queueHead = new Int32Array(MAX_LEARNED + MAX_PERMANENT).fill(-1);
  private readonly queueTail = new Int32Array(MAX_LEARNED + MAX_PERMANENT);
  private readonly queueLength = new Int32Array(MAX_LEARNED + MAX_PERMANENT);
  private waiting = 0;
  private wire = 0;
  /** Attempts of a weaker source to change a stronger binding. */
  conflicts = 0;

  constructor(
    private readonly packets: Packets,
    seed: number,
  ) {
    this.hasher = new Hasher(seed);
  }

  network(row: number): number {
    return this.keys[row * 5]!;
  }

  /** Word 0–3 of a row's address. */
  address(row: number, word: number): number {
    return this.keys[row * 5 + 1 + word]!;
  }

  find4(network: number, address: number): number {
    return this.find(network, 0, 0, 0xffff, address);
  }

  find(network: number, w0: number, w1: number, w2: number, w3: number): number {
    const { keys } = this;
    const hash = this.hash(network, w0, w1, w2, w3);
    const { slots, hashes, mask } = this.index;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const row = slots[at]! - 1;
      if (row < 0) return -1;
      const key = row * 5;
      if (
        hashes[at] === hash &&
        keys[key] === network &&
        keys[key + 4] === w3 &&
        keys[key + 3] === w2 &&
        keys[key + 2] === w1 &&
        keys[key + 1] === w0
      ) {
        return row;
      }
    }
  }

  /** A binding seen on the wire (A11). @returns the row when packets wait there for its MAC, else −1. */
  learn4(network: number, address: number, hi: number, lo: number, now: number, mayCreate: boolean): number {
    let row = this.find4(network, address);
    if (row < 0) {
      if (!mayCreate) return -1;
      row = this.create(network, 0, 0, 0xffff, address, NeighborSource.LEARNED);
      if (row < 0) return -1;
    } else if (this.source[row] !== NeighborSource.LEARNED) {
      if (this.hi[row] !== hi || this.lo[row] !== lo) this.conflicts++;
      return -1;
    } else {
      this.lists.remove(this.listOf(row), row);
    }
    this.hi[row] = hi;
    this.lo[row] = lo;
    this.stamp[row] = now;
    this.tries[row] = 0;
    this.state[row] = NeighborState.REACHABLE;
    this.lists.append(List.LEARNED, row);
    return this.queueHead[row]! >= 0 ? row : -1;
  }

  /** A configured binding; it replaces anything weaker. Waiting packets are returned through the row, if any. */
  setPermanent(
    network: number,
    words: readonly number[],
    hi: number,
    lo: number,
    source: NeighborSource,
  ): number {
    let row = this.find(network, words[0]!, words[1]!, words[2]!, words[3]!);
    if (row >= 0 && this.source[row]! > source) return -1;
    if (row >= 0 && this.state[row] !== NeighborState.PERMANENT) {
      this.lists.remove(this.listOf(row), row);
      this.wire--;
    }
    if (row < 0) row = this.insert(network, words[0]!, words[1]!, words[2]!, words[3]!);
    if (row < 0) throw new RangeError('too many configured neighbours');
    this.hi[row] = hi;
    this.lo[row] = lo;
    this.source[row] = source;
    this.state[row] = NeighborState.PERMANENT;
    return this.queueHead[row]! >= 0 ? row : -1;
  }

  removePermanent(
    network: number,
    words: readonly number[],
    hi: number,
    lo: number,
    source: NeighborSource,
  ): void {
    const row = this.find(network, words[0]!, words[1]!, words[2]!, words[3]!);
    if (row < 0 || this.hi[row] !== hi || this.lo[row] !== lo) return;
    if (this.state[row] === NeighborState.PERMANENT && this.source[row] === source) this.erase(row);
  }

  /** A row that is about to be asked for the first time, or −1 when every row is permanent or asking. */
  startAsking(network: number, address: number, now: number): number {
    const row = this.create(network, 0, 0, 0xffff, address, NeighborSource.LEARNED);
    if (row < 0) return -1;
    this.state[row] = NeighborState.INCOMPLETE;
    this.stamp[row] = now;
    this.tries[row] = 1;
    this.lists.append(List.ASKING, row);
    return row;
  }

  /** A reachable row whose MAC is verified again while it stays in use. */
  startProbing(row: number, now: number): void {
    this.lists.remove(List.LEARNED, row);
    this.state[row] = NeighborState.PROBING;
    this.stamp[row] = now;
    this.tries[row] = 1;
    this.lists.append(List.ASKING, row);
  }

  /** The asking row whose last request is oldest, or −1. */
  oldestAsking(): number {
    return this.lists.head[List.ASKING]!;
  }

  askedAgain(row: number, now: number): void {
    this.stamp[row] = now;
    this.tries[row]!++;
    this.lists.refresh(List.ASKING, row);
  }

  /**
   * Lets a packet wait for a row's MAC. @returns a slot that had to leave the queue for it (the oldest, or the
   * packet itself when the total is reached), or −1.
   */
  hold(row: number, slot: number): number {
    let evicted = -1;
    if (this.queueLength[row]! >= QUEUE_PER_ADDRESS) evicted = this.takeHeld(row);
    else if (this.waiting >= QUEUE_TOTAL) return slot;
    this.packets.link[slot] = -1;
    if (this.queueHead[row]! < 0) this.queueHead[row] = slot;
    else this.packets.link[this.queueTail[row]!] = slot;
    this.queueTail[row] = slot;
    this.queueLength[row]!++;
    this.waiting++;
    return evicted;
  }

  /** Packets waiting at a row. */
  heldAt(row: number): number {
    return this.queueLength[row]!;
  }

  /** Next waiting packet of a row in order, or −1. */
  takeHeld(row: number): number {
    const slot = this.queueHead[row]!;
    if (slot < 0) return -1;
    this.queueHead[row] = this.packets.link[slot]!;
    this.queueLength[row]!--;
    this.waiting--;
    return slot;
  }

  /** Forgets a row; its queue must be empty. */
  erase(row: number): void {
    if (this.state[row] !== NeighborState.PERMANENT) {
      this.lists.remove(this.listOf(row), row);
      this.wire--;
    }
    const key = row * 5;
    const { keys } = this;
    this.index.remove(
      this.hash(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, keys[key + 4]!),
      row,
    );
    keys[key] = -1;
    this.rows.give(row);
  }

  get extent(): number {
    return this.rows.extent;
  }

  isUsed(row: number): boolean {
    return this.keys[row * 5]! >= 0;
  }

  private listOf(row: number): List {
    return this.state[row] === NeighborState.REACHABLE ? List.LEARNED : List.ASKING;
  }

  private create(
    network: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    source: NeighborSource,
  ): number {
    if (this.wire >= MAX_LEARNED) {
      const oldest = this.lists.head[List.LEARNED]!;
      if (oldest < 0) return -1;
      this.erase(oldest);
    }
    const row = this.insert(network, w0, w1, w2, w3);
    if (row < 0) return -1;
    this.wire++;
    this.source[row] = source;
    return row;
  }

  private insert(network: number, w0: number, w1: number, w2: number, w3: number): number {
    const row = this.rows.take();
    if (row < 0) return -1;
    const key = row * 5;
    this.keys[key] = network;
    this.keys[key + 1] = w0;
    this.keys[key + 2] = w1;
    this.keys[key + 3] = w2;
    this.keys[key + 4] = w3;
    this.queueHead[row] = -1;
    this.queueLength[row] = 0;
    this.index.insert(this.hash(network, w0, w1, w2, w3), row);
    return row;
  }

  private hash(network: number, w0: number, w1: number, w2: number, w3: number): number {
    return this.hasher.of5(network, w0, w1, w2, w3);
  }
}
