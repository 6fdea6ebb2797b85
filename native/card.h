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

#include "failure.h"
#include "layout.h"

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
   * A route or a peer behind this socket refused UDP_SEGMENT: super-frames whose segments go out one by one
   * before it is tried again. Others behind the same socket, or the same one later, may take it.
   */
  int32_t plain[TX_SOCKETS];
};

/* Datagrams received or sent by one system call; also the kernel's oldest limit of segments per send. */
#define BATCH 64
/* Prefix and headers of one segment: VXLAN, Ethernet, tags, IPv6 with some extensions, TCP with options. */
#define HEADER_MAX 512

union any_address {
  struct sockaddr sa;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
};

/* Control data of one message: room for a TOS and a segment size. */
union any_control {
  struct cmsghdr align;
  uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))];
};

struct messages {
  struct mmsghdr msg[BATCH];
  struct iovec iov[BATCH * 2];
  union any_address name[BATCH];
  union any_control control[BATCH];
};

/* Plain datagrams waiting for one sendmmsg, all for one socket. */
struct outbox {
  struct messages m;
  int fd;
  int count;
  int32_t request[BATCH];
};

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
  struct messages rx;
  struct outbox out;
  struct messages segments;
  uint8_t header[BATCH][HEADER_MAX];
};

/* `offsets` has FIELD_COUNT + 2 entries: fields, arena, size. @returns NULL with `f` filled. */
struct card *card_create(const int32_t *offsets, const struct limits *l, struct failure *f);
/* Drops one reference. */
void card_release(struct card *c);
/* Forgets every device and closes epoll; the region stays. */
void card_close(struct card *c);

int card_add_tap(struct card *c, int32_t device, int fd, struct failure *f);
int card_add_underlay(struct card *c, int32_t device, int rx, const int *tx, struct failure *f);
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

#endif
