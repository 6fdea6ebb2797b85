/* Creating a container's interface: a TAP that ends up in its namespace. */
#ifndef TWILL_TAP_H
#define TWILL_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "failure.h"

#define TAP_ADDRESSES 16
#define TAP_GATEWAYS 2

struct tap_options {
  const char *netns; /* NULL: the caller's own */
  char name[IFNAMSIZ];
  uint8_t mac[6];
  int mtu;
  int addresses;
  struct address address[TAP_ADDRESSES];
  int prefix[TAP_ADDRESSES];
  int gateways;
  struct address gateway[TAP_GATEWAYS];
};

/* All or nothing: the device is not persistent, closing its descriptor destroys it. @returns the fd or -1. */
int tap_create(const struct tap_options *o, int *index, struct failure *f);

/* Does the kernel take UDP super-frames on this TAP? Anything but a clear no counts as yes. */
bool tap_takes_udp_super_frames(int fd);

int link_set_mtu(const char *netns, const char *name, int mtu, struct failure *f);

#endif
