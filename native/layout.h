/*
 * The shared region of src/card/layout.ts, seen from C. Names and order are those of FIELDS there; the
 * loader compares them, and the offsets come from TypeScript, so a mismatch is an error and never a crash.
 */
#ifndef TWILL_LAYOUT_H
#define TWILL_LAYOUT_H

/* X(constant, name, words): `l` is a struct limits. */
#define TWILL_FIELDS(X)             \
  X(CONTROL, control, 16)           \
  X(START, start, l->slots)         \
  X(LENGTH, length, l->slots)       \
  X(DEVICE, device, l->slots)       \
  X(CSUM_START, csumStart, l->slots) \
  X(CSUM_OFFSET, csumOffset, l->slots) \
  X(GSO_TYPE, gsoType, l->slots)    \
  X(GSO_SIZE, gsoSize, l->slots)    \
  X(FAULT, fault, l->slots)         \
  X(TOS, tos, l->slots)             \
  X(REMOTE0, remote0, l->slots)     \
  X(REMOTE1, remote1, l->slots)     \
  X(REMOTE2, remote2, l->slots)     \
  X(REMOTE3, remote3, l->slots)     \
  X(FREE, free, l->slots)           \
  X(RX, rx, l->burst)               \
  X(TX_SLOT, txSlot, l->tx_max)     \
  X(TX_DEVICE, txDevice, l->tx_max) \
  X(TX_START, txStart, l->tx_max)   \
  X(TX_LENGTH, txLength, l->tx_max) \
  X(TX_REMOTE, txRemote, l->tx_max) \
  X(TX_TOS, txTos, l->tx_max)       \
  X(TX_ENTROPY, txEntropy, l->tx_max) \
  X(TX_STATUS, txStatus, l->tx_max) \
  X(REMOTES, remotes, l->remotes * REMOTE_WORDS) \
  X(DEVICES, devices, l->devices)

#define X(constant, name, words) constant,
enum field { TWILL_FIELDS(X) FIELD_COUNT };
#undef X

/* Words of `control`. */
enum {
  CTL_RX_COUNT = 0,
  CTL_TX_COUNT = 1,
  CTL_FREE_COUNT = 2,
  CTL_NOW = 3,
  CTL_TIMEOUT = 4,
  CTL_GONE_COUNT = 5,
  CTL_WOKEN = 6,
};

enum { STATE_NONE = 0, STATE_OPEN = 1, STATE_GONE = 2 };

/* gsoType: the values of the virtio-net header (virtio 1.2, 5.1.6). */
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5, GSO_ECN = 0x80 };

enum { FAULT_NONE = 0, FAULT_VNET = 1, FAULT_TRUNCATED = 2 };

enum { TX_SENT = 0, TX_BUSY = 1, TX_GONE = 2, TX_TOO_BIG = 3, TX_INVALID = 4, TX_ERROR = 5 };

/* Words of a row of `remotes`: address (4), port. */
#define REMOTE_WORDS 5
/* Bytes of a tunnel's header in front of a received frame, at most. */
#define PREFIX_MAX 64
/* Transmit sockets of an underlay device. */
#define TX_SOCKETS 16

#endif
