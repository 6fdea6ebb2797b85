/*
 * Receive offload: frames of one flow that arrive in one burst become one super-frame, as a NIC's LRO or the
 * kernel's GRO makes it, so that everything behind costs once what it would cost for each. Splitting the
 * super-frame gives the frames back byte for byte (padding apart), and nothing waits: only what one poll found is
 * merged. Order inside a flow is kept; flows may overtake each other within a burst.
 *
 * A merged frame says "checksum partial", which makes the receiver believe its data, and gets a new IP checksum. So
 * both are verified before it is merged.
 */
#ifndef TWILL_COALESCE_H
#define TWILL_COALESCE_H

#include <stdbool.h>
#include <stdint.h>

#include "vnet.h"

/* Segments of one super-frame: what UDP_SEGMENT takes in one call on every kernel that has it. */
#define COALESCE_SEGMENTS 64
/* Super-frames open at once, by hash of their flow. */
#define COALESCE_BUCKETS 256

/* Where a frame comes from: only frames that agree in all of it are merged. */
struct origin {
  int32_t device, tos;
  uint32_t remote[4];
};

/* A frame that may be part of a super-frame: TCP or UDP with payload, in the headers every sender writes. */
struct segment {
  uint8_t *frame;  /* Ethernet header; `prefix` bytes before it belong to it */
  int32_t prefix;
  int32_t l4;      /* offsets from `frame` */
  int32_t headers; /* length of all headers */
  int32_t payload;
  uint32_t bucket;
  bool tcp, v6;
  bool partial;    /* the checksum is the pseudo-header's alone */
};

enum standing {
  APART,   /* no flow's order depends on it */
  BLOCKER, /* belongs to some flow that cannot be told: nothing may be merged across it */
  FOLLOWER, /* belongs to a flow, cannot be merged: later frames must not overtake it */
  SEGMENT,
};

/* A super-frame under construction, or its first frame. */
struct item {
  struct segment head;
  struct origin from;
  int32_t slot;
  int32_t size;  /* payload bytes of every segment but the last */
  int32_t end;   /* bytes from `head.frame` */
  int32_t count;
  uint32_t next; /* TCP sequence number that follows */
  bool verified;
  uint64_t addresses; /* their sum, once verified */
};

struct coalescer {
  uint16_t bucket[COALESCE_BUCKETS]; /* item + 1, 0 = none */
  int32_t count;
  bool udp;          /* every TAP takes UDP super-frames (Linux 6.2) */
  struct item *item; /* one per slot of a burst */
};

struct card;

/* Forgets the last burst. */
void coalesce_begin(struct coalescer *c);
/* `frame` has `length` bytes; `o` as received, valid. */
enum standing coalesce_read(struct segment *s, uint8_t *frame, int32_t prefix, int32_t length,
                            const struct offload *o);
/* Ends what `standing` says must end. @returns true when the segment became part of an earlier frame. */
bool coalesce_merge(struct coalescer *c, const struct segment *s, enum standing standing, const struct origin *from,
                    int32_t room);
/* A segment that was handed up in `slot` may be continued by later ones. */
void coalesce_lead(struct coalescer *c, const struct segment *s, const struct origin *from, int32_t slot);
/*
 * Is its checksum field the bare pseudo-header sum? A Linux VXLAN device sends what a local sender left partial as
 * it is (net/ipv4/ip_tunnel_core.c, iptunnel_handle_offloads).
 */
bool coalesce_is_partial(const struct segment *s);
/* Completes the headers and columns of every super-frame of this burst. */
void coalesce_finish(struct card *card);

#endif
