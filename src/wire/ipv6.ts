/**
 * IPv6 (RFC 8200 §3), offsets from the header:
 *
 *  0 | version 4 | traffic class 8 | flow label 20 |
 *  4 | payload length 16 | next header 8 | hop limit 8 |
 *  8 | source 128 |
 * 24 | destination 128 |
 */
export const IPV6_BYTES = 40;

export const enum Ipv6 {
  PAYLOAD_LENGTH = 4,
  NEXT_HEADER = 6,
  HOP_LIMIT = 7,
  SOURCE = 8,
  DESTINATION = 24,
}

/** Next-header values of extension headers that are walked (RFC 8200 §4). */
export const enum Extension {
  HOP_BY_HOP = 0,
  ROUTING = 43,
  FRAGMENT = 44,
  DESTINATION = 60,
}

/** Traffic class: DSCP and ECN. */
export const trafficClass = (view: DataView, ip: number): number => (view.getUint16(ip) >>> 4) & 0xff;

export function setTrafficClass(view: DataView, ip: number, value: number): void {
  view.setUint16(ip, (view.getUint16(ip) & 0xf00f) | (value << 4));
}

/** Extension headers looked behind at most (N39). */
const MAX_EXTENSIONS = 8;
/** Offset of a fragment, and more-fragments: both 0 in a whole datagram, RFC 6946's atomic fragment. */
const FRAGMENT_OFFSET = 0xfff8;
const FRAGMENT_MASK6 = 0xfff9;

export const isExtension = (next: number): boolean =>
  next === Extension.HOP_BY_HOP ||
  next === Extension.ROUTING ||
  next === Extension.FRAGMENT ||
  next === Extension.DESTINATION;

/** What lies behind the extension headers of a packet; filled by `walk`. */
export class Chain {
  /** Next-header value of what follows the last header looked at. */
  protocol = 0;
  /** Its offset; in a later fragment of the piece of payload. */
  at = 0;
  /** Offset of the fragment header, 0 = none: the packet is no fragment, or an atomic one (N37). */
  fragment = 0;
}

/**
 * Walks the extension headers behind the IPv6 header at `ip`, in a payload that ends at `end`. AH and ESP are protocols
 * here: what they protect cannot be rewritten.
 * @returns false when the chain is longer than MAX_EXTENSIONS or cut off; `chain` then tells how far it came
 */
export function walk(view: DataView, ip: number, end: number, chain: Chain): boolean {
  chain.protocol = view.getUint8(ip + Ipv6.NEXT_HEADER);
  chain.at = ip + IPV6_BYTES;
  chain.fragment = 0;
  for (let n = 0; isExtension(chain.protocol); n++) {
    const { at } = chain;
    if (n === MAX_EXTENSIONS || at + 8 > end) return false;
    const isFragment = chain.protocol === Extension.FRAGMENT;
    if (isFragment && (view.getUint16(at + 2) & FRAGMENT_MASK6) !== 0) chain.fragment = at;
    chain.protocol = view.getUint8(at);
    chain.at = at + (isFragment ? 8 : (view.getUint8(at + 1) + 1) << 3);
    if (isFragment && isLaterFragment(view, at)) return true;
  }
  return chain.at <= end;
}

/** Is it not the first of its datagram? @param fragment offset of the fragment header */
export const isLaterFragment = (view: DataView, fragment: number): boolean =>
  (view.getUint16(fragment + 2) & FRAGMENT_OFFSET) !== 0;

/** fe80::/10, by the first word. */
export const isLinkLocal = (w0: number): boolean => w0 >>> 22 === 0x3fa;
/** ff00::/8, by the first word. */
export const isMulticast6 = (w0: number): boolean => w0 >>> 24 === 0xff;

/** Words 2 and 3 of the link-local address of a MAC (RFC 4291 appendix A); words 0 and 1 are LINK_LOCAL and 0. */
export const LINK_LOCAL = 0xfe800000 | 0;
export const interfaceId2 = (hi: number, lo: number): number =>
  ((hi ^ 0x0200) << 16) | ((lo >>> 16) & 0xff00) | 0xff;
export const interfaceId3 = (lo: number): number => 0xfe000000 | (lo & 0xffffff);

/** Solicited-node address ff02::1:ffxx:xxxx of a target by its last word (RFC 4291 §2.7.1): its word 3. */
export const SOLICITED_NODE = 0xff020000 | 0;
export const solicitedNode3 = (w3: number): number => 0xff000000 | (w3 & 0xffffff);
/** Ethernet multicast 33:33 + last word (RFC 2464 §7). */
export const MULTICAST_MAC_HI = 0x3333;

/** Writes all but the addresses: version 6, class and flow label 0. */
export function writeIpv6(view: DataView, at: number, payload: number, next: number, hopLimit: number): void {
  view.setInt32(at, 0x60000000);
  view.setInt32(at + Ipv6.PAYLOAD_LENGTH, (payload << 16) | (next << 8) | hopLimit);
}

export function writeAddress(
  view: DataView,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): void {
  view.setInt32(at, w0);
  view.setInt32(at + 4, w1);
  view.setInt32(at + 8, w2);
  view.setInt32(at + 12, w3);
}

/** Copies one address. */
export function copyAddress(view: DataView, from: number, to: number): void {
  writeAddress(
    view,
    to,
    view.getInt32(from),
    view.getInt32(from + 4),
    view.getInt32(from + 8),
    view.getInt32(from + 12),
  );
}
