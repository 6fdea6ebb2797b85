/* What the two forwarders share. */
#ifndef REFERENCE_REFERENCE_H
#define REFERENCE_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "address.h"
#include "failure.h"
#include "frame.h"
#include "tap.h"

/* Most frames of one burst, of one packed send and of one coalesced write (UDP_MAX_SEGMENTS of older kernels). */
#define BURST 64
/* Super-frames of one turn: they fill the cache. */
#define BURST_SUPER 8
/* What is longer is not worth collecting. */
#define SMALL 2048

struct counters {
  uint64_t frames, bytes; /* as read: a super-frame is one */
  uint64_t writes;        /* system calls that passed them on */
  uint64_t drops;
};

struct options {
  struct tap_options tap[2];
  int taps;
  int mtu, batch;
  double seconds;
  struct address local, remote; /* of the tunnel */
  int port, vni;
};

/* Forward until stopped() or for o->seconds; @returns -1 with `f` filled when set-up failed. */
int forward_tap(const struct options *o, struct counters *c, struct failure *f);
int forward_vxlan(const struct options *o, struct counters *c, struct failure *f);

/* Whether SIGTERM or SIGINT came. */
bool stopped(void);

/*
 * Says "ready" and calls `turn` until stopped: it returns whether there was anything to do, and when there
 * was not, the loop sleeps until one of the descriptors is readable.
 */
int forward(const int fd[2], bool (*turn)(void *), void *context, double seconds, struct failure *f);

/* One burst's frames, packed closely; the next burst overwrites them. */
struct arena {
  uint8_t *bytes;
  int at;
};

int arena_make(struct arena *a, struct failure *f);

/*
 * Reads one frame behind those kept; the 18 bytes before it are the caller's.
 * @returns its length, or -1 when there is none.
 */
int arena_read(struct arena *a, int tap, vnet *header, uint8_t **frame);

/* Keeps the frame read last until the burst ends. */
void arena_keep(struct arena *a, int length);

#endif
