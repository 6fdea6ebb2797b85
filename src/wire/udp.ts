/**
 * UDP (RFC 768):  0 | source port 16 | destination port 16 |   4 | length 16 | checksum 16 |
 * A complete checksum of 0 over IPv4 means "none"; a computed 0 is sent as 0xffff (N41).
 */
export const UDP_BYTES = 8;

export const enum Udp {
  SOURCE_PORT = 0,
  DESTINATION_PORT = 2,
  LENGTH = 4,
  CHECKSUM = 6,
}
