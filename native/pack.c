#include "pack.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "card.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* 65,535 minus IP and UDP headers. */
#define PAYLOAD_MAX_4 65507
#define PAYLOAD_MAX_6 65487

#define PART_SHORT 2048

/* Packs sent datagram by datagram after a refusal of UDP_SEGMENT. */
#define PLAIN_PACKS 1024

/* The destination of a remote's row. @returns its length, or 0 when this family cannot reach it. */
static socklen_t destination(const struct card *c, int family, int32_t row, union any_address *to)
{
  if (row < 0 || row >= c->limits.remotes) return 0;
  const int32_t *word = c->field[REMOTES] + (size_t)row * REMOTE_WORDS;
  int32_t port = word[4];
  if (port <= 0 || port > 0xffff) return 0;
  bool mapped = word[0] == 0 && word[1] == 0 && word[2] == 0xffff;
  if (mapped != (family == AF_INET)) return 0;
  if (mapped) {
    to->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to->in.sin_addr.s_addr = htonl((uint32_t)word[3]);
    return sizeof to->in;
  }
  to->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  for (int i = 0; i < 4; i++) to->in6.sin6_addr.s6_addr32[i] = htonl((uint32_t)word[i]);
  return sizeof to->in6;
}

bool pack_reachable(const struct card *c, int32_t device, int32_t row)
{
  union any_address to;
  return destination(c, c->device[device].family, row, &to) != 0;
}

static struct cmsghdr *put_control(struct cmsghdr *at, int level, int type, const void *value, size_t size)
{
  at->cmsg_level = level;
  at->cmsg_type = type;
  at->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(at), value, size);
  return (struct cmsghdr *)((uint8_t *)at + CMSG_SPACE(size));
}

/* Attaches control data: TOS unless 0, segment size unless 0. */
static void control(struct msghdr *h, union any_control *room, int family, int32_t tos, int32_t segment)
{
  struct cmsghdr *at = &room->align;
  if (tos) {
    int value = tos & 0xff;
    if (family == AF_INET)
      at = put_control(at, IPPROTO_IP, IP_TOS, &value, sizeof value);
    else
      at = put_control(at, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
  }
  if (segment) {
    uint16_t value = (uint16_t)segment; /* 16 bits on send, although the receiving side gets an int */
    at = put_control(at, SOL_UDP, UDP_SEGMENT, &value, sizeof value);
  }
  h->msg_controllen = (size_t)((uint8_t *)at - room->bytes);
  h->msg_control = h->msg_controllen ? room : NULL;
}

static void fail_request(struct card *c, int32_t request, int32_t why)
{
  int32_t *status = &c->field[TX_STATUS][request];
  if (*status == TX_SENT) *status = why;
}

/* Parts as short as frames of the usual MTU are put together: the kernel takes longer over a part than that takes. */
static void join(struct outbox *o, struct pack *p)
{
  if (p->parts == 1 || p->bytes > p->parts * PART_SHORT) return;
  uint8_t *at = o->joined;
  for (int i = 0; i < p->parts; i++) {
    memcpy(at, p->part[i].iov_base, p->part[i].iov_len);
    at += p->part[i].iov_len;
  }
  p->part[0] = (struct iovec){o->joined, (size_t)p->bytes};
  p->parts = 1;
}

/* @returns 0 or an errno */
static int send_together(const struct pack *p, int fd, struct msghdr *h, int family)
{
  union any_control room;
  h->msg_iov = (struct iovec *)p->part;
  h->msg_iovlen = (size_t)p->parts;
  control(h, &room, family, p->route.tos, p->count > 1 ? p->size : 0);
  /* An ICMP error that came back earlier is reported by the next send, whatever that sends, and then forgotten. */
  for (int tries = 0; tries < 3; tries++) {
    if (sendmsg(fd, h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR && errno != ECONNREFUSED) break;
  }
  return errno;
}

/* One system call for all, one datagram each. What stops one stops the rest of its kind. @returns were all sent? */
static bool send_singly(struct card *c, const struct pack *p, int fd, const struct msghdr *h, int family)
{
  struct mmsghdr msg[PACK_DATAGRAMS];
  struct iovec iov[PACK_DATAGRAMS];
  union any_control room;
  bool all = true, repeated = false;
  size_t left = (size_t)p->bytes, at_part = 0;
  const struct iovec *part = p->part;
  for (int i = 0; i < p->count; i++) {
    size_t bytes = left < (size_t)p->size ? left : (size_t)p->size;
    iov[i] = (struct iovec){(uint8_t *)part->iov_base + at_part, bytes};
    left -= bytes;
    at_part += bytes;
    if (at_part == part->iov_len) {
      part++;
      at_part = 0;
    }
    msg[i].msg_hdr = *h;
    msg[i].msg_hdr.msg_iov = &iov[i];
    msg[i].msg_hdr.msg_iovlen = 1;
    control(&msg[i].msg_hdr, &room, family, p->route.tos, 0); /* the same for each */
  }
  for (int at = 0; at < p->count;) {
    int sent = sendmmsg(fd, msg + at, (unsigned)(p->count - at), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      at += sent;
      repeated = false;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == ECONNREFUSED && !repeated) {
      repeated = true;
      continue;
    }
    int32_t why = card_status(errno);
    int last = at + 1;
    if (why == TX_BUSY) last = p->count;
    if (why == TX_TOO_BIG && last < p->count) last = p->closed ? p->count - 1 : p->count; /* all of one size */
    while (at < last) fail_request(c, p->request[at++], why);
    repeated = all = false;
  }
  return all;
}

static void post(struct card *c, struct pack *p)
{
  if (p->count == 0) return;
  struct device *d = &c->device[p->route.device];
  int fd = d->tx[p->route.socket], refused = 0;
  int32_t *plain = &d->plain[p->route.socket];
  union any_address to;
  struct msghdr h = {.msg_name = &to, .msg_namelen = destination(c, d->family, p->route.row, &to)};
  bool together = p->count == 1 || *plain == 0;
  if (p->count > 1 && *plain > 0) --*plain;
  if (together) {
    join(&c->out, p);
    refused = send_together(p, fd, &h, d->family);
  }
  /*
   * EIO: the route's device cannot finish checksums, or IPsec applies. EINVAL: no-check sockets, old kernels.
   * EMSGSIZE: a segment exceeds the path MTU, which a socket without DF may still fragment.
   */
  bool again = p->count > 1 && (refused == EIO || refused == EINVAL || refused == EMSGSIZE);
  if (!together || again) {
    bool sent = send_singly(c, p, fd, &h, d->family);
    /* Remember the refusal only when it was about segmentation: the same datagrams went out one by one. */
    if (sent && (refused == EIO || refused == EINVAL)) *plain = PLAIN_PACKS;
  } else if (refused) {
    for (int i = 0; i < p->count; i++) fail_request(c, p->request[i], card_status(refused));
  }
  p->count = 0;
}

void pack_post(struct card *c)
{
  for (int i = 0; i < TX_SOCKETS; i++) post(c, &c->out.pack[i]);
  c->out.scratch_used = 0;
}

void pack_prepare(struct card *c, int32_t bytes)
{
  if (c->out.scratch_used > 0 && c->out.scratch_used + bytes > PACK_SCRATCH) pack_post(c);
}

uint8_t *pack_scratch(struct card *c, int32_t bytes)
{
  struct outbox *o = &c->out;
  pack_prepare(c, bytes);
  uint8_t *at = o->scratch + o->scratch_used;
  o->scratch_used += bytes;
  return at;
}

/* Parts are merged where they meet: the kernel pays for each. */
static void append(struct pack *p, struct iovec datagram)
{
  struct iovec *last = p->parts > 0 ? &p->part[p->parts - 1] : NULL;
  if (last && (uint8_t *)last->iov_base + last->iov_len == datagram.iov_base)
    last->iov_len += datagram.iov_len;
  else
    p->part[p->parts++] = datagram;
}

void pack_add(struct card *c, const struct route_to *route, int32_t request, struct iovec datagram)
{
  struct pack *p = &c->out.pack[route->socket];
  int32_t bytes = (int32_t)datagram.iov_len;
  int32_t most = c->device[route->device].family == AF_INET ? PAYLOAD_MAX_4 : PAYLOAD_MAX_6;
  if (bytes > most) {
    fail_request(c, request, TX_TOO_BIG);
    return;
  }
  if (p->count > 0 && (p->closed || p->count == PACK_DATAGRAMS || bytes > p->size || p->bytes + bytes > PACK_BYTES ||
                       memcmp(&p->route, route, sizeof *route)))
    post(c, p);
  if (p->count == 0) {
    p->route = *route;
    p->bytes = p->parts = 0;
    p->size = bytes;
  }
  p->closed = bytes < p->size;
  p->bytes += bytes;
  p->request[p->count++] = request;
  append(p, datagram);
}
