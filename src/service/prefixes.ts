/** Words of an address prefix: address 0–3, prefix length in the 128-bit space (an IPv4 /24 is 120). */
export const PREFIX_WORDS = 5;

/** Does the address lie in one of the `count` prefixes at `at` of `words`? A list is short, as who writes it reads it. */
export function isInPrefixes(
  words: Int32Array,
  at: number,
  count: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): boolean {
  for (let i = 0, prefix = at; i < count; i++, prefix += PREFIX_WORDS) {
    const bits = words[prefix + 4]!;
    if (
      isAlike(words[prefix + 3]!, w3, bits - 96) &&
      isAlike(words[prefix + 2]!, w2, bits - 64) &&
      isAlike(words[prefix + 1]!, w1, bits - 32) &&
      isAlike(words[prefix]!, w0, bits)
    ) {
      return true;
    }
  }
  return false;
}

/** Are the first `bits` of two words the same? */
function isAlike(a: number, b: number, bits: number): boolean {
  if (bits <= 0) return true;
  return bits >= 32 ? a === b : (a ^ b) >>> (32 - bits) === 0;
}
