import { type Algorithm, type Choice, matching, weightOf } from './choice.ts';
import { first, heapify, heapWords, sink } from './heap.ts';

/**
 * Weighted round robin (S24): Σ weights new flows give each endpoint exactly its weight, spread evenly over that period.
 *
 * The k-th of an endpoint's w turns is due at (2k − 1) / 2w of the period, so that its turns lie in the middle of w
 * equal parts: the order in which Webster's method deals out seats. The next endpoint is the top of a heap by due
 * time: no schedule that weights could make long, and all of it exact, since integers below 2^34 are compared.
 *
 *   at          heap (heap.ts)
 *   + 1 + 2n    weight   n
 *   + 1 + 3n    period   n × its number, wrapping
 *   + 1 + 4n    turn     n × 2k − 1
 */
export const WEIGHTED_ROUND_ROBIN: Algorithm = {
  size: (count) => heapWords(count) + 3 * count,

  build(choice, before) {
    const { words, at, count } = choice;
    const weight = weightAt(choice);
    const [period, turn] = [weight + count, weight + 2 * count];
    const [oldWeight, old] = [weightAt(before), before.count];
    const then = before.words;
    // Newcomers enter where the period is now.
    const top = old === 0 ? -1 : first(then, before.at);
    const now = top < 0 ? 0 : then[oldWeight + old + top]!;
    const part = top < 0 ? 0 : then[oldWeight + 2 * old + top]! / (2 * then[oldWeight + top]!);
    for (let i = 0; i < count; i++) {
      const own = weightOf(choice, i);
      const next = Math.ceil(part * own + 0.5);
      words[weight + i] = own;
      words[period + i] = next > own ? now + 1 : now;
      words[turn + i] = next > own ? 1 : 2 * next - 1;
    }
    // Who was there before and weighs the same goes on where it stood.
    matching(choice, before, (i, j) => {
      if (words[weight + i] !== then[oldWeight + j]) return;
      words[period + i] = then[oldWeight + old + j]!;
      words[turn + i] = then[oldWeight + 2 * old + j]!;
    });
    heapify(words, at, count, (i) => words[weight + i]! > 0, isDueBefore);
  },

  pick: first,

  taken(words, at, count) {
    const top = first(words, at);
    const weight = at + heapWords(count) + top;
    const turn = weight + 2 * count;
    words[turn]! += 2;
    if (words[turn]! > 2 * words[weight]!) {
      words[turn] = 1;
      words[weight + count]!++;
    }
    sink(words, at, count, top, isDueBefore);
  },
};

const weightAt = ({ at, count }: Choice): number => at + heapWords(count);

function isDueBefore(words: Int32Array, at: number, count: number, a: number, b: number): boolean {
  const weight = at + heapWords(count);
  const period = weight + count;
  const turn = period + count;
  const order = (words[period + a]! - words[period + b]!) | 0;
  if (order !== 0) return order < 0;
  const left = words[turn + a]! * words[weight + b]!;
  const right = words[turn + b]! * words[weight + a]!;
  return left === right ? a < b : left < right;
}
