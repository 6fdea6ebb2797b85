/**
 * Hashing of integer keys: multilinear, Σ wordᵢ × mᵢ with secret odd multipliers drawn from a seed per start
 * (B12; Carter and Wegman 1979, Lemire and Kaser 2014), then a bijective finish. The products do not wait for each
 * other, so four words cost little more than one. Equal seeds give equal hashes: tests depend on it.
 *
 * Modulo 2^32 the high bits of a word only reach the high bits of its product, where two words could cancel each
 * other whatever the multipliers; each word is therefore folded onto its own low half first.
 *
 * Products are written out: the optimiser adds them without looking for an overflow only while it sees that each is a
 * product of `Math.imul`, which it does not of a call that it has no room to inline.
 */

/** Bijective mixing of 32 bits; constants of C. Wellons' hash-prospector "lowbias32" (public domain). */
export const finish = (hash: number): number => {
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return hash ^ (hash >>> 15);
};

export class Hasher {
  private readonly m0: number;
  private readonly m1: number;
  private readonly m2: number;
  private readonly m3: number;
  private readonly m4: number;
  private readonly m5: number;

  constructor(seed: number) {
    const draw = (i: number): number => finish(seed + Math.imul(i + 1, 0x9e3779b9)) | 1;
    this.m0 = draw(0);
    this.m1 = draw(1);
    this.m2 = draw(2);
    this.m3 = draw(3);
    this.m4 = draw(4);
    this.m5 = draw(5);
  }

  of2(a: number, b: number): number {
    return finish((Math.imul(a ^ (a >>> 16), this.m0) + Math.imul(b ^ (b >>> 16), this.m1)) | 0);
  }

  of4(a: number, b: number, c: number, d: number): number {
    return finish(
      (Math.imul(a ^ (a >>> 16), this.m0) +
        Math.imul(b ^ (b >>> 16), this.m1) +
        Math.imul(c ^ (c >>> 16), this.m2) +
        Math.imul(d ^ (d >>> 16), this.m3)) |
        0,
    );
  }

  of5(a: number, b: number, c: number, d: number, e: number): number {
    return finish(
      (this.sum3(a, b, c) + Math.imul(d ^ (d >>> 16), this.m3) + Math.imul(e ^ (e >>> 16), this.m4)) | 0,
    );
  }

  of6(a: number, b: number, c: number, d: number, e: number, f: number): number {
    return finish(
      (this.sum3(a, b, c) +
        Math.imul(d ^ (d >>> 16), this.m3) +
        Math.imul(e ^ (e >>> 16), this.m4) +
        Math.imul(f ^ (f >>> 16), this.m5)) |
        0,
    );
  }

  /** Ten words: protocol, ports, and two addresses of four. What has the same in both halves does not cancel out. */
  of10(
    protocol: number,
    ports: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
  ): number {
    return this.of6(protocol, ports, s2, s3, d2, d3) ^ this.of4(s0, s1, d0, d1);
  }

  private sum3(a: number, b: number, c: number): number {
    return (
      (Math.imul(a ^ (a >>> 16), this.m0) +
        Math.imul(b ^ (b >>> 16), this.m1) +
        Math.imul(c ^ (c >>> 16), this.m2)) |
      0
    );
  }
}
