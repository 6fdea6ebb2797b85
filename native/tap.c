#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "netlink.h"
#include "netns.h"
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

/* Opens a device of that name in the calling thread's namespace: a tun file belongs to its opener's. */
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
  return fd;
}

static int configure(const struct tap_options *o, int nl, int *index, struct failure *f)
{
  struct link link;
  if (netlink_link(nl, o->name, 0, &link, f) < 0) return -1;
  *index = link.index;
  if (netlink_change(nl, link.index, o->mac, (uint32_t)o->mtu, f) < 0) return -1;
  for (int i = 0; i < o->addresses; i++)
    if (netlink_address(nl, link.index, &o->address[i], o->prefix[i], f) < 0) return -1;
  if (netlink_up(nl, link.index, f) < 0) return -1;
  for (int i = 0; i < o->gateways; i++)
    if (netlink_default_route(nl, link.index, &o->gateway[i], f) < 0) return -1;
  return 0;
}

/* The steps know the link by index only: the message gains its name here. */
static void name_link(struct failure *f, const char *name)
{
  size_t at = strlen(f->attempt);
  if (strstr(f->attempt, name)) return;
  struct failure whole;
  fail(&whole, f->number, "%.*s on %s", (int)(at < 200 ? at : 200), f->attempt, name);
  *f = whole;
}

static int create_here(const struct tap_options *o, int *index, struct failure *f)
{
  int fd = open_tap(o->name, f);
  if (fd < 0) return -1;
  int nl = netlink_open(f);
  bool done = nl >= 0 && negotiate(fd, f) == 0 && configure(o, nl, index, f) == 0;
  if (nl >= 0) close(nl);
  if (done) return fd;
  name_link(f, o->name);
  close(fd);
  return -1;
}

int tap_create(const struct tap_options *o, int *index, struct failure *f)
{
  int back = netns_enter(o->netns, f);
  if (back < -1) return -1;
  int fd = create_here(o, index, f);
  netns_leave(back);
  return fd;
}

static int set_mtu_here(const char *name, int mtu, struct failure *f)
{
  struct link link;
  int nl = netlink_open(f);
  if (nl < 0) return -1;
  int done = netlink_link(nl, name, 0, &link, f);
  if (done == 0) done = netlink_change(nl, link.index, NULL, (uint32_t)mtu, f);
  close(nl);
  if (done < 0) name_link(f, name);
  return done;
}

int link_set_mtu(const char *netns, const char *name, int mtu, struct failure *f)
{
  int back = netns_enter(netns, f);
  if (back < -1) return -1;
  int done = set_mtu_here(name, mtu, f);
  netns_leave(back);
  return done;
}
