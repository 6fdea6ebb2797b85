/**
 * SCTP (RFC 9260 §3), offsets from the header; chunks follow it, each on a whole word:
 *
 *  0 | source port 16 | destination port 16 |        0 | type 8 | flags 8 | length 16 |
 *  4 | verification tag 32 |                         4 | of INIT and INIT ACK: initiate tag 32 | … to 20
 *  8 | CRC32c 32, least significant byte first |
 */
export const SCTP_BYTES = 12;
export const CHUNK_BYTES = 4;
export const INIT_BYTES = 20;

export const enum Sctp {
  SOURCE_PORT = 0,
  DESTINATION_PORT = 2,
  TAG = 4,
  CHECKSUM = 8,
}

export const enum Chunk {
  DATA = 0,
  INIT = 1,
  INIT_ACK = 2,
  HEARTBEAT = 4,
  HEARTBEAT_ACK = 5,
  ABORT = 6,
  SHUTDOWN = 7,
  SHUTDOWN_ACK = 8,
  ERROR = 9,
  COOKIE_ECHO = 10,
  COOKIE_ACK = 11,
  SHUTDOWN_COMPLETE = 14,
  /** Numbers from here on are extensions. */
  COUNT = 15,
}

/** Of ABORT and SHUTDOWN COMPLETE: the tag is the receiver's own, reflected (T). */
export const REFLECTED = 1;
