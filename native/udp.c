#include "udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_NO_CHECK6_RX
#define UDP_NO_CHECK6_RX 102
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_NO_CHECK
#define SO_NO_CHECK 11
#endif
#ifndef IPV6_DONTFRAG
#define IPV6_DONTFRAG 62
#endif

/* A 64 KB super-frame is charged at its true size: the default 212 KB holds two of them. */
#define BUFFER (16 << 20)

static int set(int fd, int level, int option, int value, const char *name, struct failure *f)
{
  if (setsockopt(fd, level, option, &value, sizeof value) < 0) return fail(f, errno, "set %s to %d", name, value);
  return 0;
}

/* FORCE passes net.core.*mem_max and needs CAP_NET_ADMIN; else what the limit allows. */
static void grow(int fd, int force, int option)
{
  int size = BUFFER;
  if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

static int make(const struct udp_options *o, struct failure *f)
{
  int fd = socket(o->address.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(f, errno, "open a UDP socket");
  /* Dual-stack sockets would take the IPv4 port as well. */
  if (o->address.family == AF_INET6 && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY", f) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static int prepare_rx(const struct udp_options *o, int fd, struct failure *f)
{
  struct sockaddr_storage at;
  socklen_t size = address_socket(&o->address, o->port, &at);
  grow(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  /* Many datagrams in one message where the kernel can (Linux 5.0), which read_control() tells from one. */
  int yes = 1;
  setsockopt(fd, IPPROTO_UDP, UDP_GRO, &yes, sizeof yes);
  if (o->address.family == AF_INET) {
    if (set(fd, IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS", f) < 0) return -1;
  } else {
    if (set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS", f) < 0) return -1;
    if (o->zero_checksum6 && set(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1, "UDP_NO_CHECK6_RX", f) < 0) return -1;
  }
  /* No SO_REUSEADDR or SO_REUSEPORT: two daemons on one port must find out. */
  if (bind(fd, (struct sockaddr *)&at, size) < 0)
    return fail(f, errno, "bind UDP %s port %d", o->address.text, o->port);
  return 0;
}

static int prepare_tx(const struct udp_options *o, int fd, struct failure *f)
{
  /* Nobody reads these sockets: what is sent to their ports should not occupy memory. */
  int none = 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &none, sizeof none);
  grow(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  if (o->address.family == AF_INET) {
    /* DO: a tunnel endpoint must not fragment (RFC 7348 section 4.3); too big is EMSGSIZE. */
    if (set(fd, IPPROTO_IP, IP_MTU_DISCOVER, o->df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT, "IP_MTU_DISCOVER", f) < 0)
      return -1;
    if (!o->checksum && set(fd, SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK", f) < 0) return -1;
    return set(fd, IPPROTO_IP, IP_TTL, o->ttl, "IP_TTL", f);
  }
  if (set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, o->df ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_DONT, "IPV6_MTU_DISCOVER",
          f) < 0)
    return -1;
  if (set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, o->df, "IPV6_DONTFRAG", f) < 0) return -1;
  return set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, o->ttl, "IPV6_UNICAST_HOPS", f);
}

/* Binds to the next free port at or after *offset of the range; *tried counts over all sockets. */
static int bind_source(const struct udp_options *o, int fd, uint32_t *offset, int *tried, struct failure *f)
{
  int ports = o->source_high - o->source_low + 1;
  for (; *tried < ports; ++*tried) {
    struct sockaddr_storage at;
    int port = o->source_low + (int)((*offset)++ % (uint32_t)ports);
    socklen_t size = address_socket(&o->address, port, &at);
    if (bind(fd, (struct sockaddr *)&at, size) == 0) {
      ++*tried;
      return 0;
    }
    if (errno != EADDRINUSE) return fail(f, errno, "bind UDP %s port %d", o->address.text, port);
  }
  return fail(f, EADDRINUSE, "bind %d UDP source ports of %s in %d-%d", TX_SOCKETS, o->address.text, o->source_low,
              o->source_high);
}

int udp_open(const struct udp_options *o, int *rx, int *tx, struct failure *f)
{
  /* Random: hosts that start alike should not hash alike, nor reuse the ports of the process before. */
  uint32_t offset = 0;
  if (getrandom(&offset, sizeof offset, GRND_NONBLOCK) < 0) offset = (uint32_t)getpid() * 2654435761u;
  offset %= 1u << 20;
  int made = 0, tried = 0;
  *rx = make(o, f);
  if (*rx < 0) return -1;
  if (prepare_rx(o, *rx, f) < 0) goto undo;
  for (; made < TX_SOCKETS; made++) {
    tx[made] = make(o, f);
    if (tx[made] < 0) goto undo;
    if (prepare_tx(o, tx[made], f) < 0 || bind_source(o, tx[made], &offset, &tried, f) < 0) {
      close(tx[made]);
      goto undo;
    }
  }
  return 0;

undo:
  while (made-- > 0) close(tx[made]);
  close(*rx);
  return -1;
}
