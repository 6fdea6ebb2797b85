/* What the command line asks for. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"

#define FLOWS_MAX 10000
#define THREADS_MAX 256
#define SOURCES_MAX 64
/* IPv4's largest UDP payload. */
#define SIZE_MAX_UDP 65507
#define SIZE_IMIX 0

struct options {
  struct address to;
  int port;
  int size; /* payload bytes, or SIZE_IMIX */
  int flows;
  double seconds;
  double rate; /* datagrams per second, 0: as fast as it goes */
  int interval_us;
  int threads;
  bool tcp, gso, gro, fin, fresh, each;
  int sources; /* 0: the kernel chooses */
  struct address source[SOURCES_MAX];
};

/* Bits of `takes` and `needs`. */
enum {
  TO = 1 << 0,
  PORT = 1 << 1,
  SIZE = 1 << 2,
  FLOWS = 1 << 3,
  SECONDS = 1 << 4,
  RATE = 1 << 5,
  INTERVAL = 1 << 6,
  THREADS = 1 << 7,
  PROTO = 1 << 8,
  GSO = 1 << 9,
  GRO = 1 << 10,
  FIN = 1 << 11,
  FROM = 1 << 12,
  FRESH = 1 << 13,
  EACH = 1 << 14,
};

/*
 * Reads "--name value" and "--name" into `o`, whose fields already hold the defaults. Options outside
 * `takes`, values out of range and missing `needs` are wrong usage: said on stderr.
 * @returns whether the command line was right.
 */
bool options_read(struct options *o, char **argument, unsigned takes, unsigned needs);

#endif
