/*
 * Receives what pace sends, at --port and the one after it. Says "PORT NANOSECONDS" whenever a datagram arrives at
 * another port than the one before, and in the end how long they were on their way; --each: in the end also
 * "PORT SENT ARRIVED" of every datagram. An arrival is what the kernel stamped when the datagram left the interface,
 * whenever we are woken.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "histogram.h"
#include "load.h"

#define BUFFER (4 << 20)
#define EACH_MAX (1 << 20)

static volatile sig_atomic_t stopped;

static void stop(int number)
{
  (void)number;
  stopped = 1;
}

static int listen_at(int port)
{
  int fd = socket_serve(SOCK_DGRAM, port), on = 1, size = BUFFER;
  if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0) die("set SO_TIMESTAMPNS");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return fd;
}

/* The kernel's stamp by the clock that `now` reads. */
static uint64_t stamp_of(struct msghdr *m)
{
  struct timespec t, wall;
  uint64_t at = now();
  clock_gettime(CLOCK_REALTIME, &wall);
  for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    return at - (uint64_t)((wall.tv_sec - t.tv_sec) * (int64_t)SECOND + wall.tv_nsec - t.tv_nsec);
  }
  return at;
}

/* @returns false when nothing waits. */
static bool receive(int fd, uint64_t *sent, uint64_t *arrived)
{
  char control[CMSG_SPACE(sizeof(struct timespec))];
  struct iovec v = {sent, sizeof *sent};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(fd, &m, MSG_DONTWAIT) != (ssize_t)sizeof *sent) return false;
  *arrived = stamp_of(&m);
  return true;
}

static struct trip {
  uint64_t sent, arrived;
  int port;
} trips[EACH_MAX];

static void print_trips(uint64_t count)
{
  for (uint64_t i = 0; i < count && i < EACH_MAX; i++)
    printf("%d %lu %lu\n", trips[i].port, trips[i].sent, trips[i].arrived);
}

int pace_server(const struct options *o)
{
  static struct histogram h;
  struct pollfd ports[2] = {{.fd = listen_at(o->port), .events = POLLIN},
                            {.fd = listen_at(o->port + 1), .events = POLLIN}};
  uint64_t end = after(now(), o->seconds), sent, arrived;
  int last = -1;
  signal(SIGTERM, stop);
  ready();
  while (now() < end && !stopped) {
    if (poll(ports, 2, 100) < 0 && errno != EINTR) die("wait");
    for (int i = 0; i < 2; i++) {
      while (receive(ports[i].fd, &sent, &arrived)) {
        if (o->each && h.count < EACH_MAX) trips[h.count] = (struct trip){sent, arrived, o->port + i};
        histogram_add(&h, arrived > sent ? arrived - sent : 0);
        if (i == last || o->each) continue;
        last = i;
        printf("%d %lu\n", o->port + i, arrived);
        fflush(stdout);
      }
    }
  }
  if (o->each) print_trips(h.count);
  printf("{\"received\":%lu,", h.count);
  histogram_print(&h);
  puts("}");
  return 0;
}
