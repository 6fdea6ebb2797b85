import { NETWORKS } from '../fabric/networks.ts';
import type { Packets } from '../packet/packets.ts';
import { Epochs } from '../table/epochs.ts';
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

/** A13; and no source holds more than a quarter of all waiting places. */
const QUEUE_PER_ADDRESS = 64;
const QUEUE_PER_SOURCE = 64;
const QUEUE_TOTAL = 256;
const MAX_LEARNED = 8192;
const MAX_INCOMPLETE = 1024;
/** Addresses one network may be asking for at once: a scan of a subnet starves only itself. */
const MAX_INCOMPLETE_PER_NETWORK = 256;
const MAX_PERMANENT = 8192;
const ROWS = MAX_LEARNED + MAX_INCOMPLETE + MAX_PERMANENT;

/**
 * Neighbours: (network, IP) → MAC, for all networks.
 *
 *   row    key (network, 4 address words) · MAC (hi, lo) · source · state · stamp (ms of the last confirmation,
 *          or of the last request while asking) · tries · queue of waiting slots (head, tail, length)
 *
 * States:  absent → INCOMPLETE → REACHABLE ⇄ PROBING → absent;  PERMANENT for configured bindings.
 * A weaker source never changes a stronger binding (A10).
 *
 *   asking    INCOMPLETE and PROBING rows, by time of the last request
 *   learned   [network] REACHABLE and PROBING rows, least recently confirmed first
 *   opened    [network] INCOMPLETE rows, oldest first
 *
 * Limits: MAX_LEARNED bindings from the wire; the network that owns most gives up its least recently confirmed one,
 * as B10 does with MACs. MAX_INCOMPLETE questions; the oldest of the network that asks most is given up. Asking never
 * costs a known binding. 64 packets wait per address and per source, 256 in all.
 */
export class Neighbors {
  private readonly hasher: Hasher;
  private readonly index = new HashIndex(ROWS);
  private readonly rows = new RowPool(ROWS);
  private readonly asking = new Lists(1, ROWS);
  private readonly learned = new Lists(NETWORKS, ROWS);
  private readonly opened = new Lists(NETWORKS, ROWS);
  private readonly keys = new Int32Array(ROWS * 5);
  readonly hi = new Int32Array(ROWS);
  readonly lo = new Int32Array(ROWS);
  readonly source = new Uint8Array(ROWS);
  readonly state = new Uint8Array(ROWS);
  readonly stamp = new Int32Array(ROWS);
  readonly tries = new Uint8Array(ROWS);
  private readonly queueHead = new Int32Array(ROWS).fill(-1);
  private readonly queueTail = new Int32Array(ROWS);
  private readonly queueLength = new Int32Array(ROWS);
  private waiting = 0;
  private learnedCount = 0;
  private incompleteCount = 0;
  private permanentCount = 0;
  /** Attempts of a weaker source to change a stronger binding. */
  conflicts = 0;

  /** @param epochs told of every binding that changes or goes. */
  constructor(
    private readonly packets: Packets,
    seed: number,
    private readonly epochs = new Epochs(NETWORKS),
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

  /** Is a row's address an IPv4 one? */
  is4(row: number): boolean {
    const key = row * 5 + 1;
    return this.keys[key + 2] === 0xffff && this.keys[key] === 0 && this.keys[key + 1] === 0;
  }

  find4(network: number, address: number): number {
    return this.find(network, 0, 0, 0xffff, address);
  }

  find(network: number, w0: number, w1: number, w2: number, w3: number): number {
    const { keys } = this;
    const hash = this.hash(network, w0, w1, w2, w3);
    const { entries, mask } = this.index;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]! - 1;
      if (row < 0) return -1;
      const key = row * 5;
      if (
        entries[at + 1] === hash &&
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

  learn4(network: number, address: number, hi: number, lo: number, now: number, mayCreate: boolean): number {
    return this.learn(network, 0, 0, 0xffff, address, hi, lo, now, mayCreate);
  }

  /** A binding seen on the wire (A11). @returns the row when packets wait there for its MAC, else −1. */
  learn(
    network: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    hi: number,
    lo: number,
    now: number,
    mayCreate: boolean,
  ): number {
    let row = this.find(network, w0, w1, w2, w3);
    if (row >= 0 && this.state[row] === NeighborState.PERMANENT) {
      if (this.hi[row] !== hi || this.lo[row] !== lo) this.conflicts++;
      return -1;
    }
    if (row >= 0) this.unlink(row);
    else if (!mayCreate) return -1;
    if (this.learnedCount >= MAX_LEARNED) this.erase(this.learned.head[busiest(this.learned)]!);
    if (row < 0) row = this.insert(network, w0, w1, w2, w3);
    if (row < 0) return -1;
    if (this.hi[row] !== hi || this.lo[row] !== lo) this.epochs.bump(network);
    this.hi[row] = hi;
    this.lo[row] = lo;
    this.stamp[row] = now;
    this.tries[row] = 0;
    this.source[row] = NeighborSource.LEARNED;
    this.state[row] = NeighborState.REACHABLE;
    this.learned.append(network, row);
    this.learnedCount++;
    return this.queueHead[row]! >= 0 ? row : -1;
  }

  /** A configured binding; it replaces anything weaker. @returns the row when packets wait there, else −1. */
  setPermanent(
    network: number,
    words: readonly number[],
    hi: number,
    lo: number,
    source: NeighborSource,
  ): number {
    let row = this.find(network, words[0]!, words[1]!, words[2]!, words[3]!);
    if (row >= 0 && this.source[row]! > source) return -1;
    const isNew = row < 0 || this.state[row] !== NeighborState.PERMANENT;
    if (isNew && this.permanentCount >= MAX_PERMANENT) throw new RangeError('too many configured neighbours');
    if (isNew) this.permanentCount++;
    if (row >= 0) this.unlink(row);
    if (row < 0) row = this.insert(network, words[0]!, words[1]!, words[2]!, words[3]!);
    this.epochs.bump(network);
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

  /** An incomplete row that must be given up before `network` may ask for another address, or −1. */
  askVictim(network: number): number {
    const { opened } = this;
    if (opened.length[network]! >= MAX_INCOMPLETE_PER_NETWORK) return opened.head[network]!;
    return this.incompleteCount >= MAX_INCOMPLETE ? opened.head[busiest(opened)]! : -1;
  }

  /** A row that is about to be asked for the first time; there is room once `askVictim` says −1. */
  startAsking(network: number, w0: number, w1: number, w2: number, w3: number, now: number): number {
    const row = this.insert(network, w0, w1, w2, w3);
    if (row < 0) return -1;
    this.source[row] = NeighborSource.LEARNED;
    this.state[row] = NeighborState.INCOMPLETE;
    this.stamp[row] = now;
    this.tries[row] = 1;
    this.asking.append(0, row);
    this.opened.append(network, row);
    this.incompleteCount++;
    return row;
  }

  /** A reachable row whose MAC is verified again while it stays in use. */
  startProbing(row: number, now: number): void {
    this.state[row] = NeighborState.PROBING;
    this.stamp[row] = now;
    this.tries[row] = 1;
    this.asking.append(0, row);
  }

  /** The asking row whose last request is oldest, or −1. */
  oldestAsking(): number {
    return this.asking.head[0]!;
  }

  askedAgain(row: number, now: number): void {
    this.stamp[row] = now;
    this.tries[row]!++;
    this.asking.refresh(0, row);
  }

  /**
   * Lets a packet wait for a row's MAC. @returns a slot that had to leave the queue for it (the oldest, or the
   * packet itself when its source or all together hold too many), or −1.
   */
  hold(row: number, slot: number): number {
    let evicted = -1;
    if (this.queueLength[row]! >= QUEUE_PER_ADDRESS) evicted = this.takeHeld(row);
    else if (this.waiting >= QUEUE_TOTAL) return slot;
    else if (this.packets.heldFrom(this.packets.source[slot]!) > QUEUE_PER_SOURCE) return slot;
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
    if (this.state[row] === NeighborState.PERMANENT) this.permanentCount--;
    this.unlink(row);
    this.epochs.bump(this.network(row));
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

  /** Takes a row out of the lists and counts of its state. */
  private unlink(row: number): void {
    const state = this.state[row]!;
    const network = this.network(row);
    if (state === NeighborState.INCOMPLETE || state === NeighborState.PROBING) this.asking.remove(0, row);
    if (state === NeighborState.INCOMPLETE) {
      this.opened.remove(network, row);
      this.incompleteCount--;
    } else if (state !== NeighborState.PERMANENT) {
      this.learned.remove(network, row);
      this.learnedCount--;
    }
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

/** The list with most rows. */
function busiest(lists: Lists): number {
  let most = 0;
  for (let list = 1; list < NETWORKS; list++) if (lists.length[list]! > lists.length[most]!) most = list;
  return most;
}
