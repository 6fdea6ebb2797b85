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
