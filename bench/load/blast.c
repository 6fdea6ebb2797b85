/*
 * Sends datagrams over N flows, one socket and so one source port each, taking turns after every datagram:
 * the order hardest on whoever wants to batch. One flow goes out in sendmmsg batches; with --gso a turn is
 * one UDP_SEGMENT send. "sent" counts what the kernel took, "bytes" its payload.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datagram.h"
#include "load.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define BATCH 64
/* Most datagrams of a paced burst, and the least time between two. */
#define BURST 32
#define PAUSE (50 * 1000ull)
/* 7 : 4 : 1 */
static const int IMIX[12] = {64, 594, 64, 64, 594, 64, 1400, 64, 594, 64, 594, 64};

struct source {
  int *fd;
  int flows, size, gso; /* gso: datagrams per send, 0 without */
  uint32_t run;         /* upper half of every flow's name */
  uint64_t index;       /* of the next datagram, over all flows */
  uint64_t sent, errors, bytes;
  uint8_t *buffer; /* BATCH datagrams at `stride` */
  int stride;
};

/* The next datagram into place `at` of the buffer. @returns its length. */
static int stamp(struct source *s, int at)
{
  /* With --gso a turn is `gso` datagrams long. */
  uint64_t turn = s->gso ? (uint64_t)s->gso : 1, block = s->index / turn;
  uint64_t flow = block % (uint64_t)s->flows, round = block / (uint64_t)s->flows;
  /* The round moves the mix along: else flows whose number has a factor with 12 would see one size only. */
  int length = s->size == SIZE_IMIX ? IMIX[(s->index + round) % 12] : s->size;
  datagram_stamp(s->buffer + (size_t)at * (size_t)s->stride, length, s->run | (uint32_t)flow,
                 round * turn + s->index % turn);
  s->index++;
  return length;
}

static void count(struct source *s, bool done, int datagrams, int bytes)
{
  if (!done) {
    s->errors += (uint64_t)datagrams;
    return;
  }
  s->sent += (uint64_t)datagrams;
  s->bytes += (uint64_t)bytes;
}

static void send_batch(struct source *s, int n)
{
  struct mmsghdr message[BATCH];
  struct iovec vector[BATCH];
  for (int i = 0; i < n; i++) {
    vector[i] = (struct iovec){s->buffer + (size_t)i * (size_t)s->stride, (size_t)stamp(s, i)};
    message[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vector[i], .msg_iovlen = 1}};
  }
  for (int at = 0; at < n;) {
    int done = sendmmsg(s->fd[0], message + at, (unsigned)(n - at), 0);
    if (done <= 0) count(s, false, 1, 0);
    for (int i = at; i < at + done; i++) count(s, true, 1, (int)vector[i].iov_len);
    at += done > 0 ? done : 1; /* the one refused is lost */
  }
}

static void send_turn(struct source *s)
{
  int n = s->gso ? s->gso : 1, bytes = 0;
  int fd = s->fd[s->index / (uint64_t)n % (uint64_t)s->flows];
  for (int i = 0; i < n; i++) bytes += stamp(s, i);
  count(s, send(fd, s->buffer, (size_t)bytes, 0) == bytes, n, bytes);
}

static void send_some(struct source *s, int n)
{
  if (s->flows == 1 && !s->gso)
    send_batch(s, n);
  else
    for (int i = 0; i < n; i += s->gso ? s->gso : 1) send_turn(s);
}

/* How many datagrams are due; 0 after a sleep. */
static int due(const struct source *s, double rate, uint64_t start)
{
  uint64_t at = now(), offered = s->index;
  double ahead = (double)(at - start) * rate / 1e9 - (double)offered;
  if (ahead >= 1) return ahead < BURST ? (int)ahead : BURST;
  uint64_t next = start + (uint64_t)((double)(offered + 1) / rate * 1e9);
  sleep_until(next > at + PAUSE ? next : at + PAUSE);
  return 0;
}

static void open_flows(struct source *s, const struct options *o)
{
  struct rlimit files = {FLOWS_MAX + 64, FLOWS_MAX + 64};
  if (o->flows > 900 && setrlimit(RLIMIT_NOFILE, &files) < 0) die("allow %d open files", FLOWS_MAX + 64);
  s->fd = calloc((size_t)o->flows, sizeof *s->fd);
  if (!s->fd) die("memory for %d flows", o->flows);
  for (int i = 0; i < o->flows; i++) {
    s->fd[i] = socket_connect(SOCK_DGRAM, o);
    if (s->gso && setsockopt(s->fd[i], IPPROTO_UDP, UDP_SEGMENT, &o->size, sizeof o->size) < 0)
      die("set UDP_SEGMENT to %d", o->size);
  }
}

static void fill(struct source *s, const struct options *o)
{
  s->stride = o->size == SIZE_IMIX ? 1400 : o->size;
  s->buffer = malloc((size_t)BATCH * (size_t)s->stride);
  if (!s->buffer) die("memory for %d datagrams", BATCH);
  for (int i = 0; i < BATCH; i++) datagram_fill(s->buffer + (size_t)i * (size_t)s->stride, s->stride);
}

int blast(const struct options *o)
{
  struct source s = {.flows = o->flows, .size = o->size};
  if (o->gso) s.gso = SIZE_MAX_UDP / o->size < BATCH ? SIZE_MAX_UDP / o->size : BATCH;
  if (getrandom(&s.run, sizeof s.run, 0) < 0) die("getrandom");
  s.run &= 0xffff0000;
  fill(&s, o);
  open_flows(&s, o);
  prctl(PR_SET_TIMERSLACK, 1);

  uint64_t start = now(), end = after(start, o->seconds);
  while (now() < end) send_some(&s, o->rate > 0 ? due(&s, o->rate, start) : BATCH);
  printf("{\"sent\":%lu,\"errors\":%lu,\"bytes\":%lu,\"seconds\":%.6f}\n", s.sent, s.errors, s.bytes,
         (double)(now() - start) / 1e9);
  return 0;
}
