/*
 * Transmit offload: datagrams of one socket to one remote leave in one system call, which the kernel splits (udp(7),
 * UDP_SEGMENT). All are of one size, only the last may be shorter; all share one TOS, hence one ECN mark (RFC 6040).
 * Whose datagrams they are does not matter: the segments of a super-frame and frames of many flows go together.
 * Order within a socket, and so within a flow, is kept.
 */
#ifndef TWILL_PACK_H
#define TWILL_PACK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "layout.h"

/* Datagrams of one call: the kernel's oldest limit. */
#define PACK_DATAGRAMS 64
/* A device takes up to 64 KiB at once, its link header included; the kernel would cut more than that in software. */
#define PACK_BYTES 65400
/* Segments made of super-frames, of all packs until they are posted: one full pack, which should stay in the cache. */
#define PACK_SCRATCH (64 << 10)

union any_address {
  struct sockaddr sa;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
};

/* Control data of one message: room for a TOS and a segment size. */
union any_control {
  struct cmsghdr align;
  uint8_t bytes[2 * CMSG_SPACE(sizeof(int))];
};

/* Who gets a datagram, and by which socket of which device. */
struct route_to {
  int32_t device, socket, row, tos;
};

/* Datagrams on their way into one call. */
struct pack {
  struct route_to route;
  int32_t count, bytes;
  int32_t size; /* of every datagram but the last */
  bool closed;  /* the last one is shorter */
  int32_t request[PACK_DATAGRAMS]; /* the transmit request each belongs to */
  int32_t parts;
  struct iovec part[PACK_DATAGRAMS]; /* datagrams that lie one behind the other are one part */
};

struct outbox {
  struct pack pack[TX_SOCKETS];
  int32_t scratch_used;
  uint8_t scratch[PACK_SCRATCH];
  uint8_t joined[PACK_BYTES];
};

struct card;

/* Can the device reach that row of `remotes`? */
bool pack_reachable(const struct card *c, int32_t device, int32_t row);
/* Posts everything if the scratch has less than `bytes` left: what is one pack should not become two. */
void pack_prepare(struct card *c, int32_t bytes);
/* `bytes` of scratch, at most PACK_SCRATCH, that stay until the next post; may post everything first. */
uint8_t *pack_scratch(struct card *c, int32_t bytes);
/* Queues one datagram. Failures are written to the status of `request`. */
void pack_add(struct card *c, const struct route_to *route, int32_t request, struct iovec datagram);
void pack_post(struct card *c);

#endif
