/**
 * ICMPv6 (RFC 4443 §2.1):  0 | type 8 | code 8 | checksum 16 |   4 | rest of header 32 |   8 | data …
 * The checksum covers the pseudo-header too.
 */
export const ICMPV6_BYTES = 8;

export const enum Icmpv6 {
  UNREACHABLE = 1,
  TOO_BIG = 2,
  TIME_EXCEEDED = 3,
  ECHO_REQUEST = 128,
  ECHO_REPLY = 129,
  ROUTER_SOLICITATION = 133,
  ROUTER_ADVERTISEMENT = 134,
  NEIGHBOR_SOLICITATION = 135,
  NEIGHBOR_ADVERTISEMENT = 136,
  REDIRECT = 137,
}

export const enum Unreachable6 {
  NO_ROUTE = 0,
  PROHIBITED = 1,
  BEYOND_SCOPE = 2,
  ADDRESS = 3,
  PORT = 4,
}

/** Errors that quote the packet they are about, for whoever translated it (N45). */
export const isRelatedIcmpv6 = (type: number): boolean => type >= Icmpv6.UNREACHABLE && type <= 4;

/** What must not be answered by an error (RFC 4443 §2.4 e): errors, and redirects. */
export const isIcmpv6Error = (type: number): boolean => type < 128 || type === Icmpv6.REDIRECT;

/** Neighbour discovery (RFC 4861 §4). */
export const isDiscovery = (type: number): boolean =>
  type >= Icmpv6.ROUTER_SOLICITATION && type <= Icmpv6.REDIRECT;
