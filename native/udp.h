/* The sockets of an underlay device. */
#ifndef TWILL_UDP_H
#define TWILL_UDP_H

#include <stdbool.h>

#include "address.h"
#include "failure.h"
#include "layout.h"

struct udp_options {
  struct address address;
  int port;
  int source_low, source_high;
  int ttl;
  bool df, checksum, zero_checksum6;
};

/* One receiving and TX_SOCKETS transmitting sockets, all or nothing. */
int udp_open(const struct udp_options *o, int *rx, int *tx, struct failure *f);

#endif
