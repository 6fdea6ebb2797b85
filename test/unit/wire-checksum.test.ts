import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  deltaHalf,
  deltaWord,
  fold,
  pseudoSum4,
  pseudoSum6,
  sumBytes,
  sumWord,
  updateField,
  updatePartial,
} from '../../src/wire/checksum.ts';
import { hex, internetChecksum, ip4, ip6, ipv6, partialSum } from '../frames.ts';

const viewOf = (bytes: ArrayLike<number>) => new DataView(Uint8Array.from(bytes).buffer);
const checksum = (bytes: ArrayLike<number>) => ~fold(sumBytes(viewOf(bytes), 0, bytes.length)) & 0xffff;
const word = (text: string) => viewOf(ip4(text)).getInt32(0);
const half = fc.nat(0xffff);
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
/** One's-complement numbers: 0 and ffff are the same one. */
const same = (a: number, b: number) => a % 0xffff === b % 0xffff;

describe('sums', () => {
  it('N43: the example of RFC 1071 §3', () => {
    expect(fold(sumBytes(viewOf(hex('0001f203f4f5f6f7')), 0, 8))).toBe(0xddf2);
    expect(checksum(hex('0001f203f4f5f6f7'))).toBe(0x220d);
  });

  it('N43: a real IPv4 header', () => {
    expect(checksum(hex('45000073000040004011b861c0a80001c0a800c7'))).toBe(0);
    expect(checksum(hex('450000730000400040110000c0a80001c0a800c7'))).toBe(0xb861);
  });

  it('N43: any bytes, odd lengths too, against the plain algorithm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1600 }), (bytes) => {
        expect(checksum(bytes)).toBe(internetChecksum(bytes));
      }),
    );
  });

  it('N43: an offset into a larger buffer, with foreign bytes around', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(9), (bytes, before) => {
        const view = viewOf([...new Array(before).fill(0xee), ...bytes, 0xee, 0xee]);
        expect(~fold(sumBytes(view, before, bytes.length)) & 0xffff).toBe(internetChecksum(bytes));
      }),
    );
  });

  it('N43: 64 KiB of ones do not overflow', () => {
    expect(checksum(new Uint8Array(65_536).fill(0xff))).toBe(
      internetChecksum(new Uint8Array(65_536).fill(0xff)),
    );
  });

  it('N43: folding carries around, at every edge', () => {
    for (const [sum, folded] of [
      [0, 0],
      [0xffff, 0xffff],
      [0x10000, 1],
      [0x1ffff, 1],
      [0x1fffe, 0xffff],
      [0x7fffffff, 0x7fff],
    ] as const) {
      expect(fold(sum), sum.toString(16)).toBe(folded);
    }
    fc.assert(fc.property(fc.nat(0x7fffffff), (sum) => same(fold(sum), sum)));
  });

  it('N43: a word is its two halves', () => {
    fc.assert(fc.property(half, half, (a, b) => sumWord((a << 16) | b) === a + b));
  });
});

describe('incremental updates', () => {
  it('N40: the example of RFC 1624 §4 gives 0000, not ffff', () => {
    expect(updateField(0xdd2f, deltaHalf(0x5555, 0x3285))).toBe(0);
  });

  it('N40: an update equals a new computation, for halves and words', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), int32, half, (bytes, next, nextHalf) => {
        // A header is never all zeros: its first byte is 0x45.
        bytes[0] = 0x45;
        const view = viewOf(bytes);
        view.setUint16(10, 0);
        const before = checksum(new Uint8Array(view.buffer));
        const delta = deltaWord(view.getInt32(12), next) + deltaHalf(view.getUint16(8), nextHalf);
        view.setInt32(12, next);
        view.setUint16(8, nextHalf);
        expect(updateField(before, delta)).toBe(checksum(new Uint8Array(view.buffer)));
      }),
    );
  });

  it('N40: there and back again is the same number', () => {
    fc.assert(
      fc.property(half, int32, int32, (field, from, to) => {
        const back = updateField(updateField(field, deltaWord(from, to)), deltaWord(to, from));
        expect(same(back, field)).toBe(true);
      }),
    );
  });

  it('N40: an error of a field is kept', () => {
    fc.assert(
      fc.property(half, fc.nat(0xfffe), int32, int32, (field, error, from, to) => {
        const delta = deltaWord(from, to);
        const wrong = (field + error) % 0xffff;
        const distance = (updateField(wrong, delta) - updateField(field, delta) + 2 * 0xffff) % 0xffff;
        expect(distance).toBe((wrong - (field % 0xffff) + 0xffff) % 0xffff);
      }),
    );
  });

  it('N42: a partial field holds the folded pseudo-header sum before and after', () => {
    fc.assert(
      fc.property(
        int32,
        int32,
        int32,
        fc.nat(65_535),
        fc.constantFrom(6, 17),
        (source, from, to, length, protocol) => {
          const before = fold(pseudoSum4(source, from, protocol, length));
          const after = updatePartial(before, deltaWord(from, to));
          expect(same(after, fold(pseudoSum4(source, to, protocol, length)))).toBe(true);
        },
      ),
    );
  });
});

describe('pseudo-headers', () => {
  it('N42, N43: IPv4, against the same sum written by hand', () => {
    fc.assert(
      fc.property(fc.nat(65_535), (length) => {
        const sum = fold(pseudoSum4(word('10.244.1.7'), word('10.96.12.34'), 6, length));
        expect(sum).toBe(partialSum('10.244.1.7', '10.96.12.34', 6, length));
      }),
    );
  });

  it('K12: TCP length 20 and 2916', () => {
    const sum = (to: string, length: number) => fold(pseudoSum4(word('10.244.1.7'), word(to), 6, length));
    expect([sum('10.96.12.34', 20), sum('10.244.2.9', 20)]).toEqual([0x2297, 0x1912]);
    expect([sum('10.96.12.34', 2916), sum('10.244.2.9', 2916)]).toEqual([0x2de7, 0x2462]);
  });

  it('N43: IPv6, lengths above 64 KiB included', () => {
    const packet = ipv6({ from: 'fd00:1::7', to: 'fd00:96::22', protocol: 17 }, []);
    const length = 0x00012345;
    const pseudo = [...ip6('fd00:1::7'), ...ip6('fd00:96::22'), 0, 1, 0x23, 0x45, 0, 0, 0, 17];
    expect(~fold(pseudoSum6(viewOf(packet), 0, 17, length)) & 0xffff).toBe(internetChecksum(pseudo));
  });
});
