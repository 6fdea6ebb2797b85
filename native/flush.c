/*
 * Transmit. Requests come from JavaScript and may say anything: each is checked against the region, the
 * device table and the frame before a byte leaves.
 */
#include "card.h"

#include <endian.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "checksum.h"
#include "segment.h"
#include "vnet.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* 65,535 minus IP and UDP headers. */
#define PAYLOAD_MAX_4 65507
#define PAYLOAD_MAX_6 65487

/* Super-frames sent segment by segment after a refusal of UDP_SEGMENT. */
#define PLAIN_FRAMES 1024

struct request {
  int32_t index, slot, device;
  uint8_t *frame;
  int32_t prefix; /* bytes before `frame` */
  int32_t length; /* bytes from `frame` */
  struct offload offload;
  int32_t headers;
};

static int32_t status_of(int error)
{
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return TX_BUSY;
    case EMSGSIZE:
      return TX_TOO_BIG;
    default:
      return TX_ERROR;
  }
}

/* Fills `r` from the region. @returns TX_SENT when it may be sent. */
static int32_t check(struct card *c, int32_t i, struct request *r)
{
  int32_t **f = c->field;
  r->index = i;
  r->device = f[TX_DEVICE][i];
  if (r->device < 0 || r->device >= c->limits.devices) return TX_INVALID;
  const struct device *d = &c->device[r->device];
  if (d->kind == KIND_NONE || d->gone) return TX_GONE;

  r->slot = f[TX_SLOT][i];
  if (r->slot < 0 || r->slot >= c->limits.slots) return TX_INVALID;
  int64_t low = (int64_t)r->slot * c->limits.slot_bytes;
  int64_t high = low + c->limits.slot_bytes;
  int64_t from = f[TX_START][i], bytes = f[TX_LENGTH][i], start = f[START][r->slot];
  if (from < low || bytes <= 0 || from + bytes > high) return TX_INVALID;
  if (start < from || start - from > c->limits.headroom || start > from + bytes) return TX_INVALID;
  r->frame = c->arena + start;
  r->prefix = (int32_t)(start - from);
  r->length = (int32_t)(from + bytes - start);

  r->offload.csum_start = f[CSUM_START][r->slot];
  r->offload.csum_offset = f[CSUM_OFFSET][r->slot];
  r->offload.gso_type = f[GSO_TYPE][r->slot];
  r->offload.gso_size = f[GSO_SIZE][r->slot];
  return offload_valid(&r->offload, r->frame, r->length, &r->headers) ? TX_SENT : TX_INVALID;
}

/* ---- TAP ---- */

/* tun copies hdr_len bytes into the linear part; 0 would make one 64 KB allocation of a large frame. */
#define PLAIN_HEADERS 128

static int32_t send_tap(struct card *c, const struct request *r)
{
  if (r->prefix != 0 || r->length < 14) return TX_INVALID;
  int32_t headers = r->headers ? r->headers : r->length < PLAIN_HEADERS ? r->length : PLAIN_HEADERS;
  struct vnet h = {.hdr_len = htole16((uint16_t)headers)};
  if (r->offload.csum_start) {
    h.flags = VNET_NEEDS_CSUM;
    h.csum_start = htole16((uint16_t)r->offload.csum_start);
    h.csum_offset = htole16((uint16_t)r->offload.csum_offset);
  }
  if (r->offload.gso_type) {
    h.gso_type = (uint8_t)r->offload.gso_type;
    h.gso_size = htole16((uint16_t)r->offload.gso_size);
  }
  struct iovec iov[2] = {{&h, VNET_BYTES}, {r->frame, (size_t)r->length}};
  ssize_t sent;
  do {
    sent = writev(c->device[r->device].fd, iov, 2);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return TX_SENT;
  switch (errno) {
    case EBADFD:
    case ENODEV:
      card_gone(c, r->device);
      return TX_GONE;
    case EINVAL:
      return TX_INVALID; /* the kernel's own reading of the header */
    default:
      return status_of(errno); /* EIO: the link is down, which its owner may undo */
  }
}

/* ---- UDP ---- */

/* The destination of a remote's row. @returns its length, or 0 when this device cannot reach it. */
static socklen_t destination(struct card *c, int family, int32_t row, union any_address *to)
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

static struct cmsghdr *put_control(struct cmsghdr *at, int level, int type, const void *value, size_t size)
{
  at->cmsg_level = level;
  at->cmsg_type = type;
  at->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(at), value, size);
  return (struct cmsghdr *)((uint8_t *)at + CMSG_SPACE(size));
}

/* Writes the control data of message `i`: TOS unless 0, segment size unless 0. */
static void control(struct messages *m, int i, int family, int32_t tos, int32_t segment)
{
  struct msghdr *h = &m->msg[i].msg_hdr;
  struct cmsghdr *at = &m->control[i].align;
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
  h->msg_controllen = (size_t)((uint8_t *)at - m->control[i].bytes);
  h->msg_control = h->msg_controllen ? &m->control[i] : NULL;
}

/*
 * Sends messages [0, count) of one socket. An ICMP error that came back earlier is reported by the next
 * send, whatever that sends: one repetition tells it from a failure of this message. A full queue stays full
 * for the rest of the batch.
 * @param status one entry per message
 * @param together the messages are parts of one frame: the first failure fails the rest unsent
 */
static void send_all(int fd, struct mmsghdr *msg, int count, int32_t *status, bool together)
{
  bool repeated = false;
  for (int at = 0; at < count;) {
    int sent = sendmmsg(fd, msg + at, (unsigned)(count - at), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      while (sent-- > 0) status[at++] = TX_SENT;
      repeated = false;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == ECONNREFUSED && !repeated) {
      repeated = true;
      continue;
    }
    repeated = false;
    int32_t why = status_of(errno);
    status[at++] = why;
    if (why == TX_BUSY || together)
      while (at < count) status[at++] = why;
  }
}

static void post(struct card *c)
{
  struct outbox *o = &c->out;
  if (o->count == 0) return;
  int32_t status[BATCH];
  send_all(o->fd, o->m.msg, o->count, status, false);
  for (int i = 0; i < o->count; i++) c->field[TX_STATUS][o->request[i]] = status[i];
  o->count = 0;
}

static void point(struct messages *m, int i, struct iovec *iov, size_t parts, union any_address *to, socklen_t size)
{
  m->msg[i].msg_hdr =
      (struct msghdr){.msg_name = to, .msg_namelen = size, .msg_iov = iov, .msg_iovlen = parts};
}

/* Queues a datagram that needs no segmentation; its status is written when the outbox is posted. */
static void send_plain(struct card *c, const struct request *r, int fd, int family, const union any_address *to,
                       socklen_t size)
{
  struct outbox *o = &c->out;
  if (o->count == BATCH || (o->count && o->fd != fd)) post(c);
  int i = o->count++;
  o->fd = fd;
  o->request[i] = r->index;
  o->m.name[i] = *to;
  o->m.iov[i] = (struct iovec){r->frame - r->prefix, (size_t)(r->prefix + r->length)};
  point(&o->m, i, &o->m.iov[i], 1, &o->m.name[i], size);
  control(&o->m, i, family, c->field[TX_TOS][r->index], 0);
}

/* Segments [first, first + count) of a plan: pairs of header and payload in c->segments.iov. */
static void build(struct card *c, const struct plan *p, int32_t first, int32_t count)
{
  for (int32_t i = 0; i < count; i++) {
    int32_t length;
    const uint8_t *payload = plan_payload(p, first + i, &length);
    plan_headers(p, first + i, c->header[i]);
    c->segments.iov[2 * i] = (struct iovec){c->header[i], (size_t)(p->prefix + p->headers)};
    c->segments.iov[2 * i + 1] = (struct iovec){(void *)payload, (size_t)length};
  }
}

/* One datagram per segment. @returns TX_SENT, or why one of them failed. */
static int32_t ship_singly(struct card *c, int fd, int family, int32_t tos, int32_t count, union any_address *to,
                           socklen_t size)
{
  struct messages *m = &c->segments;
  int32_t status[BATCH];
  for (int32_t i = 0; i < count; i++) {
    point(m, i, &m->iov[2 * i], 2, to, size);
    control(m, i, family, tos, 0);
  }
  send_all(fd, m->msg, count, status, true);
  return status[count - 1];
}

/* All segments in one system call, the kernel splits them (udp(7), UDP_SEGMENT). @returns 0 or an errno. */
static int ship_together(struct card *c, int fd, int family, int32_t tos, int32_t segment, int32_t count,
                         union any_address *to, socklen_t size)
{
  struct messages *m = &c->segments;
  point(m, 0, m->iov, (size_t)count * 2, to, size);
  control(m, 0, family, tos, segment);
  for (int tries = 0; tries < 3; tries++) {
    if (sendmsg(fd, &m->msg[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR && errno != ECONNREFUSED) break;
  }
  return errno;
}

static int32_t ship(struct card *c, struct device *d, int socket, int32_t tos, int32_t segment, int32_t count,
                    union any_address *to, socklen_t size)
{
  int fd = d->tx[socket];
  int refused = 0;
  if (count > 1 && d->plain[socket] == 0) {
    refused = ship_together(c, fd, d->family, tos, segment, count, to, size);
    if (refused == 0) return TX_SENT;
    /*
     * EIO: the route's device cannot finish checksums, or IPsec applies. EINVAL: no-check sockets, old
     * kernels. EMSGSIZE: a segment exceeds the path MTU, which a socket without DF may still fragment.
     */
    if (refused != EIO && refused != EINVAL && refused != EMSGSIZE) return status_of(refused);
  }
  int32_t status = ship_singly(c, fd, d->family, tos, count, to, size);
  /* Remember the refusal only when it was about segmentation: the same segments went out one by one. */
  if (status == TX_SENT && (refused == EIO || refused == EINVAL)) d->plain[socket] = PLAIN_FRAMES;
  return status;
}

/*
 * A super-frame. When a call in the middle fails the segments before it are out: the status tells of the
 * rest, and the transport recovers as from any loss.
 */
static int32_t send_segments(struct card *c, const struct request *r, int socket, union any_address *to,
                             socklen_t size)
{
  struct device *d = &c->device[r->device];
  struct plan p;
  if (!plan_make(&p, r->frame, r->prefix, r->length, &r->offload, r->headers)) return TX_INVALID;
  int32_t limit = d->family == AF_INET ? PAYLOAD_MAX_4 : PAYLOAD_MAX_6;
  int32_t segment = p.prefix + p.headers + p.size;
  if (p.count == 1) segment = p.prefix + p.headers + p.payload;
  if (segment > limit) return TX_TOO_BIG;
  int32_t most = limit / segment < BATCH ? limit / segment : BATCH;
  int32_t tos = c->field[TX_TOS][r->index];
  if (d->plain[socket] > 0) d->plain[socket]--;
  for (int32_t first = 0; first < p.count; first += most) {
    int32_t count = p.count - first < most ? p.count - first : most;
    build(c, &p, first, count);
    int32_t status = ship(c, d, socket, tos, segment, count, to, size);
    if (status != TX_SENT) return status;
  }
  return TX_SENT;
}

static int32_t send_udp(struct card *c, struct request *r)
{
  struct device *d = &c->device[r->device];
  union any_address to;
  socklen_t size = destination(c, d->family, c->field[TX_REMOTE][r->index], &to);
  if (size == 0) return TX_INVALID;
  int socket = (int)((uint32_t)c->field[TX_ENTROPY][r->index] % TX_SOCKETS);

  if (r->offload.gso_type != GSO_NONE) {
    post(c); /* what was queued before must leave before */
    return send_segments(c, r, socket, &to, size);
  }
  if (r->offload.csum_start) {
    /*
     * Finished in place: a complete checksum is right for every later request of the same slot, and a
     * flooded frame is summed once.
     */
    int32_t at = r->offload.csum_start;
    checksum_finish(r->frame + at, (size_t)(r->length - at), (size_t)r->offload.csum_offset);
    c->field[CSUM_START][r->slot] = 0;
    c->field[CSUM_OFFSET][r->slot] = 0;
  }
  send_plain(c, r, d->tx[socket], d->family, &to, size);
  return TX_SENT;
}

void card_flush(struct card *c)
{
  int32_t *control = c->field[CONTROL];
  int32_t count = control[CTL_TX_COUNT];
  count = count < 0 ? 0 : count > c->limits.tx_max ? c->limits.tx_max : count;
  for (int32_t i = 0; i < count; i++) {
    struct request r;
    int32_t status = check(c, i, &r);
    if (status == TX_SENT) status = c->device[r.device].kind == KIND_TAP ? send_tap(c, &r) : send_udp(c, &r);
    c->field[TX_STATUS][i] = status;
  }
  post(c);
  control[CTL_TX_COUNT] = 0;
}
