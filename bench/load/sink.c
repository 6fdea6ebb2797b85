/*
 * Receives and checks datagrams on one socket. "received" counts everything that arrived, "corrupt",
 * "reordered" and "duplicates" are among it; "seconds" runs from the first to the last arrival.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "datagram.h"
#include "flows.h"
#include "load.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BATCH 64
/* Not a power of two: buffers at one offset of every page would share few sets of the cache. */
#define STRIDE (65536 + 192)
#define BUFFER (16 << 20)

struct tally {
  uint64_t received, bytes, reordered, duplicates, corrupt;
  struct flows *flows;
};

static struct inbox {
  struct mmsghdr message[BATCH];
  struct iovec vector[BATCH];
  char control[BATCH][CMSG_SPACE(sizeof(int))];
  uint8_t *bytes;
} inbox;

static volatile sig_atomic_t stopped;

static void stop(int number)
{
  (void)number;
  stopped = 1;
}

static int open_sink(const struct options *o)
{
  int fd = socket_serve(SOCK_DGRAM, o->port);
  int size = BUFFER, on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (o->gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) < 0) die("set UDP_GRO");
  socket_timeout(fd, 0.05); /* to look at the clock */
  return fd;
}

static void prepare(bool gro)
{
  for (int i = 0; i < BATCH; i++) {
    inbox.vector[i] = (struct iovec){inbox.bytes + (size_t)i * STRIDE, 65536};
    inbox.message[i].msg_hdr = (struct msghdr){.msg_iov = &inbox.vector[i], .msg_iovlen = 1};
    if (!gro) continue;
    inbox.message[i].msg_hdr.msg_control = inbox.control[i];
    inbox.message[i].msg_hdr.msg_controllen = sizeof inbox.control[i];
  }
}

/* Length of the datagrams glued into one message; the whole of it when none were. */
static int piece(struct mmsghdr *m)
{
  int size = (int)m->msg_len;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg_hdr); c; c = CMSG_NXTHDR(&m->msg_hdr, c))
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) memcpy(&size, CMSG_DATA(c), sizeof size);
  return size > 0 ? size : 1;
}

static void count(struct tally *t, const uint8_t *bytes, int length)
{
  struct datagram d;
  t->received++;
  t->bytes += (uint64_t)length;
  enum arrival how = datagram_read(bytes, length, &d) ? flows_note(t->flows, d.flow, d.sequence) : STRANGER;
  if (how == LATE) t->reordered++;
  if (how == TWICE) t->duplicates++;
  if (how == STRANGER) t->corrupt++;
}

int sink(const struct options *o)
{
  struct tally t = {.flows = flows_make(o->flows)};
  inbox.bytes = malloc((size_t)BATCH * STRIDE);
  if (!inbox.bytes) die("memory for %d datagrams", BATCH);
  int fd = open_sink(o);
  signal(SIGTERM, stop);
  ready();
  uint64_t first = 0, last = 0, at = now(), end = after(at, o->seconds + 3);
  while (at < end && !stopped) {
    prepare(o->gro);
    int got = recvmmsg(fd, inbox.message, BATCH, MSG_WAITFORONE, NULL);
    if (got < 0 && errno != EAGAIN && errno != EINTR) die("receive");
    at = now();
    if (got <= 0) continue;
    last = at;
    if (first == 0) {
      first = at;
      if (after(first, o->seconds) < end) end = after(first, o->seconds);
    }
    for (int i = 0; i < got; i++) {
      const uint8_t *bytes = inbox.vector[i].iov_base;
      int left = (int)inbox.message[i].msg_len, size = piece(&inbox.message[i]);
      do {
        count(&t, bytes, left < size ? left : size);
        bytes += size;
        left -= size;
      } while (left > 0);
    }
  }
  printf("{\"received\":%lu,\"bytes\":%lu,\"seconds\":%.6f,\"flows\":%d,\"reordered\":%lu,\"duplicates\":%lu,"
         "\"corrupt\":%lu}\n",
         t.received, t.bytes, (double)(last - first) / 1e9, flows_count(t.flows), t.reordered, t.duplicates,
         t.corrupt);
  return 0;
}
