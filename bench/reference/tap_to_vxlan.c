/* Frames between one TAP and one VXLAN tunnel. */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coalesce.h"
#include "setup.h"
#include "tunnel.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* Messages of one receive, 64 KB each. Filled from the first on: a short queue stays in the cache. */
#define MESSAGES 16
/* Not a power of two: buffers at one offset of every page would share few sets of the cache. */
#define STRIDE (65536 + 192)

struct tunnel {
  struct arena arena;
  struct packer out;
  struct coalescer in;
  int tap, socket, mtu;
  uint8_t *bytes;
  struct mmsghdr message[MESSAGES];
  struct iovec vector[MESSAGES];
  char control[MESSAGES][CMSG_SPACE(sizeof(int))];
};

static bool encapsulate(struct tunnel *t)
{
  int frames = 0, supers = 0;
  for (t->arena.at = 0; frames < BURST && supers < BURST_SUPER; frames++) {
    vnet header;
    uint8_t *frame;
    int length = arena_read(&t->arena, t->tap, &header, &frame);
    if (length < 0) break;
    t->out.counters->bytes += (uint64_t)length;
    if (header.gso_type != 0) {
      supers++;
      split(&t->out, frame, length, &header);
      continue;
    }
    pack(&t->out, frame, length, &header);
    if (length <= SMALL)
      arena_keep(&t->arena, length);
    else
      pack_flush(&t->out); /* the arena has no room to keep it */
  }
  pack_flush(&t->out);
  t->out.counters->frames += (uint64_t)frames;
  return frames > 0;
}

/*
 * A kernel's VXLAN device hands a TCP super-frame to a veth as one datagram, with a pseudo-header sum for a
 * checksum and the segment size told to nobody: it follows from the MTU.
 */
static void accept_super(struct tunnel *t, uint8_t *at, int length)
{
  struct frame f;
  coalesce_flush(&t->in);
  if (!frame_parse(&f, at, length) || f.protocol != TCP) {
    t->in.counters->drops++;
    return;
  }
  vnet header = {
      .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
      .gso_type = f.v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
      .hdr_len = (uint16_t)f.headers,
      .gso_size = (uint16_t)(t->mtu + ETHERNET - f.headers),
      .csum_start = (uint16_t)f.l4,
      .csum_offset = 16,
  };
  tap_write(&t->in, &header, at, f.length);
}

static void decapsulate_one(struct tunnel *t, uint8_t *datagram, int length)
{
  vnet plain = {0};
  uint8_t *frame = datagram + VXLAN;
  t->in.counters->frames++;
  t->in.counters->bytes += (uint64_t)length;
  length -= VXLAN;
  if (length < ETHERNET || memcmp(datagram, t->out.vxlan, VXLAN) != 0)
    t->in.counters->drops++;
  else if (length > t->mtu + ETHERNET)
    accept_super(t, frame, length);
  else
    coalesce(&t->in, frame, length, &plain);
}

/* Length of the datagrams the kernel glued together; the whole of it when it glued none. */
static int piece(struct mmsghdr *m)
{
  int size = (int)m->msg_len;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg_hdr); c; c = CMSG_NXTHDR(&m->msg_hdr, c))
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) memcpy(&size, CMSG_DATA(c), sizeof size);
  return size > 0 ? size : 1;
}

static bool decapsulate(struct tunnel *t)
{
  for (int i = 0; i < MESSAGES; i++) {
    t->vector[i] = (struct iovec){t->bytes + i * STRIDE, 65536};
    t->message[i].msg_hdr = (struct msghdr){.msg_iov = &t->vector[i],
                                            .msg_iovlen = 1,
                                            .msg_control = t->control[i],
                                            .msg_controllen = sizeof t->control[i]};
  }
  int got = recvmmsg(t->socket, t->message, MESSAGES, MSG_DONTWAIT, NULL);
  for (int i = 0; i < got; i++) {
    uint8_t *at = t->vector[i].iov_base;
    int size = piece(&t->message[i]);
    for (int left = (int)t->message[i].msg_len; left > 0; left -= size, at += size)
      decapsulate_one(t, at, left < size ? left : size);
  }
  coalesce_flush(&t->in);
  return got > 0;
}

static bool turn(void *context)
{
  struct tunnel *t = context;
  bool out = encapsulate(t), in = decapsulate(t);
  return out || in;
}

int forward_vxlan(const struct options *o, struct counters *c, struct failure *f)
{
  static struct tunnel t;
  int index;
  t.mtu = o->mtu;
  t.bytes = malloc(MESSAGES * STRIDE);
  if (!t.bytes) return fail(f, errno, "memory for datagrams");
  if (arena_make(&t.arena, f) < 0) return -1;
  if ((t.socket = tunnel_receive(o, f)) < 0) return -1;
  if ((t.out.socket = tunnel_send(o, f)) < 0) return -1;
  if ((t.tap = tap_create(&o->tap[0], &index, f)) < 0) return -1;
  int whole = VXLAN + ETHERNET + o->mtu;
  if (tap_limit(&o->tap[0], index, SEND_MAX / whole, f) < 0) return -1;
  t.out.vxlan[0] = 0x08; /* "the VNI is valid" */
  put16(t.out.vxlan + 4, o->vni >> 8);
  t.out.vxlan[6] = (uint8_t)o->vni;
  t.out.batch = t.in.batch = o->batch;
  t.out.counters = t.in.counters = c;
  t.in.tap = t.tap;
  return forward((int[2]){t.tap, t.socket}, turn, &t, o->seconds, f);
}
