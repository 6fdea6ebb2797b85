#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "inet.h"
#include "netlink.h"
#include "netns.h"
#include "pack.h"
#include "vnet.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef TUNSETVNETLE
#define TUNSETVNETLE _IOW('T', 220, int)
#endif

/*
 * What the card can finish itself, best first. An unknown bit is EINVAL and changes nothing; USO4 and USO6
 * (Linux 6.2) are only taken together.
 */
static const unsigned long OFFLOADS[] = {
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
    TUN_F_CSUM,
    0,
};

static int negotiate(int fd, struct failure *f)
{
  int size = VNET_BYTES, little = 1;
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) return fail(f, errno, "TUNSETVNETHDRSZ %d", size);
  if (ioctl(fd, TUNSETVNETLE, &little) < 0) return fail(f, errno, "TUNSETVNETLE");
  for (size_t i = 0; i < sizeof OFFLOADS / sizeof *OFFLOADS; i++) {
    if (ioctl(fd, TUNSETOFFLOAD, OFFLOADS[i]) == 0) return 0;
    if (errno != EINVAL) break;
  }
  return fail(f, errno, "TUNSETOFFLOAD");
}

bool tap_takes_udp_super_frames(int fd) { return ioctl(fd, TUNSETOFFLOAD, OFFLOADS[0]) == 0 || errno != EINVAL; }

/* Opens a new device in the calling thread's namespace. */
static int open_tap(const char *name, struct failure *f)
{
  /* Nonblocking from the start, and no TUNSETSNDBUF ever: either would lose tun's cheap path for small frames. */
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fail(f, errno, "open /dev/net/tun");
  struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};
  memcpy(request.ifr_name, name, strlen(name) + 1);
  if (ioctl(fd, TUNSETIFF, &request) < 0) {
    /* IFF_TUN_EXCL: EBUSY for a taken name, whatever kind of link has it. */
    fail(f, errno == EBUSY ? EEXIST : errno, "create TAP %s", name);
    close(fd);
    return -1;
  }
  if (negotiate(fd, f) == 0) return fd;
  close(fd);
  return -1;
}

/*
 * A tun file holds a reference on the namespace it was opened in: opened inside the container's, it would
 * keep that alive, and its deletion would go unnoticed. So the device is made here under a passing name and
 * moved; afterwards the container's namespace dies as usual and takes the device with it.
 */
static int open_and_move(const struct tap_options *o, int netns, struct failure *f)
{
  char passing[IFNAMSIZ];
  int fd = -1;
  for (int tries = 0; fd < 0 && tries < 8; tries++) {
    uint32_t number = 0;
    if (getrandom(&number, sizeof number, 0) < 0) return fail(f, errno, "getrandom");
    snprintf(passing, sizeof passing, "twtap%08x", number);
    fd = open_tap(passing, f);
    if (fd < 0 && f->number != EEXIST) return -1;
  }
  if (fd < 0) return -1;
  struct link link;
  int nl = netlink_open(f);
  bool done = nl >= 0 && netlink_link(nl, passing, 0, &link, f) == 0 &&
              netlink_move(nl, link.index, netns, o->name, f) == 0;
  if (nl >= 0) close(nl);
  if (done) return fd;
  if (f->number == EEXIST)
    fail(f, EEXIST, "create TAP %s", o->name);
  else
    fail(f, f->number, "move TAP %s to %s", o->name, o->netns);
  close(fd);
  return -1;
}

/* A tunnel's header before every segment, at most. */
#define TUNNEL_HEADER 16
/* What the kernel keeps free of IFLA_GSO_MAX_SIZE for headers (MAX_TCP_HEADER, and one). */
#define TCP_ROOM 321
#define GSO_MAX 65536

/*
 * The largest super-frame whose segments leave in one pack: one read, one send, and at the far end one receive and
 * one write. A larger one would drag a short pack behind it.
 */
static uint32_t gso_size(int mtu)
{
  int segments = PACK_BYTES / (mtu + ETHERNET + TUNNEL_HEADER);
  if (segments < 1) return GSO_MAX;
  if (segments > PACK_DATAGRAMS) segments = PACK_DATAGRAMS;
  int size = segments * (mtu - IPV4_HEADER - TCP_HEADER) + TCP_ROOM;
  return (uint32_t)(size < GSO_MAX ? size : GSO_MAX);
}

/* The steps know the link by index only: the message gains its name here. */
static void name_link(struct failure *f, const char *name)
{
  struct failure whole;
  if (strstr(f->attempt, name)) return;
  fail(&whole, f->number, "%.200s on %s", f->attempt, name);
  *f = whole;
}

static int configure(const struct tap_options *o, int nl, int *index, struct failure *f)
{
  struct link link;
  if (netlink_link(nl, o->name, 0, &link, f) < 0) return -1;
  *index = link.index;
  if (netlink_change(nl, link.index, o->mac, (uint32_t)o->mtu, gso_size(o->mtu), f) < 0) return -1;
  for (int i = 0; i < o->addresses; i++)
    if (netlink_address(nl, link.index, &o->address[i], o->prefix[i], f) < 0) return -1;
  if (netlink_up(nl, link.index, f) < 0) return -1;
  for (int i = 0; i < o->gateways; i++)
    if (netlink_default_route(nl, link.index, &o->gateway[i], f) < 0) return -1;
  return 0;
}

static int configure_here(const struct tap_options *o, int *index, struct failure *f)
{
  int nl = netlink_open(f);
  if (nl < 0) return -1;
  int done = configure(o, nl, index, f);
  close(nl);
  if (done < 0) name_link(f, o->name);
  return done;
}

static int configure_there(const struct tap_options *o, int netns, int *index, struct failure *f)
{
  int back = netns_enter(netns, o->netns, f);
  if (back < 0) return -1;
  int done = configure_here(o, index, f);
  netns_leave(back);
  return done;
}

int tap_create(const struct tap_options *o, int *index, struct failure *f)
{
  int netns = -1;
  if (o->netns && (netns = netns_open(o->netns, f)) < 0) return -1;
  int fd = o->netns ? open_and_move(o, netns, f) : open_tap(o->name, f);
  int done = fd < 0 ? -1 : o->netns ? configure_there(o, netns, index, f) : configure_here(o, index, f);
  if (netns >= 0) close(netns);
  if (done == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

static int set_mtu_here(const char *name, int mtu, struct failure *f)
{
  struct link link;
  int nl = netlink_open(f);
  if (nl < 0) return -1;
  int done = netlink_link(nl, name, 0, &link, f);
  if (done == 0) done = netlink_change(nl, link.index, NULL, (uint32_t)mtu, gso_size(mtu), f);
  close(nl);
  if (done < 0) name_link(f, name);
  return done;
}

static int set_mtu_there(const char *netns, const char *name, int mtu, struct failure *f)
{
  int there = netns_open(netns, f);
  if (there < 0) return -1;
  int back = netns_enter(there, netns, f);
  close(there);
  if (back < 0) return -1;
  int done = set_mtu_here(name, mtu, f);
  netns_leave(back);
  return done;
}

int link_set_mtu(const char *netns, const char *name, int mtu, struct failure *f)
{
  return netns ? set_mtu_there(netns, name, mtu, f) : set_mtu_here(name, mtu, f);
}
