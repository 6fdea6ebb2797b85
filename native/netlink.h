/* The few rtnetlink requests a TAP and a route look-up need, in the calling thread's namespace. */
#ifndef TWILL_NETLINK_H
#define TWILL_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "failure.h"

struct link {
  int index;
  uint32_t mtu;
  char name[IFNAMSIZ];
};

struct route {
  int index;
  /* configured for this route; 0 when it has none of its own */
  uint32_t mtu;
  /* family 0 when the kernel names no preferred source */
  struct address source;
};

/* @returns a descriptor for the calls below, or -1. */
int netlink_open(struct failure *f);

/* Reads a link by name, or by index when `name` is NULL. */
int netlink_link(int nl, const char *name, int index, struct link *out, struct failure *f);
/* `mac` may be NULL (unchanged). `gso`: largest super-frame, in the kernel's terms (IFLA_GSO_MAX_SIZE). */
int netlink_change(int nl, int index, const uint8_t *mac, uint32_t mtu, uint32_t gso, struct failure *f);
/* Moves a link into the namespace of descriptor `netns` and names it there. */
int netlink_move(int nl, int index, int netns, const char *name, struct failure *f);
int netlink_up(int nl, int index, struct failure *f);
/* IPv6 addresses skip duplicate address detection: the fabric assigned them. */
int netlink_address(int nl, int index, const struct address *a, int prefix, struct failure *f);
int netlink_default_route(int nl, int index, const struct address *gateway, struct failure *f);
/* A route of ours, which `ip route show proto 84` lists. */
struct way {
  struct address to, via, source;
  int prefix;
  int index; /* of the link, on which `via` is a neighbour whatever the addresses say */
};
/* EEXIST: somebody has a route to there. ESRCH: there was none to remove. */
int netlink_change_route(int nl, bool add, const struct way *w, struct failure *f);
int netlink_route(int nl, const struct address *to, struct route *out, struct failure *f);

#endif
