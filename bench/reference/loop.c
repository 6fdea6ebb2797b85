#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "reference.h"

/* For a virtio-net header or a VXLAN header; IP headers lie on 4 bytes. */
#define ROOM 18
#define LINE 64
#define ARENA (BURST * (SMALL + ROOM + LINE) + ROOM + FRAME_MAX)
#define HUGE (2 << 20)

static double seconds_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int forward(const int fd[2], bool (*turn)(void *), void *context, double seconds, struct failure *f)
{
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return fail(f, errno, "create an epoll descriptor");
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd[i], &event) < 0) return fail(f, errno, "wait for a descriptor");
  }
  puts("ready");
  fflush(stdout);
  double end = seconds_now() + seconds;
  for (int turns = 0; !stopped();) {
    bool busy = turn(context);
    struct epoll_event event[2];
    /* Not for ever: a signal may come right before. */
    if (!busy) epoll_wait(epoll, event, 2, 100);
    if ((!busy || ++turns % 1024 == 0) && seconds_now() >= end) break;
  }
  close(epoll);
  return 0;
}

int arena_make(struct arena *a, struct failure *f)
{
  a->at = 0;
  a->bytes = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  _Static_assert(ARENA <= HUGE, "an arena is one mapping");
  return a->bytes == MAP_FAILED ? fail(f, errno, "memory for frames") : 0;
}

int arena_read(struct arena *a, int tap, vnet *header, uint8_t **frame)
{
  uint8_t *at = a->bytes + a->at + ROOM;
  ssize_t n = read(tap, at - sizeof *header, FRAME_MAX + sizeof *header);
  if (n < (ssize_t)sizeof *header) return -1;
  memcpy(header, at - sizeof *header, sizeof *header);
  *frame = at;
  return (int)n - (int)sizeof *header;
}

void arena_keep(struct arena *a, int length) { a->at += (ROOM + length + LINE - 1) / LINE * LINE; }
