import type { Algorithm } from './choice.ts';

/**
 * Round robin among equals (S24): k × n new flows give each of n endpoints exactly k. The table is the index whose turn
 * it is, which survives a change of endpoints modulo their number.
 */
export const ROUND_ROBIN: Algorithm = {
  size: () => 1,

  build({ words, at, count }, before) {
    const next = before.count === 0 ? 0 : before.words[before.at]!;
    words[at] = count === 0 ? 0 : next % count;
  },

  pick: (words, at, count) => (count === 0 ? -1 : words[at]!),

  taken(words, at, count, index) {
    words[at] = index + 1 >= count ? 0 : index + 1;
  },
};
