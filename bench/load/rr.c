/*
 * Request and response, one at a time: how long a round trip takes. A request begins with its number, so
 * that an answer after the time limit is not taken for the next one's; "lost" counts those without answer.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "histogram.h"
#include "load.h"

/* @returns false when the answer did not come in time; exits when the connection is gone. */
static bool exchange(int fd, bool tcp, uint8_t *buffer, size_t size, uint64_t number)
{
  uint64_t got = 0;
  memcpy(buffer, &number, sizeof number);
  if (send(fd, buffer, size, MSG_NOSIGNAL) != (ssize_t)size) {
    /* UDP hears so of a server that is not there yet or any more */
    if (tcp) die("send");
    return false;
  }
  do {
    ssize_t n = recv(fd, buffer, size, tcp ? MSG_WAITALL : 0);
    if (tcp && n != (ssize_t)size) {
      if (n >= 0) errno = ECONNRESET;
      die("receive");
    }
    if (n < 0) return false;
    if (n == (ssize_t)size) memcpy(&got, buffer, sizeof got);
  } while (got != number);
  return true;
}

int rr(const struct options *o)
{
  static struct histogram h;
  static uint8_t buffer[SIZE_MAX_UDP];
  uint64_t lost = 0;
  int fd = socket_connect(o->tcp ? SOCK_STREAM : SOCK_DGRAM, o), on = 1;
  if (o->tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  prctl(PR_SET_TIMERSLACK, 1);
  uint64_t end = after(now(), o->seconds);
  for (uint64_t number = 1, at; (at = now()) < end; number++) {
    if (exchange(fd, o->tcp, buffer, (size_t)o->size, number))
      histogram_add(&h, now() - at);
    else
      lost++;
    if (o->interval_us) sleep_until(now() + (uint64_t)o->interval_us * 1000);
  }
  if (h.count == 0) {
    errno = ETIMEDOUT;
    die("no answer from %s port %d", o->to.text, o->port);
  }
  printf("{\"count\":%lu,\"lost\":%lu,", h.count, lost);
  histogram_print(&h);
  puts("}");
  return 0;
}
