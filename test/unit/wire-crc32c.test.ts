import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crcChange } from '../../src/wire/crc32c.ts';
import { crc32c } from '../sctp.ts';

describe('CRC32c', () => {
  it.each([
    ['the ASCII digits 1 to 9', Buffer.from('123456789'), 0xe3069283],
    ['32 bytes of 0 (RFC 3720 B.4)', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of 0xff', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ])('N32: what the tests compare with knows %s', (_what, bytes, sum) => {
    expect(crc32c(bytes)).toBe(sum);
  });

  it('N32: a change of two bytes anywhere changes the sum as computing it again does', () => {
    const message = fc.uint8Array({ minLength: 2, maxLength: 3000 });
    fc.assert(
      fc.property(message, fc.nat(), fc.integer({ min: 0, max: 0xffff }), (bytes, place, change) => {
        const at = place % (bytes.length - 1);
        const before = crc32c(bytes);
        bytes[at]! ^= change >>> 8;
        bytes[at + 1]! ^= change & 0xff;
        expect((before ^ crcChange(change, bytes.length - at - 2)) >>> 0).toBe(crc32c(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it('N32: up to the longest packet', () => {
    const bytes = new Uint8Array(65_535).map((_, i) => i * 7);
    const before = crc32c(bytes);
    bytes[0]! ^= 0xab;
    bytes[1]! ^= 0xcd;
    expect((before ^ crcChange(0xabcd, bytes.length - 2)) >>> 0).toBe(crc32c(bytes));
  });
});
