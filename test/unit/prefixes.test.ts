import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isInPrefixes } from '../../src/service/prefixes.ts';

const word = fc.constantFrom(0, 1, 0x7fffffff, -0x80000000, -1, 0x0a4d0000, 0xffff);
const address = fc.tuple(word, word, word, word);
const bits = (words: readonly number[]) =>
  words.map((each) => (each >>> 0).toString(2).padStart(32, '0')).join('');

describe('prefixes', () => {
  it('S15, S18: an address is in a list when it begins like one of them', () => {
    const prefixes = fc.array(fc.tuple(address, fc.integer({ min: 0, max: 128 })), { maxLength: 4 });
    fc.assert(
      fc.property(prefixes, address, (list, asked) => {
        const words = Int32Array.from([77, ...list.flatMap(([each, length]) => [...each, length])]);
        const isInside = list.some(([each, n]) => bits(each).slice(0, n) === bits(asked).slice(0, n));
        expect(isInPrefixes(words, 1, list.length, ...asked)).toBe(isInside);
      }),
    );
  });
});
