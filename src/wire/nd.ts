import { fold, pseudoSum6, sumBytes } from './checksum.ts';
import { writeMac } from './ethernet.ts';
import { Protocol } from './ipv4.ts';
import { IPV6_BYTES } from './ipv6.ts';

/**
 * Neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4), offsets from the ICMPv6 header:
 *
 *  0 | type 8 | code 8 | checksum 16 |   4 | R S O, in solicitations 0 | reserved 29 |
 *  8 | target 128 |  24 | options: type 8 | length 8, in units of 8 bytes | … |
 */
export const enum Nd {
  FLAGS = 4,
  TARGET = 8,
  OPTIONS = 24,
}

/** Bits of the byte at `Nd.FLAGS`. */
export const enum NdFlag {
  ROUTER = 0x80,
  SOLICITED = 0x40,
  OVERRIDE = 0x20,
}

export const enum NdOption {
  SOURCE_LINK = 1,
  TARGET_LINK = 2,
}

/** Every message a hop limit of 255 proves to be from this link (RFC 4861 §7.1). */
export const ND_HOP_LIMIT = 255;
/** A solicitation or advertisement with one link-layer option. */
export const ND_BYTES = 32;

/** Has every option a length, and does the last end where the message does? */
export function hasSoundOptions(view: DataView, at: number, end: number): boolean {
  while (at + 2 <= end) {
    const size = view.getUint8(at + 1) << 3;
    if (size === 0) return false;
    at += size;
  }
  return at === end;
}

/**
 * The MAC address in the first link-layer option of a kind. @param at offset of options that are sound
 * @returns its offset, or 0
 */
export function findLinkAddress(view: DataView, at: number, end: number, kind: NdOption): number {
  while (at < end) {
    if (view.getUint8(at) === kind && view.getUint8(at + 1) === 1) return at + 2;
    at += view.getUint8(at + 1) << 3;
  }
  return 0;
}

/**
 * Completes a message behind the IPv6 header at `ip`, which is written already, as is the target.
 * @param flags `NdFlag` bits; hi, lo: the link-layer address in the option `kind`
 */
export function finishNd(
  view: DataView,
  ip: number,
  type: number,
  flags: number,
  kind: NdOption,
  hi: number,
  lo: number,
): void {
  const icmp = ip + IPV6_BYTES;
  view.setInt32(icmp, type << 24);
  view.setInt32(icmp + Nd.FLAGS, flags << 24);
  view.setUint16(icmp + Nd.OPTIONS, (kind << 8) | 1);
  writeMac(view, icmp + Nd.OPTIONS + 2, hi, lo);
  const sum = pseudoSum6(view, ip, Protocol.ICMPV6, ND_BYTES) + sumBytes(view, icmp, ND_BYTES);
  view.setUint16(icmp + 2, ~fold(sum) & 0xffff);
}
