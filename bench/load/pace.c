/*
 * Datagrams at a constant rate, each with the moment it was sent: what a receiver in the same machine needs to
 * know how long each was on its way. --fresh sends each from another port, so that each is a flow of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

/* Where ports of --fresh begin, beside those the kernel hands out for as long as a run lasts. */
#define FIRST_PORT 1025
#define PORTS 31000

static int fresh(const struct options *o, uint64_t number)
{
  struct sockaddr_storage from;
  struct address any;
  struct failure f;
  int fd = socket(o->to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("open a socket");
  address_parse(&any, o->to.family == AF_INET ? "0.0.0.0" : "::", &f);
  socklen_t size = address_socket(&any, FIRST_PORT + (int)(number % PORTS), &from);
  /* A port that somebody has is left out. */
  if (bind(fd, (struct sockaddr *)&from, size) < 0 && errno != EADDRINUSE) die("bind");
  return fd;
}

int pace(const struct options *o)
{
  struct sockaddr_storage to;
  socklen_t size = address_socket(&o->to, o->port, &to);
  uint64_t sent = 0, lost = 0, start = now(), end = after(start, o->seconds);
  int fd = o->fresh ? -1 : socket_connect(SOCK_DGRAM, o);
  prctl(PR_SET_TIMERSLACK, 1);
  for (uint64_t at = start; at < end; at = after(start, (double)++sent / o->rate)) {
    sleep_until(at);
    if (o->fresh) fd = fresh(o, sent);
    uint64_t stamp = now();
    if (sendto(fd, &stamp, sizeof stamp, 0, (struct sockaddr *)&to, size) < 0) lost++;
    if (o->fresh) close(fd);
  }
  printf("{\"sent\":%lu,\"errors\":%lu}\n", sent, lost);
  return 0;
}
