/**
 * Integer hashing for table keys, seeded per start (B12). `mix` is one round of the MurmurHash3 x86_32 body,
 * `finish` its finaliser (Austin Appleby, public domain).
 */
export const mix = (hash: number, word: number): number => {
  word = Math.imul(word, 0xcc9e2d51);
  word = (word << 15) | (word >>> 17);
  hash ^= Math.imul(word, 0x1b873593);
  hash = (hash << 13) | (hash >>> 19);
  return (Math.imul(hash, 5) + 0xe6546b64) | 0;
};

export const finish = (hash: number): number => {
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return hash ^ (hash >>> 16);
};
