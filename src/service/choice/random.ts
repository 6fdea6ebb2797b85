import { finish } from '../../table/hash.ts';
import { type Algorithm, type Choice, weightOf } from './choice.ts';

/**
 * By chance, as often as each endpoint weighs. The table holds running sums of the weights, among which a draw is found
 * by halves.
 *
 *   at   n × sum of the weights up to and with this endpoint, unsigned
 */
export class Random implements Algorithm {
  private state: number;

  /** @param seed from the injected random source; equal seeds give equal draws */
  constructor(seed: number) {
    this.state = seed;
  }

  size(count: number): number {
    return count;
  }

  build(choice: Choice): void {
    const { words, at, count } = choice;
    for (let i = 0, sum = 0; i < count; i++) {
      sum += weightOf(choice, i);
      words[at + i] = sum;
    }
  }

  pick(words: Int32Array, at: number, count: number): number {
    const total = count === 0 ? 0 : words[at + count - 1]! >>> 0;
    if (total === 0) return -1;
    const draw = Math.floor((this.next() / 2 ** 32) * total);
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (words[at + middle]! >>> 0 > draw) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  taken(): void {}

  /** 32 random bits: a counter, mixed. */
  private next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    return finish(this.state) >>> 0;
  }
}
