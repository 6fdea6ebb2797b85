import { int32 } from './memory.ts';

/**
 * Open-addressing index from a hash to row numbers; the rows and their keys live with the caller.
 *
 *   entries[at]      row + 1, 0 = empty                                          at is even
 *   entries[at + 1]  the row's hash: a probe rejects other rows without touching their keys
 *
 * Both in one array, so that a look-up in a large table misses the cache once.
 * Linear probing at a load of at most ½ (expected probes of a hit 1.5, of a miss 2.5: Knuth, TAOCP 3, §6.4)
 * with backward-shift deletion, so there are no tombstones and no rehash pauses.
 * A lookup is the caller's own loop, so that comparing keys is inlined:
 *
 *   for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
 *     const row = entries[at] - 1;
 *     if (row < 0) return -1;
 *     if (entries[at + 1] === hash && …keys equal…) return row;
 *   }
 *
 * Limits: capacity is fixed; the caller never inserts more than `capacity` rows.
 */
export class HashIndex {
  /** Of an even position. */
  readonly mask: number;
  readonly entries: Int32Array;

  /** @param capacity rows at most, ≥ 1. */
  constructor(capacity: number) {
    const size = 1 << (32 - Math.clz32(Math.max(capacity, 4) * 2 - 1));
    this.mask = size * 2 - 2;
    this.entries = int32(size * 2);
  }

  insert(hash: number, row: number): void {
    const { entries, mask } = this;
    let at = (hash << 1) & mask;
    while (entries[at] !== 0) at = (at + 2) & mask;
    entries[at] = row + 1;
    entries[at + 1] = hash;
  }

  /** Removes one row; it must be there. */
  remove(hash: number, row: number): void {
    const { entries, mask } = this;
    let hole = (hash << 1) & mask;
    while (entries[hole] !== row + 1) {
      if (entries[hole] === 0) throw new Error(`row ${row} is not in the index`);
      hole = (hole + 2) & mask;
    }
    for (let at = (hole + 2) & mask; entries[at] !== 0; at = (at + 2) & mask) {
      // An entry may fill the hole only if its home position is not between the hole and itself.
      if (((at - (entries[at + 1]! << 1)) & mask) >= ((at - hole) & mask)) {
        entries[hole] = entries[at]!;
        entries[hole + 1] = entries[at + 1]!;
        hole = at;
      }
    }
    entries[hole] = 0;
  }
}
