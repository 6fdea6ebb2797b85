#include "tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "sum.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define FIN 0x01
#define PSH 0x08
#define CWR 0x80

/* One system call for `datagrams` of `size` bytes, the last one possibly shorter: the kernel cuts them. */
static void ship(struct packer *p, int vectors, int datagrams, int size)
{
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))];
  struct msghdr m = {.msg_iov = p->vector, .msg_iovlen = (size_t)vectors};
  if (datagrams > 1) {
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    memcpy(CMSG_DATA(c), &(uint16_t){(uint16_t)size}, sizeof(uint16_t));
  }
  p->counters->writes++;
  if (sendmsg(p->socket, &m, 0) >= 0) return;
  /* ECONNREFUSED is the fate of an earlier datagram, told once: the peer was not there yet */
  if (errno != ECONNREFUSED || sendmsg(p->socket, &m, 0) < 0) p->counters->drops += (uint64_t)datagrams;
}

void pack_flush(struct packer *p)
{
  if (p->count > 0) ship(p, p->count, p->count, p->size);
  p->count = 0;
}

static void complete(uint8_t *frame, int length, const vnet *header)
{
  if (header->csum_start + header->csum_offset + 2 > length) return;
  uint8_t *l4 = frame + header->csum_start;
  uint16_t sum = (uint16_t)~sum_fold(sum_bytes(0, l4, (size_t)(length - header->csum_start)));
  /* 0 would say that a datagram has none */
  if (sum == 0 && header->csum_offset == 6) sum = 0xffff;
  memcpy(l4 + header->csum_offset, &sum, sizeof sum);
}

void pack(struct packer *p, uint8_t *frame, int length, const vnet *header)
{
  if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) complete(frame, length, header);
  memcpy(frame - VXLAN, p->vxlan, VXLAN);
  int size = VXLAN + length;
  if (p->closed || size > p->size || p->count >= p->batch || (p->count + 1) * p->size > SEND_MAX) pack_flush(p);
  if (p->count == 0) p->size = size;
  p->closed = size < p->size;
  p->vector[p->count++] = (struct iovec){frame - VXLAN, (size_t)size};
}

/* Headers of segment `i`, which carries `payload`. @returns their length. */
static int segment(uint8_t *out, const struct packer *p, const struct frame *f, int i, int size, bool last,
                   struct iovec payload)
{
  uint8_t *frame = out + VXLAN, *l4 = frame + f->l4;
  memcpy(out, p->vxlan, VXLAN);
  memcpy(frame, f->at, (size_t)f->headers);
  if (!f->v6) put16(frame + ETHERNET + 4, get16(frame + ETHERNET + 4) + i);
  frame_resize(frame, f, (int)payload.iov_len);
  if (f->protocol == TCP) {
    uint32_t sequence;
    memcpy(&sequence, l4 + 4, sizeof sequence);
    sequence = htonl(ntohl(sequence) + (uint32_t)(i * size));
    memcpy(l4 + 4, &sequence, sizeof sequence);
    if (i > 0) l4[13] &= (uint8_t)~CWR;
    if (!last) l4[13] &= (uint8_t)~(FIN | PSH);
  }
  uint8_t *check = l4 + (frame_check(f) - (f->at + f->l4));
  memset(check, 0, 2);
  int l4_header = f->headers - f->l4;
  uint64_t sum = frame_pseudo(f, l4_header + (int)payload.iov_len);
  sum = sum_header(sum, l4, (size_t)l4_header);
  uint16_t done = (uint16_t)~sum_fold(sum_bytes(sum, payload.iov_base, payload.iov_len));
  if (done == 0 && f->protocol == UDP) done = 0xffff;
  memcpy(check, &done, sizeof done);
  return VXLAN + f->headers;
}

void split(struct packer *p, uint8_t *frame, int length, const vnet *header)
{
  struct frame f;
  int size = header->gso_size;
  pack_flush(p);
  if (size == 0 || !frame_parse(&f, frame, length)) {
    p->counters->drops++;
    return;
  }
  int count = (f.payload + size - 1) / size, whole = VXLAN + f.headers + size;
  int most = SEND_MAX / whole < BURST ? SEND_MAX / whole : BURST;
  for (int i = 0, n = 0; i < count; i++) {
    int left = f.payload - i * size;
    struct iovec payload = {f.at + f.headers + i * size, (size_t)(left < size ? left : size)};
    int bytes = segment(p->header[n], p, &f, i, size, i == count - 1, payload);
    p->vector[2 * n] = (struct iovec){p->header[n], (size_t)bytes};
    p->vector[2 * n + 1] = payload;
    if (++n < most && i < count - 1) continue;
    ship(p, 2 * n, n, whole);
    n = 0;
  }
}
