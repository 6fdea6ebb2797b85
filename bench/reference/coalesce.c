#include "coalesce.h"

#include <arpa/inet.h>
#include <string.h>

#include "sum.h"

#define ACK 0x10
#define PSH 0x08

static void write_out(struct coalescer *c, vnet *header, struct iovec *vector, int count, int frames)
{
  vector[0] = (struct iovec){header, sizeof *header};
  ssize_t n = writev(c->tap, vector, count);
  c->counters->writes++;
  if (n < 0) c->counters->drops += (uint64_t)frames;
}

void tap_write(struct coalescer *c, vnet *header, uint8_t *frame, int length)
{
  struct iovec vector[2] = {{NULL, 0}, {frame, (size_t)length}};
  write_out(c, header, vector, 2, 1);
}

/* The first frame becomes the header of all; its own payload stays behind it. */
static void finish(const struct group *g, vnet *header)
{
  const struct frame *f = &g->first;
  header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header->csum_start = (uint16_t)f->l4;
  header->csum_offset = f->protocol == TCP ? 16 : 6;
  if (g->count == 1) return;
  /* The true length: 0 would make the kernel want the whole frame in one piece. */
  header->hdr_len = (uint16_t)f->headers;
  header->gso_size = (uint16_t)g->size;
  header->gso_type = f->protocol == UDP ? VIRTIO_NET_HDR_GSO_UDP_L4
                     : f->v6            ? VIRTIO_NET_HDR_GSO_TCPV6
                                        : VIRTIO_NET_HDR_GSO_TCPV4;
  frame_resize(f->at, f, g->payload);
  uint16_t sum = sum_fold(frame_pseudo(f, f->headers - f->l4 + g->payload));
  memcpy(frame_check(f), &sum, sizeof sum);
}

static void group_write(struct coalescer *c, struct group *g)
{
  vnet header = {0};
  if (g->count > 1 || g->partial) finish(g, &header);
  if (g->count > 0) write_out(c, &header, g->vector, 1 + g->count, g->count);
  g->count = 0;
}

void coalesce_flush(struct coalescer *c)
{
  for (int i = 0; i < c->open; i++) group_write(c, &c->group[c->order[i]]);
  c->open = 0;
}

static uint32_t get32(const uint8_t *p)
{
  uint32_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

static unsigned place(const struct frame *f)
{
  const uint8_t *ip = f->at + ETHERNET;
  uint32_t h = get32(f->at + f->l4) * 0x9e3779b1u; /* both ports */
  h ^= f->v6 ? get32(ip + 20) ^ get32(ip + 36) * 5 : get32(ip + 12) ^ get32(ip + 16) * 5;
  return h * 0x85ebca6bu >> 26;
}
_Static_assert(GROUPS == 1 << 6, "place() gives six bits");

/* Everything but lengths, checksums, the IPv4 identification and what continues() looks at. */
static bool same_flow(const struct frame *a, const struct frame *b)
{
  const uint8_t *p = a->at, *q = b->at;
  if (a->headers != b->headers || a->protocol != b->protocol || memcmp(p, q, ETHERNET + 2) != 0) return false;
  if (a->v6 ? memcmp(p + 16, q + 16, 2) || memcmp(p + 20, q + 20, 34) /* flow label; next header to addresses */
            : memcmp(p + 20, q + 20, 4) || memcmp(p + 26, q + 26, 8) /* fragmentation, TTL, protocol; addresses */)
    return false;
  p += a->l4;
  q += b->l4;
  if (get32(p) != get32(q)) return false;
  if (a->protocol == UDP) return true;
  /* acknowledgement, flags but PSH, window; options, timestamps among them */
  return memcmp(p + 8, q + 8, 5) == 0 && ((p[13] ^ q[13]) & ~PSH) == 0 && memcmp(p + 14, q + 14, 2) == 0 &&
         memcmp(p + 18, q + 18, (size_t)(a->headers - a->l4 - 18)) == 0;
}

static bool continues(const struct group *g, const struct frame *f, int batch)
{
  if (g->closed || g->count >= batch || f->payload > g->size) return false;
  if (g->first.headers + g->payload + f->payload > 65535) return false;
  if (f->protocol == TCP && ntohl(get32(f->at + f->l4 + 4)) != g->next) return false;
  return same_flow(&g->first, f);
}

static bool is_data(const struct frame *f)
{
  if (f->payload == 0) return false;
  return f->protocol == UDP || (f->at[f->l4 + 13] & ~PSH) == ACK;
}

static void add(struct group *g, const struct frame *f)
{
  uint8_t *flags = f->at + f->l4 + 13;
  g->count++;
  g->payload += f->payload;
  g->closed = f->payload < g->size;
  if (f->protocol == UDP) return;
  g->next = ntohl(get32(f->at + f->l4 + 4)) + (uint32_t)f->payload;
  if (!(*flags & PSH)) return;
  g->first.at[f->l4 + 13] |= PSH;
  g->closed = true;
}

/* To be merged is to be vouched for: a wrong checksum must stay one, for the receiver to see. */
static bool merge(struct group *g, const struct frame *f, bool partial)
{
  if (!g->trusted && !(g->trusted = frame_verify(&g->first))) return false;
  if (!partial && !frame_verify(f)) return false;
  g->vector[1 + g->count] = (struct iovec){f->at + f->headers, (size_t)f->payload};
  add(g, f);
  return true;
}

void coalesce(struct coalescer *c, uint8_t *at, int length, vnet *header)
{
  struct frame f;
  if (!frame_parse(&f, at, length)) {
    coalesce_flush(c);
    tap_write(c, header, at, length);
    return;
  }
  bool partial = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM || frame_partial(&f);
  unsigned where = place(&f);
  struct group *g = &c->group[where];
  if (g->count > 0) {
    if (is_data(&f) && continues(g, &f, c->batch) && merge(g, &f, partial)) return;
    group_write(c, g);
  } else {
    c->order[c->open++] = (uint8_t)where;
  }
  g->first = f;
  g->payload = 0;
  g->size = f.payload;
  g->trusted = g->partial = partial;
  g->vector[1] = (struct iovec){at, (size_t)f.length};
  add(g, &f);
  if (!is_data(&f)) g->closed = true;
}
