/**
 * ICMP (RFC 792):  0 | type 8 | code 8 | checksum 16 |   4 | rest of header 32 |   8 | data …
 */
export const ICMP_BYTES = 8;

export const enum Icmp {
  ECHO_REPLY = 0,
  UNREACHABLE = 3,
  REDIRECT = 5,
  ECHO_REQUEST = 8,
  TIME_EXCEEDED = 11,
  PARAMETER_PROBLEM = 12,
}

export const enum Unreachable {
  NET = 0,
  HOST = 1,
  PORT = 3,
  FRAGMENTATION_NEEDED = 4,
  PROHIBITED = 13,
}

/** Errors that quote the packet they are about, for whoever translated it (N45). */
export const isRelatedIcmp = (type: number): boolean => isIcmpError(type) && type !== Icmp.REDIRECT;

/** Errors must not be answered by errors (RFC 1812 §4.3.2.7). */
export const isIcmpError = (type: number): boolean =>
  type === Icmp.UNREACHABLE ||
  type === 4 ||
  type === Icmp.REDIRECT ||
  type === Icmp.TIME_EXCEEDED ||
  type === Icmp.PARAMETER_PROBLEM;
