import { type Algorithm, type Choice, matching, weightOf } from './choice.ts';
import { first, heapify, heapWords, rise, sink } from './heap.ts';

/**
 * Least connections: the endpoint with the fewest flows for its weight, the one to come counted in; among equals the one
 * whose last flow is longest ago. A flow counts from its first packet until it begins to close or is forgotten, whatever
 * chose its endpoint.
 *
 *   at          heap (heap.ts)
 *   + 1 + 2n    weight   n
 *   + 1 + 3n    flows    n
 *   + 1 + 4n    last     n × number of its latest flow, wrapping
 *   + 1 + 5n    since    n × clock at which it came to the set: flows from before are not among its `flows`
 *   + 1 + 6n    the latest number given out
 */
export const LEAST_CONNECTIONS: Algorithm = {
  size: (count) => heapWords(count) + 4 * count + 1,

  build(choice, before, clock) {
    const { words, at, count } = choice;
    const weight = at + heapWords(count);
    const oldWeight = before.at + heapWords(before.count);
    const latest = before.count === 0 ? 0 : before.words[oldWeight + 4 * before.count]!;
    for (let i = 0; i < count; i++) {
      words[weight + i] = weightOf(choice, i);
      words[weight + count + i] = 0;
      words[weight + 2 * count + i] = latest;
      words[weight + 3 * count + i] = clock;
    }
    words[weight + 4 * count] = latest;
    matching(choice, before, (i, j) => {
      for (let column = 1; column < 4; column++) {
        words[weight + column * count + i] = before.words[oldWeight + column * before.count + j]!;
      }
    });
    heapify(words, at, count, (i) => words[weight + i]! > 0, isLighter);
  },

  pick: first,

  // A flow is counted where it begins, also one that was not picked here.
  taken() {},
};

/** A flow to endpoint `index` begins. */
export function beginAt({ words, at, count }: Choice, index: number): void {
  const weight = at + heapWords(count);
  const latest = weight + 4 * count;
  words[latest] = (words[latest]! + 1) | 0;
  words[weight + count + index]!++;
  words[weight + 2 * count + index] = words[latest]!;
  sink(words, at, count, index, isLighter);
}

/** A flow to endpoint `index` ends. @param began the clock when it began */
export function endAt({ words, at, count }: Choice, index: number, began: number): void {
  const weight = at + heapWords(count);
  if (((began - words[weight + 3 * count + index]!) | 0) < 0) return;
  words[weight + count + index]!--;
  rise(words, at, count, index, isLighter);
}

/** Flows of endpoint `index`. */
export const flowsAt = ({ words, at, count }: Choice, index: number): number =>
  words[at + heapWords(count) + count + index]!;

function isLighter(words: Int32Array, at: number, count: number, a: number, b: number): boolean {
  const weight = at + heapWords(count);
  const flows = weight + count;
  const last = flows + count;
  const left = (words[flows + a]! + 1) * words[weight + b]!;
  const right = (words[flows + b]! + 1) * words[weight + a]!;
  if (left !== right) return left < right;
  const age = (words[last + a]! - words[last + b]!) | 0;
  return age === 0 ? a < b : age < 0;
}
