/*
 * One card: the shared region, the devices behind it, and the scratch its calls need. A card belongs to one
 * thread. Everything in the region is written by JavaScript too and is checked before use; what must be
 * trusted (descriptors, device kinds) lives here, outside the region.
 */
#ifndef TWILL_CARD_H
#define TWILL_CARD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "coalesce.h"
#include "failure.h"
#include "layout.h"
#include "pack.h"

struct limits {
  int32_t slots, slot_bytes, headroom, burst, tx_max, remotes, devices;
};

enum kind { KIND_NONE, KIND_TAP, KIND_UDP };

#define NOBODY (-1)

struct device {
  enum kind kind;
  bool gone;
  /* Links of the list of devices that may have something to read. */
  bool ready;
  int32_t next, previous;
  int fd;     /* TAP, or receiving socket */
  int family; /* of the sockets */
  int tx[TX_SOCKETS];
  /*
   * A route or a peer behind this socket refused UDP_SEGMENT: packs whose datagrams go out one by one before
   * it is tried again. Others behind the same socket, or the same one later, may take it.
   */
  int32_t plain[TX_SOCKETS];
  int32_t prefix; /* bytes before the Ethernet header of every datagram */
};

/* Messages one system call receives: a super-frame each, they should stay in the core's cache. */
#define INBOX 8

/* Messages of one socket on their way into bursts: [at, count) are still to come. */
struct inbox {
  int32_t device;
  int at, count;
  int32_t slot[INBOX];
  struct mmsghdr msg[INBOX];
  struct iovec iov[INBOX];
  union any_address name[INBOX];
  union any_control control[INBOX];
};

static inline bool inbox_waits(const struct inbox *in) { return in->at < in->count; }

struct card {
  struct limits limits;
  int32_t *field[FIELD_COUNT];
  uint8_t *arena;
  size_t bytes;
  void *mapping;
  size_t mapped;
  /* The buffer and every function of the handle; the last one to be collected frees the card. */
  int references;
  int epoll, wake;
  int32_t first, last;
  struct device *device;
  struct coalescer coalescer;
  struct inbox inbox;
  struct outbox out;
};

/* `offsets` has FIELD_COUNT + 2 entries: fields, arena, size. @returns NULL with `f` filled. */
struct card *card_create(const int32_t *offsets, const struct limits *l, struct failure *f);
/* Drops one reference. */
void card_release(struct card *c);
/* Forgets every device and closes epoll; the region stays. */
void card_close(struct card *c);

int card_add_tap(struct card *c, int32_t device, int fd, struct failure *f);
/* Every datagram starts with `prefix` bytes of a tunnel's header, the frame follows. */
int card_add_underlay(struct card *c, int32_t device, int rx, const int *tx, int32_t prefix, struct failure *f);
int card_remove(struct card *c, int32_t device, struct failure *f);
int card_set_wake(struct card *c, int fd, struct failure *f);

/* The kernel device behind a TAP vanished: silences it and tells the switch. */
void card_gone(struct card *c, int32_t device);
/* The list of ready devices: served from the front, queued at the back. */
void ready_push(struct card *c, int32_t device);
void ready_remove(struct card *c, int32_t device);

/* The card's clock: milliseconds, wrapping, never 0. */
int32_t card_now(void);
int32_t card_poll(struct card *c);
void card_flush(struct card *c);
/* The transmit status an errno means. */
int32_t card_status(int error);

#endif
