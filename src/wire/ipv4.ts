import { deltaHalf, fold, sumBytes, updateField } from './checksum.ts';

/**
 * IPv4 (RFC 791 §3.1), offsets from the header:
 *
 *    0                   1                   2                   3
 *   +-------+-------+---------------+-------------------------------+
 *  0| ver 4 |  IHL  |  DSCP   |ECN  |         total length          |
 *  4|        identification         |0|D|M|     fragment offset     |
 *  8|      TTL      |   protocol    |        header checksum        |
 * 12|                        source address                         |
 * 16|                      destination address                      |
 *   +---------------------------------------------------------------+
 */
export const IPV4_BYTES = 20;

export const enum Ipv4 {
  TOS = 1,
  TOTAL_LENGTH = 2,
  ID = 4,
  FRAGMENT = 6,
  TTL = 8,
  PROTOCOL = 9,
  CHECKSUM = 10,
  SOURCE = 12,
  DESTINATION = 16,
}

export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
/** The fragment offset, in units of 8 bytes. */
export const OFFSET_MASK = 0x1fff;
/** More-fragments flag and offset: non-zero on every fragment. */
export const FRAGMENT_MASK = 0x3fff;

export const enum Protocol {
  ICMP = 1,
  TCP = 6,
  UDP = 17,
  ICMPV6 = 58,
  SCTP = 132,
}

/** Writes a header without options; the checksum is complete. `fragment` is the word of flags and offset. */
export function writeIpv4(
  view: DataView,
  at: number,
  totalLength: number,
  protocol: number,
  source: number,
  destination: number,
  fragment = DONT_FRAGMENT,
): void {
  view.setInt32(at, 0x45000000 | totalLength | 0);
  view.setInt32(at + 4, fragment);
  view.setInt32(at + 8, (64 << 24) | (protocol << 16));
  view.setInt32(at + Ipv4.SOURCE, source);
  view.setInt32(at + Ipv4.DESTINATION, destination);
  view.setUint16(at + Ipv4.CHECKSUM, ~fold(sumBytes(view, at, IPV4_BYTES)) & 0xffff);
}

/** N7: TTL − 1 with the checksum updated incrementally. */
export const decrementTtl = (view: DataView, ip: number): void => addToTtl(view, ip, -0x0100);

/** Takes back a decrement. */
export const incrementTtl = (view: DataView, ip: number): void => addToTtl(view, ip, 0x0100);

function addToTtl(view: DataView, ip: number, change: number): void {
  const word = view.getUint16(ip + Ipv4.TTL);
  view.setUint16(ip + Ipv4.TTL, word + change);
  const field = view.getUint16(ip + Ipv4.CHECKSUM);
  view.setUint16(ip + Ipv4.CHECKSUM, updateField(field, deltaHalf(word, word + change)));
}

/** Is the checksum that of the header (RFC 1071 §1)? The header must be whole. */
export function isHeaderSumRight(view: DataView, ip: number): boolean {
  return fold(sumBytes(view, ip, (view.getUint8(ip) & 15) << 2)) === 0xffff;
}

/** Sets TOS bits, checksum updated incrementally. */
export function setTos(view: DataView, ip: number, tos: number): void {
  const word = view.getUint16(ip);
  const next = (word & 0xff00) | tos;
  view.setUint16(ip, next);
  view.setUint16(ip + Ipv4.CHECKSUM, updateField(view.getUint16(ip + Ipv4.CHECKSUM), deltaHalf(word, next)));
}

/** Has no length. */
const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
const COPIED = 0x80;

/**
 * Makes the options of a copied header those of a later fragment: what does not say "copied" becomes no operation, so the
 * header keeps its length (RFC 791 §3.1). What cannot be read is left as it is.
 */
export function dropUncopied(view: DataView, ip: number, header: number): void {
  const end = ip + header;
  for (let at = ip + IPV4_BYTES; at < end; ) {
    const type = view.getUint8(at);
    if (type === END_OF_OPTIONS) return;
    const length = type === NO_OPERATION || at + 1 === end ? 1 : view.getUint8(at + 1);
    if (length === 0 || at + length > end) return;
    if ((type & COPIED) === 0) for (let i = 0; i < length; i++) view.setUint8(at + i, NO_OPERATION);
    at += length;
  }
}
