import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareWords,
  contains,
  firstAddress,
  formatAddress,
  formatMac,
  formatWords,
  mappedPrefix,
  overlaps,
  parseAddress,
  parseCidr,
  parseInterface,
  parseIPv4,
  parseIPv6,
  parseMac,
  reservedIn,
  unusualKind,
  type Words,
} from '../../src/wire/address.ts';

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const words = fc.tuple(word, word, word, word).filter((w) => !(w[0] === 0 && w[1] === 0 && w[2] === 0xffff));
const v4 = word.map((value): Words => [0, 0, 0xffff, value]);

describe('addresses', () => {
  it('M8: every IPv4 address survives printing and parsing', () => {
    fc.assert(fc.property(v4, (w) => void expect(parseIPv4(formatWords(w)).words).toEqual(w)));
  });

  it('M8: every IPv6 address survives printing and parsing', () => {
    fc.assert(fc.property(words, (w) => void expect(parseIPv6(formatWords(w)).words).toEqual(w)));
  });

  it.each([
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::', '::'],
    ['1::', '1::'],
    ['::1', '::1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('M8: %s prints as RFC 5952 has it, %s', (input, output) => {
    expect(parseAddress(input).text).toBe(output);
  });

  it('S9: leading zeros are decimal and flagged', () => {
    expect(parseIPv4('010.0.00.08')).toMatchObject({ text: '10.0.0.8', leadingZeros: true });
    expect(parseIPv4('10.0.0.8').leadingZeros).toBe(false);
    expect(parseIPv4('0.0.0.0').leadingZeros).toBe(false);
  });

  it('accepts only what the system accepts, whatever the text', () => {
    const alphabet = fc.constantFrom(...'0123456789abcdefABCDEF:.%/ -gx'.split(''));
    const candidates = fc.oneof(
      fc.string({ unit: alphabet, maxLength: 45 }),
      fc
        .array(fc.constantFrom('0', '1', 'ffff', '12345', ''), { maxLength: 10 })
        .map((parts) => parts.join(':')),
    );
    fc.assert(
      fc.property(candidates, (text) => {
        let accepted = true;
        try {
          parseAddress(text);
        } catch {
          accepted = false;
        }
        const plain = text.replace(/(^|\.)0+(?=\d)/g, '$1');
        if (accepted) expect(isIPv4(plain) || isIPv6(text)).toBe(true);
        else if (isIPv6(text) && !text.includes('%')) expect(text.toLowerCase()).toMatch(/^[0:]*ffff:/);
        else expect(isIPv4(plain)).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    [() => parseIPv4('10.0.0.256'), '"10.0.0.256" is not an IPv4 address'],
    [() => parseAddress('10.0.0'), '"10.0.0" is not an IPv4 address'],
    [() => parseAddress('fe80::1%eth0'), '"fe80::1%eth0" is not an IPv6 address'],
    [() => parseAddress('1::2::3'), '"1::2::3" is not an IPv6 address'],
    [() => parseAddress('web'), '"web" is not an IP address'],
    [() => parseAddress(''), '"" is not an IP address'],
    [() => parseIPv6('::ffff:10.0.0.1'), '"::ffff:10.0.0.1" is an IPv4-mapped address; write 10.0.0.1'],
    [() => parseCidr('10.77.0.5/24'), '"10.77.0.5/24" has host bits set; the network is 10.77.0.0/24'],
    [() => parseCidr('fd00::1/64'), '"fd00::1/64" has host bits set; the network is fd00::/64'],
    [() => parseCidr('10.0.0.0/33'), '"10.0.0.0/33" has a prefix length above 32, the most for IPv4'],
    [() => parseCidr('10.0.0.0'), '"10.0.0.0" is not an address with a prefix length such as 10.77.0.0/24'],
    [() => parseMac('02:00:00:00:00'), '"02:00:00:00:00" is not a MAC address such as 02:00:00:00:00:01'],
    [
      () => parseMac('02:00-00:00:00:01'),
      '"02:00-00:00:00:01" is not a MAC address such as 02:00:00:00:00:01',
    ],
  ])('errors quote the input: %#', (parse, message) => {
    expect(parse).toThrow(message);
  });
});

describe('networks', () => {
  const cidrs = fc.oneof(
    fc.tuple(v4, fc.integer({ min: 0, max: 32 })),
    fc.tuple(words, fc.integer({ min: 0, max: 128 })),
  );
  const big = (w: Words) => w.reduce((sum, part) => (sum << 32n) | BigInt(part >>> 0), 0n);

  it('contains agrees with arithmetic on whole numbers', () => {
    fc.assert(
      fc.property(cidrs, fc.oneof(v4, words), ([w, prefix], other) => {
        const family = w[2] === 0xffff && w[0] === 0 && w[1] === 0 ? 4 : 6;
        const shift = BigInt(128 - mappedPrefix(family, prefix));
        const network = (big(w) >> shift) << shift;
        const text = [96n, 64n, 32n, 0n].map((s) =>
          Number(BigInt.asIntN(32, network >> s)),
        ) as unknown as Words;
        const cidr = parseCidr(`${formatWords(text)}/${prefix}`);
        const sameFamily = (other[0] === 0 && other[1] === 0 && other[2] === 0xffff) === (family === 4);
        expect(contains(cidr, other)).toBe(sameFamily && big(other) >> shift === network >> shift);
        expect(contains(cidr, w)).toBe(true);
        expect(contains(cidr, firstAddress(cidr))).toBe(true);
      }),
    );
  });

  it('finds overlaps both ways and keeps families apart', () => {
    const [a, b, c, d] = ['10.0.0.0/8', '10.77.0.0/24', '10.78.0.0/24', '::/0'].map(parseCidr);
    expect([overlaps(a!, b!), overlaps(b!, a!), overlaps(b!, c!), overlaps(a!, d!)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it.each([
    ['10.77.0.0/24', '10.77.0.0', 'network'],
    ['10.77.0.0/24', '10.77.0.255', 'broadcast'],
    ['10.77.0.0/24', '10.77.0.1', null],
    ['10.77.0.0/31', '10.77.0.0', null],
    ['128.0.0.0/1', '255.255.255.255', 'broadcast'],
    ['fd00::/64', 'fd00::', 'network'],
    ['fd00::/64', 'fd00::ffff:ffff:ffff:ffff', null],
  ] as const)('in %s, %s is reserved as %s', (cidr, address, kind) => {
    expect(reservedIn(parseCidr(cidr), parseAddress(address).words)).toBe(kind);
  });

  it('keeps the host part of an interface address', () => {
    expect(parseInterface('10.77.0.5/24')).toMatchObject({ text: '10.77.0.5', prefix: 24 });
  });

  it.each([
    ['0.0.0.0', 'unspecified'],
    ['127.1.2.3', 'loopback'],
    ['169.254.0.1', 'link-local'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['240.0.0.1', 'reserved'],
    ['10.0.0.1', null],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['ff02::1', 'multicast'],
    ['fd00::1', null],
  ] as const)('%s is %s', (address, kind) => {
    expect(unusualKind(parseAddress(address).words)).toBe(kind);
  });

  it('orders addresses as numbers', () => {
    const sorted = ['200.0.0.1', '10.0.0.2', '10.0.0.10']
      .map((a) => parseAddress(a).words)
      .sort(compareWords);
    expect(sorted.map(formatWords)).toEqual(['10.0.0.2', '10.0.0.10', '200.0.0.1']);
  });
});

describe('MACs', () => {
  it('M8: accept : and -, print lower case with :', () => {
    for (const text of ['02:AB:00:00:ff:01', '02-ab-00-00-FF-01']) {
      const { hi, lo } = parseMac(text);
      expect(formatMac(hi, lo)).toBe('02:ab:00:00:ff:01');
    }
  });

  it('survive printing and parsing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), word, (hi, lo) => {
        expect(parseMac(formatMac(hi, lo))).toEqual({ hi, lo });
      }),
    );
  });

  it('formatAddress prints words without any object', () => {
    expect(formatAddress(0, 0, 0xffff, 0xc0000201 | 0)).toBe('192.0.2.1');
    expect(formatAddress(0x20010db8, 0, 0, 1)).toBe('2001:db8::1');
  });
});
