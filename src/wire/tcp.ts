/**
 * TCP (RFC 9293 §3.1), offsets from the header:
 *
 *  0 | source port 16 | destination port 16 |
 *  4 | sequence number 32 |
 *  8 | acknowledgment number 32 |
 * 12 | data offset 4 | reserved 4 | CWR ECE URG ACK PSH RST SYN FIN | window 16 |
 * 16 | checksum 16 | urgent pointer 16 |
 */
export const TCP_BYTES = 20;

export const enum Tcp {
  SOURCE_PORT = 0,
  DESTINATION_PORT = 2,
  SEQUENCE = 4,
  ACKNOWLEDGMENT = 8,
  DATA_OFFSET = 12,
  FLAGS = 13,
  WINDOW = 14,
  CHECKSUM = 16,
}

export const enum TcpFlag {
  FIN = 1,
  SYN = 2,
  RST = 4,
  PSH = 8,
  ACK = 16,
}

/** Option kinds and the length of their whole (RFC 9293 §3.1, RFC 7323 §2.2, RFC 2018). */
export const enum TcpOption {
  END = 0,
  NOP = 1,
  WINDOW_SCALE = 3,
  SACK_PERMITTED = 4,
  SACK = 5,
}

/** RFC 7323 §2.3. */
export const MAX_WINDOW_SCALE = 14;
