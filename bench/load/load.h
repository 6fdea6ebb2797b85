/* What the modes share: the clock, sockets, and the way to fail. A mode prints one JSON object. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "options.h"

#define SECOND 1000000000ull

/* Each returns the exit status. Servers print "ready" first, and end after `seconds`. */
int sink(const struct options *o);
int blast(const struct options *o);
int rr_server(const struct options *o);
int rr(const struct options *o);
int crr_server(const struct options *o);
int crr(const struct options *o);
int pace_server(const struct options *o);
int pace(const struct options *o);

/* Monotonic, in nanoseconds. */
static inline uint64_t now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static inline uint64_t after(uint64_t start, double seconds) { return start + (uint64_t)(seconds * 1e9); }

void sleep_until(uint64_t then);

/* Prints "twill-load: WHAT: reason of errno" and exits with 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Tells whoever waits on stdout that the port is open. */
void ready(void);

/* A socket of every local address, IPv6 and IPv4, bound to `port`; a listening one for SOCK_STREAM. */
int socket_serve(int type, int port);

/* Calls on `fd` fail with EAGAIN after `seconds`. */
void socket_timeout(int fd, double seconds);

/* Exits for every failure. */
int socket_connect(int type, const struct options *o);

#endif
