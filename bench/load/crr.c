/*
 * Connect, one byte there, one byte back, close: new connections per second. The client closes by reset, so
 * that no connection stays in TIME_WAIT and ports are free again at once; --fin closes in order instead.
 * Latency is that of the whole transaction.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "histogram.h"
#include "load.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

struct worker {
  pthread_t thread;
  const struct options *options;
  uint64_t end;
  uint64_t failed;
  int why; /* errno of the last failure */
  struct histogram latency;
};

/* Of several addresses of ours, so that one address' ports need not do for all. */
static bool bind_source(int fd, const struct address *a)
{
  struct sockaddr_storage at;
  int on = 1;
  socklen_t size = address_socket(a, 0, &at);
  /* Ports are chosen by connect(), which knows the destination: bind() would need one that is free for all. */
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  return bind(fd, (struct sockaddr *)&at, size) == 0;
}

static bool talk(int fd, const struct options *o, int turn)
{
  struct sockaddr_storage at;
  socklen_t size = address_socket(&o->to, o->port, &at);
  char byte = 'x';
  if (o->sources && !bind_source(fd, &o->source[turn % o->sources])) return false;
  if (connect(fd, (struct sockaddr *)&at, size) < 0) return false;
  if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) return false;
  ssize_t n = recv(fd, &byte, 1, 0);
  if (n == 0) errno = ECONNRESET; /* closed without an answer */
  return n == 1;
}

static bool transact(const struct options *o, int turn)
{
  const struct linger reset = {.l_onoff = 1, .l_linger = 0};
  int fd = socket(o->to.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  socket_timeout(fd, 1);
  bool done = talk(fd, o, turn);
  int why = errno;
  if (!o->fin || !done) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  errno = why;
  return done;
}

static void *work(void *argument)
{
  struct worker *w = argument;
  uint64_t at = now();
  for (int turn = 0; at < w->end; turn++) {
    bool done = transact(w->options, turn & 0xffff);
    if (!done) {
      w->why = errno;
      w->failed++;
      sleep_until(now() + 1000000); /* whatever is wrong: do not spin on it */
    }
    uint64_t then = now();
    if (done) histogram_add(&w->latency, then - at);
    at = then;
  }
  return NULL;
}

int crr(const struct options *o)
{
  struct worker *w = calloc((size_t)o->threads, sizeof *w);
  if (!w) die("memory for %d threads", o->threads);
  uint64_t start = now();
  for (int i = 0; i < o->threads; i++) {
    w[i] = (struct worker){.options = o, .end = after(start, o->seconds)};
    errno = pthread_create(&w[i].thread, NULL, work, &w[i]);
    if (errno) die("start thread %d", i + 1);
  }
  struct histogram *all = &w[0].latency;
  uint64_t failed = 0;
  for (int i = 0; i < o->threads; i++) {
    pthread_join(w[i].thread, NULL);
    failed += w[i].failed;
    if (i > 0) histogram_merge(all, &w[i].latency);
  }
  if (all->count == 0) {
    errno = w[0].why;
    die("no connection to %s port %d", o->to.text, o->port);
  }
  printf("{\"connections\":%lu,\"failed\":%lu,\"seconds\":%.6f,", all->count, failed, (double)(now() - start) / 1e9);
  histogram_print(all);
  puts("}");
  free(w);
  return 0;
}
