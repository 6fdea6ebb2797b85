/*
 * Writing to a TAP. Frames that follow each other in a TCP connection or carry datagrams of one UDP flow
 * become one super-frame, gathered from where they lie. Order within a flow is kept.
 */
#ifndef REFERENCE_COALESCE_H
#define REFERENCE_COALESCE_H

#include <sys/uio.h>

#include "reference.h"

/* Flows collected at once; each has one place by its hash. */
#define GROUPS 64

struct group {
  struct frame first; /* becomes the super-frame's header */
  int count;          /* 0: empty */
  int size;           /* payload of every segment but the last */
  int payload;        /* of all */
  uint32_t next;      /* TCP sequence number that continues it */
  bool trusted;       /* the first one's checksum is known to be right */
  bool partial;       /* the first one's checksum is a pseudo-header sum */
  bool closed;        /* ends with a short segment or with PSH */
  struct iovec vector[1 + BURST];
};

struct coalescer {
  int tap, batch;
  struct counters *counters;
  int open; /* groups in `order` */
  uint8_t order[GROUPS];
  struct group group[GROUPS];
};

/* One small frame, which must stay where it is until the flush; `header` is what a TAP said of it, or all 0. */
void coalesce(struct coalescer *c, uint8_t *frame, int length, vnet *header);

void coalesce_flush(struct coalescer *c);

/* Writes one frame now. Who calls it with frames of a collected flow flushes first. */
void tap_write(struct coalescer *c, vnet *header, uint8_t *frame, int length);

#endif
