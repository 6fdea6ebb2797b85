import { Hasher } from '../table/hash.ts';
import { int32 } from '../table/memory.ts';
import { Word } from './tuple.ts';

/**
 * Between which addresses are there flows? Counts tuples by a hash of network and addresses, so it may say yes where the
 * answer is no, never no where it is yes. For packets that do not tell their ports.
 */
export class Pairs {
  private readonly counts: Int32Array;
  private readonly hasher: Hasher;

  /** @param tuples at most, for which a no is rarely missed */
  constructor(tuples: number, seed: number) {
    this.counts = int32(1 << (32 - Math.clz32(Math.max(tuples, 4) * 2 - 1)));
    this.hasher = new Hasher(seed);
  }

  /** The tuple at `at` of `words` comes (1) or goes (−1). */
  count(words: Int32Array, at: number, change: 1 | -1): void {
    this.counts[this.place(words, at, words[at + Word.SCOPE]! >>> 8)]! += change;
  }

  /** @param addresses as in a tuple, whose other words do not matter */
  has(network: number, addresses: Int32Array): boolean {
    return this.counts[this.place(addresses, 0, network)] !== 0;
  }

  private place(words: Int32Array, at: number, network: number): number {
    const source = at + Word.SOURCE_HIGH;
    const destination = at + Word.DESTINATION_HIGH;
    const high =
      words[source]! ^
      words[source + 1]! ^
      words[source + 2]! ^
      Math.imul(words[destination]! ^ words[destination + 1]! ^ words[destination + 2]!, 31);
    const hash = this.hasher.of4(network, words[at + Word.SOURCE]!, words[at + Word.DESTINATION]!, high);
    return hash & (this.counts.length - 1);
  }
}
