/**
 * Addresses: text ⇄ numbers. Parsing goes through ip-num (BigInt: configuration only); `formatAddress` and
 * `formatMac` are plain integer code that any thread may call.
 *
 *   words   an IP address as four big-endian int32; IPv4 is mapped, ::ffff:a.b.c.d = (0, 0, 0xffff, value)
 *   MAC     { hi: first two bytes, lo: last four bytes as int32 }
 *
 * Parsers throw AddressError, whose message quotes the input and reads after "path: ".
 */
import { IPv4, IPv6 } from 'ip-num';

export type Words = readonly [number, number, number, number];
export type Family = 4 | 6;

export interface ParsedAddress {
  readonly family: Family;
  readonly words: Words;
  /** Canonical: dotted decimal or RFC 5952. */
  readonly text: string;
  /** The input had decimal numbers with leading zeros, which others may read as octal (CVE-2021-29923). */
  readonly leadingZeros: boolean;
}

export interface Cidr {
  readonly family: Family;
  readonly words: Words;
  /** In the family's own space: 0 … 32 or 0 … 128. */
  readonly prefix: number;
  readonly text: string;
}

export interface MacAddress {
  readonly hi: number;
  readonly lo: number;
}

export class AddressError extends Error {
  override readonly name = 'AddressError';
}

const MAPPED = 0xffff;

/** Leading zeros are decimal: "010.0.0.1" is 10.0.0.1. @throws AddressError */
export function parseIPv4(text: string): ParsedAddress {
  const value = canonicalIPv4(text);
  if (value !== null) return { family: 4, words: [0, 0, MAPPED, value], text, leadingZeros: false };
  const plain = text.replace(/(^|\.)0+(?=\d)/g, '$1');
  try {
    if (!/^[\d.]+$/.test(text)) throw new AddressError();
    const value = Number(new IPv4(plain).value);
    const words: Words = [0, 0, MAPPED, value | 0];
    return { family: 4, words, text: formatWords(words), leadingZeros: plain !== text };
  } catch {
    throw new AddressError(`${quote(text)} is not an IPv4 address`);
  }
}

/** The usual form at once, as int32; null for whatever else. */
function canonicalIPv4(text: string): number | null {
  const { length } = text;
  let value = 0;
  let byte = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      if (digits === 0) return null;
      value = (value << 8) | byte;
      dots++;
      byte = 0;
      digits = 0;
      continue;
    }
    if (code < 0x30 || code > 0x39 || (digits > 0 && byte === 0)) return null;
    byte = byte * 10 + code - 0x30;
    digits++;
    if (byte > 255) return null;
  }
  return dots === 3 && digits > 0 ? (value << 8) | byte : null;
}

/** IPv4-mapped addresses and zones (%eth0) are refused. @throws AddressError */
export function parseIPv6(text: string): ParsedAddress {
  let value: bigint;
  try {
    if (!/^[\da-fA-F:.]+$/.test(text)) throw new AddressError();
    value = new IPv6(text).value;
  } catch {
    throw new AddressError(`${quote(text)} is not an IPv6 address`);
  }
  const word = (i: number) => Number(BigInt.asIntN(32, value >> BigInt(96 - 32 * i)));
  const words: Words = [word(0), word(1), word(2), word(3)];
  const canonical = formatWords(words);
  if (isV4(words)) throw new AddressError(`${quote(text)} is an IPv4-mapped address; write ${canonical}`);
  return { family: 6, words, text: canonical, leadingZeros: false };
}

/** @throws AddressError */
export function parseAddress(text: string): ParsedAddress {
  if (text.includes(':')) return parseIPv6(text);
  if (/^[\d.]+$/.test(text) && text.includes('.')) return parseIPv4(text);
  throw new AddressError(`${quote(text)} is not an IP address`);
}

/** An address with prefix length, "10.0.0.5/24"; the host part may be set. @throws AddressError */
export function parseInterface(text: string): ParsedAddress & { readonly prefix: number } {
  const [address = '', length = '', ...rest] = text.split('/');
  if (!/^\d{1,3}$/.test(length) || rest.length > 0) {
    throw new AddressError(`${quote(text)} is not an address with a prefix length such as 10.77.0.0/24`);
  }
  const parsed = parseAddress(address);
  const bits = parsed.family === 4 ? 32 : 128;
  if (Number(length) > bits) {
    throw new AddressError(
      `${quote(text)} has a prefix length above ${bits}, the most for IPv${parsed.family}`,
    );
  }
  return { ...parsed, prefix: Number(length) };
}

/** The network an address with prefix length lies in. @throws AddressError */
export function networkOf(text: string): Cidr {
  const { family, words, prefix } = parseInterface(text);
  const network = maskWords(words, mappedPrefix(family, prefix));
  return { family, words: network, prefix, text: `${formatWords(network)}/${prefix}` };
}

/** A network "10.77.0.0/24". @throws AddressError, also when host bits are set. */
export function parseCidr(text: string): Cidr {
  const network = networkOf(text);
  if (!sameWords(network.words, parseInterface(text).words)) {
    throw new AddressError(`${quote(text)} has host bits set; the network is ${network.text}`);
  }
  return network;
}

/** Six hexadecimal bytes separated by : or -. @throws AddressError */
export function parseMac(text: string): MacAddress {
  if (!/^[\da-f]{2}(:[\da-f]{2}){5}$|^[\da-f]{2}(-[\da-f]{2}){5}$/i.test(text)) {
    throw new AddressError(`${quote(text)} is not a MAC address such as 02:00:00:00:00:01`);
  }
  const digits = text.replace(/[:-]/g, '');
  return { hi: Number.parseInt(digits.slice(0, 4), 16), lo: Number.parseInt(digits.slice(4), 16) | 0 };
}

/** "02:00:00:00:00:01" from the first two and the last four bytes. */
export function formatMac(hi: number, lo: number): string {
  const byte = (value: number) => ((value & 0xff) + 0x100).toString(16).slice(1);
  return `${byte(hi >> 8)}:${byte(hi)}:${byte(lo >>> 24)}:${byte(lo >> 16)}:${byte(lo >> 8)}:${byte(lo)}`;
}

/** Canonical text of four address words: dotted decimal when v4-mapped, else RFC 5952. */
export function formatAddress(w0: number, w1: number, w2: number, w3: number): string {
  if (w0 === 0 && w1 === 0 && w2 === MAPPED) {
    return `${w3 >>> 24}.${(w3 >> 16) & 0xff}.${(w3 >> 8) & 0xff}.${w3 & 0xff}`;
  }
  const groups = [w0, w1, w2, w3].flatMap((word) => [word >>> 16, word & 0xffff]);
  // RFC 5952 §4.2: the longest run of two or more zero groups, the first of equals.
  let start = 0;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

export function formatWords(words: Words): string {
  return formatAddress(words[0], words[1], words[2], words[3]);
}

export function isV4(words: Words): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === MAPPED;
}

export function familyOf(words: Words): Family {
  return isV4(words) ? 4 : 6;
}

export function sameWords(a: Words, b: Words): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3];
}

/** Numeric order: negative, 0 or positive. */
export function compareWords(a: Words, b: Words): number {
  for (let i = 0; i < 4; i++) {
    const difference = (a[i]! >>> 0) - (b[i]! >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A family's prefix length in the 128-bit space of `words`: IPv4 /24 is 120. */
export function mappedPrefix(family: Family, prefix: number): number {
  return family === 4 ? prefix + 96 : prefix;
}

/** Whether the address lies in the network; families never mix. */
export function contains(cidr: Cidr, words: Words): boolean {
  if (familyOf(words) !== cidr.family) return false;
  return sameWords(maskWords(words, mappedPrefix(cidr.family, cidr.prefix)), cidr.words);
}

/** Whether the two networks share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return contains(a, b.words) || contains(b, a.words);
}

/** First usable address: network + 1; the network itself where it has a single address. */
export function firstAddress(cidr: Cidr): Words {
  const [w0, w1, w2, w3] = cidr.words;
  return mappedPrefix(cidr.family, cidr.prefix) === 128 ? cidr.words : [w0, w1, w2, w3 | 1 | 0];
}

/**
 * What an address may not be used as inside its subnet: "network" or "broadcast" address (IPv4 up to /30;
 * IPv6 has only the subnet-router anycast address, called network here), or null.
 */
export function reservedIn(cidr: Cidr, words: Words): 'network' | 'broadcast' | null {
  if (mappedPrefix(cidr.family, cidr.prefix) > 126) return null;
  if (sameWords(words, cidr.words)) return 'network';
  if (cidr.family === 6) return null;
  const hosts = cidr.prefix === 0 ? 0xffffffff : 0xffffffff >>> cidr.prefix;
  return words[3] === (cidr.words[3] | hosts) ? 'broadcast' : null;
}

/** What keeps an address from being an ordinary unicast one, in a word for messages; null when nothing does. */
export function unusualKind(words: Words): string | null {
  const [w0, w1, w2, w3] = words;
  if (isV4(words)) {
    const first = w3 >>> 24;
    if (w3 === 0) return 'unspecified';
    if (first === 0) return 'reserved';
    if (first === 127) return 'loopback';
    if (w3 >>> 16 === 0xa9fe) return 'link-local';
    if (first >>> 4 === 0xe) return 'multicast';
    if (first >>> 4 === 0xf) return w3 === -1 ? 'broadcast' : 'reserved';
    return null;
  }
  if (w0 === 0 && w1 === 0 && w2 === 0 && w3 >>> 1 === 0) return w3 === 0 ? 'unspecified' : 'loopback';
  if (w0 >>> 24 === 0xff) return 'multicast';
  if (w0 >>> 22 === 0xfe80 >> 6) return 'link-local';
  return null;
}

/** Keeps the first `bits` of 128. */
function maskWords(words: Words, bits: number): Words {
  const word = (i: number) => {
    const kept = Math.min(32, Math.max(0, bits - 32 * i));
    return kept === 0 ? 0 : words[i]! & (-1 << (32 - kept));
  };
  return [word(0), word(1), word(2), word(3)];
}

function quote(text: string): string {
  return JSON.stringify(text);
}
