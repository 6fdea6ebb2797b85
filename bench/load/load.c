#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void sleep_until(uint64_t then)
{
  struct timespec t = {.tv_sec = (time_t)(then / SECOND), .tv_nsec = (long)(then % SECOND)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

void die(const char *format, ...)
{
  const char *reason = strerror(errno);
  va_list arguments;
  fputs("twill-load: ", stderr);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, ": %s\n", reason);
  exit(1);
}

void ready(void)
{
  puts("ready");
  fflush(stdout);
}

int socket_serve(int type, int port)
{
  struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int off = 0, on = 1;
  int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
  struct sockaddr *any = fd >= 0 ? (struct sockaddr *)&any6 : (struct sockaddr *)&any4;
  socklen_t size = fd >= 0 ? sizeof any6 : sizeof any4;
  if (fd >= 0)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  else if ((fd = socket(AF_INET, type | SOCK_CLOEXEC, 0)) < 0) /* a kernel without IPv6 */
    die("open a socket");
  /* A TCP port is free again while old connections linger. For UDP it would let two sinks share one port. */
  if (type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, any, size) < 0) die("bind port %d", port);
  if (type == SOCK_STREAM && listen(fd, 4096) < 0) die("listen on port %d", port);
  return fd;
}

void socket_timeout(int fd, double seconds)
{
  struct timeval t = {.tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)((seconds - (time_t)seconds) * 1e6)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

int socket_connect(int type, const struct options *o)
{
  struct sockaddr_storage at;
  socklen_t size = address_socket(&o->to, o->port, &at);
  int fd = socket(o->to.family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) die("open a socket");
  socket_timeout(fd, 1);
  if (connect(fd, (struct sockaddr *)&at, size) < 0) die("connect to %s port %d", o->to.text, o->port);
  return fd;
}
