#include "setup.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "netns.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* A 64 KB super-frame is charged at its true size: the default 212 KB holds two of them. */
#define BUFFER (16 << 20)

static int udp(const struct options *o, int port, int buffer, struct failure *f)
{
  struct sockaddr_storage at;
  socklen_t length = address_socket(&o->local, port, &at);
  int fd = socket(o->local.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = BUFFER;
  if (fd < 0) return fail(f, errno, "open a UDP socket");
  if (setsockopt(fd, SOL_SOCKET, buffer, &size, sizeof size) < 0) return fail(f, errno, "set a socket buffer");
  if (bind(fd, (struct sockaddr *)&at, length) < 0) return fail(f, errno, "bind %s port %d", o->local.text, port);
  return fd;
}

int tunnel_receive(const struct options *o, struct failure *f)
{
  int on = 1, fd = udp(o, o->port, SO_RCVBUFFORCE, f);
  if (fd >= 0 && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) < 0) return fail(f, errno, "set UDP_GRO");
  return fd;
}

int tunnel_send(const struct options *o, struct failure *f)
{
  struct sockaddr_storage at;
  socklen_t length = address_socket(&o->remote, o->port, &at);
  bool v6 = o->remote.family == AF_INET6;
  int fd = udp(o, 0, SO_SNDBUFFORCE, f), discover = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;
  if (fd < 0) return -1;
  if (v6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover, sizeof discover)
         : setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover))
    return fail(f, errno, "forbid fragments");
  if (connect(fd, (struct sockaddr *)&at, length) < 0) return fail(f, errno, "connect to %s", o->remote.text);
  return fd;
}

static int limit_here(int index, uint32_t size, struct failure *f)
{
  struct {
    struct nlmsghdr h;
    struct ifinfomsg link;
    struct rtattr attribute;
    uint32_t size;
  } q = {
      .h = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_index = index},
      .attribute = {.rta_len = RTA_LENGTH(sizeof size), .rta_type = IFLA_GSO_MAX_SIZE},
      .size = size,
  };
  struct {
    struct nlmsghdr h;
    struct nlmsgerr error;
    uint8_t more[512];
  } r;
  int nl = netlink_open(f);
  if (nl < 0) return -1;
  ssize_t n = send(nl, &q, sizeof q, 0);
  if (n > 0) n = recv(nl, &r, sizeof r, 0);
  int why = n < 0 ? errno : r.h.nlmsg_type == NLMSG_ERROR ? -r.error.error : EBADMSG;
  close(nl);
  return why ? fail(f, why, "set gso_max_size %u", size) : 0;
}

int tap_limit(const struct tap_options *o, int index, int segments, struct failure *f)
{
  /* TCP keeps up to 321 bytes free for headers and fills the rest with segments of MTU - 52. */
  int size = segments * (o->mtu - 52) + 400;
  if (size > 65536) size = 65536;
  int there = netns_open(o->netns, f);
  if (there < 0) return -1;
  int back = netns_enter(there, o->netns, f);
  close(there);
  if (back < 0) return -1;
  int done = limit_here(index, (uint32_t)size, f);
  netns_leave(back);
  return done;
}
