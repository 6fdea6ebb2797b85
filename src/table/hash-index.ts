import { int32 } from './memory.ts';

/**
 * Open-addressing index from a hash to row numbers; the rows and their keys live with the caller.
 *
 *   slots[at]   row + 1, 0 = empty
 *   hashes[at]  the row's hash: a probe rejects other rows without touching their keys
 *
 * Linear probing at a load of at most ½ (expected probes of a hit 1.5, of a miss 2.5: Knuth, TAOCP 3, §6.4)
 * with backward-shift deletion, so there are no tombstones and no rehash pauses.
 * A lookup is the caller's own loop, so that comparing keys is inlined:
 *
 *   for (let at = hash & mask; ; at = (at + 1) & mask) {
 *     const row = slots[at] - 1;
 *     if (row < 0) return -1;
 *     if (hashes[at] === hash && …keys equal…) return row;
 *   }
 *
 * Limits: capacity is fixed; the caller never inserts more than `capacity` rows.
 */
export class HashIndex {
  readonly mask: number;
  readonly slots: Int32Array;
  readonly hashes: Int32Array;

  /** @param capacity rows at most, ≥ 1. */
  constructor(capacity: number) {
    const size = 1 << (32 - Math.clz32(Math.max(capacity, 4) * 2 - 1));
    this.mask = size - 1;
    this.slots = int32(size);
    this.hashes = int32(size);
  }

  insert(hash: number, row: number): void {
    const { slots, hashes, mask } = this;
    let at = hash & mask;
    while (slots[at] !== 0) at = (at + 1) & mask;
    slots[at] = row + 1;
    hashes[at] = hash;
  }

  /** Removes one row; it must be there. */
  remove(hash: number, row: number): void {
    const { slots, hashes, mask } = this;
    let hole = hash & mask;
    while (slots[hole] !== row + 1) {
      if (slots[hole] === 0) throw new Error(`row ${row} is not in the index`);
      hole = (hole + 1) & mask;
    }
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      // An entry may fill the hole only if its home position is not between the hole and itself.
      if (((at - hashes[at]!) & mask) >= ((at - hole) & mask)) {
        slots[hole] = slots[at]!;
        hashes[hole] = hashes[at]!;
        hole = at;
      }
    }
    slots[hole] = 0;
  }
}
