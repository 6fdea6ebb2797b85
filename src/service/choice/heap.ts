/**
 * A binary heap of endpoints at the beginning of a table for n of them. What comes first the table's owner decides.
 *
 *   at          entries
 *   + 1         heap    n × index; entry i comes before entries 2i + 1 and 2i + 2
 *   + 1 + n     place   n × entry of this index, −1 = not in the heap
 */

/** Does endpoint `a` come before `b`? */
export type Before = (words: Int32Array, at: number, count: number, a: number, b: number) => boolean;

/** Words before whatever else a table holds. */
export const heapWords = (count: number): number => 1 + 2 * count;

/** The first endpoint, or −1. */
export const first = (words: Int32Array, at: number): number => (words[at] === 0 ? -1 : words[at + 1]!);

/** Makes a heap of the endpoints for which `isMember`. */
export function heapify(
  words: Int32Array,
  at: number,
  count: number,
  isMember: (index: number) => boolean,
  isBefore: Before,
): void {
  let size = 0;
  for (let i = 0; i < count; i++) words[at + 1 + count + i] = isMember(i) ? size++ : -1;
  words[at] = size;
  for (let i = 0; i < count; i++) {
    const place = words[at + 1 + count + i]!;
    if (place >= 0) words[at + 1 + place] = i;
  }
  for (let entry = (size >> 1) - 1; entry >= 0; entry--) {
    sink(words, at, count, words[at + 1 + entry]!, isBefore);
  }
}

/** Moves an endpoint that now comes later. */
export function sink(words: Int32Array, at: number, count: number, index: number, isBefore: Before): void {
  const heap = at + 1;
  const place = heap + count;
  const size = words[at]!;
  let entry = words[place + index]!;
  if (entry < 0) return;
  for (let child = 2 * entry + 1; child < size; child = 2 * entry + 1) {
    const isRight =
      child + 1 < size && isBefore(words, at, count, words[heap + child + 1]!, words[heap + child]!);
    const other = words[heap + (isRight ? child + 1 : child)]!;
    if (!isBefore(words, at, count, other, index)) break;
    words[heap + entry] = other;
    const left = words[place + other]!;
    words[place + other] = entry;
    entry = left;
  }
  words[heap + entry] = index;
  words[place + index] = entry;
}

/** Moves an endpoint that now comes earlier. */
export function rise(words: Int32Array, at: number, count: number, index: number, isBefore: Before): void {
  const heap = at + 1;
  const place = heap + count;
  let entry = words[place + index]!;
  while (entry > 0) {
    const parent = (entry - 1) >> 1;
    const other = words[heap + parent]!;
    if (!isBefore(words, at, count, index, other)) break;
    words[heap + entry] = other;
    words[place + other] = entry;
    entry = parent;
  }
  if (entry < 0) return;
  words[heap + entry] = index;
  words[place + index] = entry;
}
