/**
 * What the ways to choose among a set of endpoints have in common.
 *
 * Each keeps a table of words for every set, made anew when the set changes. A pick allocates nothing and costs at most
 * O(log endpoints). Endpoints of weight 0 are in the set and are never picked (M12).
 */
import { BACKEND_WORDS } from '../record.ts';

/** A set of endpoints, ordered by address and port (`record.ts`), and the table that chooses among them. */
export interface Choice {
  /** `count` endpoints from `first` on. */
  endpoints: Int32Array;
  first: number;
  count: number;
  /** The table begins at `at` of `words`. */
  words: Int32Array;
  at: number;
}

export interface Algorithm {
  /** Words of a table for so many endpoints. */
  size(count: number): number;
  /**
   * Fills a table.
   * @param before the set until now and its table of the same algorithm; count 0 when there was none
   * @param clock number of this change, wrapping
   */
  build(choice: Choice, before: Choice, clock: number): void;
  /**
   * Whose turn it is.
   * @param hash of the client's tuple
   * @returns an index, or −1 when nobody takes new flows
   */
  pick(words: Int32Array, at: number, count: number, hash: number): number;
  /** What was picked became a flow, to endpoint `index`: another than was picked when that was not to be had. */
  taken(words: Int32Array, at: number, count: number, index: number): void;
}

export const NO_CHOICE: Readonly<Choice> = {
  endpoints: new Int32Array(0),
  first: 0,
  count: 0,
  words: new Int32Array(0),
  at: 0,
};

export const weightOf = ({ endpoints, first }: Choice, index: number): number =>
  endpoints[first + index * BACKEND_WORDS + 4]! >>> 16;

/** Negative, 0 or positive: the order of endpoints by address and port, whatever their weights. */
export function compare(a: Int32Array, at: number, b: Int32Array, bt: number): number {
  for (let i = 0; i < 4; i++) {
    if (a[at + i] !== b[bt + i]) return a[at + i]! >>> 0 < b[bt + i]! >>> 0 ? -1 : 1;
  }
  return (a[at + 4]! & 0xffff) - (b[bt + 4]! & 0xffff);
}

/** Index of an endpoint in a set, or −1. @param key address 0–3, port */
export function indexOf(endpoints: Int32Array, first: number, count: number, key: Int32Array): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = compare(endpoints, first + middle * BACKEND_WORDS, key, 0);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return -1;
}

/** Calls `meet` for every endpoint that is in both sets, with its index in each. */
export function matching(now: Choice, then: Choice, meet: (now: number, then: number) => void): void {
  for (let i = 0, j = 0; i < now.count && j < then.count; ) {
    const at = now.first + i * BACKEND_WORDS;
    const order = compare(now.endpoints, at, then.endpoints, then.first + j * BACKEND_WORDS);
    if (order === 0) meet(i, j);
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
}
