#include "coalesce.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "card.h"
#include "checksum.h"
#include "inet.h"

/* Largest IP packet: the total length of IPv4, the payload length of IPv6 and the kernel's GSO limit at once. */
#define IP_MAX 65535
/* Of one segment: a tunnel's, Ethernet, IPv6, TCP with all its options. */
#define HEADERS_MAX (PREFIX_MAX + ETHERNET + IPV6_HEADER + 60)

void coalesce_begin(struct coalescer *c)
{
  memset(c->bucket, 0, sizeof c->bucket);
  c->count = 0;
}

/* A hash needs no secret: whoever makes flows collide only keeps them from being merged. */
static uint32_t hash(const uint8_t *addresses, int bytes, const uint8_t *ports)
{
  uint32_t h = load32(ports) * 0x9e3779b1u;
  for (int i = 0; i < bytes; i += 4) h = (h ^ load32(addresses + i)) * 0x85ebca6bu;
  return (h ^ h >> 15) * 0xc2b2ae35u >> 24;
}

static enum standing read_tcp(struct segment *s, int32_t rest)
{
  if (rest < TCP_HEADER) return BLOCKER;
  const uint8_t *tcp = s->frame + s->l4;
  int32_t header = tcp_header(tcp);
  s->headers = s->l4 + header;
  s->payload = rest - header;
  bool plain = (tcp[TCP_FLAGS] & ~TCP_PSH) == TCP_ACK && (tcp[12] & 15) == 0;
  return header >= TCP_HEADER && s->payload > 0 && plain ? SEGMENT : FOLLOWER;
}

static enum standing read_udp(struct segment *s, int32_t rest)
{
  if (rest < UDP_HEADER) return BLOCKER;
  const uint8_t *udp = s->frame + s->l4;
  s->headers = s->l4 + UDP_HEADER;
  s->payload = rest - UDP_HEADER;
  /* Without a checksum there is nothing to vouch for: a super-frame would give it one. */
  bool has_sum = s->partial || load16(udp + UDP_CHECKSUM) != 0;
  return get16(udp + UDP_LENGTH) == rest && s->payload > 0 && has_sum ? SEGMENT : FOLLOWER;
}

enum standing coalesce_read(struct segment *s, uint8_t *frame, int32_t prefix, int32_t length,
                            const struct offload *o)
{
  if (length < ETHERNET + IPV4_HEADER) return APART;
  const uint8_t *ip = frame + ETHERNET;
  int32_t room = length - ETHERNET, total;
  uint8_t protocol;
  *s = (struct segment){.frame = frame, .prefix = prefix, .partial = o->csum_start != 0};
  switch (get16(frame + 12)) {
    case ETHERTYPE_IPV4:
      total = get16(ip + IPV4_TOTAL);
      if (ip[0] != 0x45 || (get16(ip + IPV4_FRAGMENT) & IPV4_MF_OFFSET) || total > room) return BLOCKER;
      protocol = ip[IPV4_PROTOCOL];
      s->l4 = ETHERNET + IPV4_HEADER;
      break;
    case ETHERTYPE_IPV6:
      if (room < IPV6_HEADER || ip[0] >> 4 != 6) return BLOCKER;
      total = IPV6_HEADER + get16(ip + IPV6_PAYLOAD);
      if (total > room) return BLOCKER;
      protocol = ip[IPV6_NEXT];
      s->l4 = ETHERNET + IPV6_HEADER;
      s->v6 = true;
      break;
    default:
      return APART;
  }
  s->tcp = protocol == IPPROTO_TCP;
  if (!s->tcp && protocol != IPPROTO_UDP) return BLOCKER;
  int32_t rest = total - (s->l4 - ETHERNET);
  enum standing standing = s->tcp ? read_tcp(s, rest) : read_udp(s, rest);
  if (standing == BLOCKER) return BLOCKER;
  s->bucket = hash(ip + (s->v6 ? IPV6_ADDRESSES : IPV4_ADDRESSES), s->v6 ? 32 : 8, frame + s->l4);
  int32_t field = s->tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  bool odd = s->partial && (o->csum_start != s->l4 || o->csum_offset != field);
  return standing == SEGMENT && (odd || o->gso_type != GSO_NONE) ? FOLLOWER : standing;
}

static uint64_t sum_addresses(const struct segment *s)
{
  return sum_bytes(0, s->frame + ETHERNET + (s->v6 ? IPV6_ADDRESSES : IPV4_ADDRESSES), s->v6 ? 32 : 8);
}

/* Sum of what the L4 checksum covers besides the L4 header and its payload. */
static uint64_t pseudo(const struct segment *s, uint64_t addresses, int32_t l4_length)
{
  uint64_t rest = htons(s->tcp ? IPPROTO_TCP : IPPROTO_UDP) + (uint64_t)htons((uint16_t)l4_length);
  return sum_add(addresses, rest);
}

static bool has_pseudo_sum(const struct segment *s, uint64_t addresses)
{
  uint16_t field = load16(s->frame + s->l4 + (s->tcp ? TCP_CHECKSUM : UDP_CHECKSUM));
  return field == sum_fold(pseudo(s, addresses, s->headers - s->l4 + s->payload));
}

bool coalesce_is_partial(const struct segment *s) { return has_pseudo_sum(s, sum_addresses(s)); }

static bool is_ipv4_sum_right(const struct segment *s, uint64_t addresses)
{
  const uint8_t *ip = s->frame + ETHERNET;
  return sum_finish(sum_add(addresses, (uint64_t)load32(ip) + load32(ip + 4) + load32(ip + 8))) == 0;
}

/*
 * A partial checksum never left the machine of its sender. A TAP says which are partial; behind a tunnel's header the
 * field has to tell. TCP with such a field may be a peer's super-frame, of a segment size that only the overlay knows
 * (Inner.restoreSuperFrame): not a segment of anything.
 */
static bool is_believed(const struct segment *s, uint64_t addresses)
{
  return s->partial || (s->prefix > 0 && !s->tcp && has_pseudo_sum(s, addresses));
}

/* Is the first frame of a super-frame what its sender sent? Asked once. */
static bool verify(struct item *it)
{
  const struct segment *s = &it->head;
  if (it->verified) return true;
  it->addresses = sum_addresses(s);
  if (!s->v6 && !is_ipv4_sum_right(s, it->addresses)) return false;
  int32_t length = s->headers - s->l4 + s->payload;
  uint64_t sum = pseudo(s, it->addresses, length);
  it->verified = is_believed(s, it->addresses) ||
                 sum_finish(sum_bytes(sum, s->frame + s->l4, (size_t)length)) == 0;
  return it->verified;
}

/*
 * Moves the payload of `s` behind the super-frame, if it is what its sender sent, which shows while it is moved. Both
 * may lie in one buffer, the target never behind the source; then the segment's own headers are lost, or put back.
 */
static bool absorb(struct item *it, const struct segment *s)
{
  uint8_t kept[HEADERS_MAX], *start = s->frame - s->prefix, *target = it->head.frame + it->end;
  const size_t before = (size_t)(s->prefix + s->headers), payload = (size_t)s->payload;
  if (!s->v6 && !is_ipv4_sum_right(s, it->addresses)) return false;
  if (is_believed(s, it->addresses)) {
    memmove(target, start + before, payload);
    return true;
  }
  const int32_t l4_header = s->headers - s->l4;
  uint64_t sum = sum_bytes(pseudo(s, it->addresses, l4_header + s->payload), s->frame + s->l4, (size_t)l4_header);
  memcpy(kept, start, before);
  if (sum_finish(sum_copy(sum, target, start + before, payload)) == 0) return true;
  memmove(start + before, target, payload);
  memcpy(start, kept, before);
  return false;
}

/* Equal in everything that every segment of a super-frame shares? Lengths, checksums and ids are judged apart. */
static bool same_headers(const struct segment *a, const struct segment *b)
{
  const uint8_t *p = a->frame, *q = b->frame;
  if (a->l4 != b->l4 || a->headers != b->headers || a->tcp != b->tcp || a->prefix != b->prefix) return false;
  if (memcmp(p - a->prefix, q - b->prefix, (size_t)a->prefix + ETHERNET + 2)) return false;
  p += ETHERNET;
  q += ETHERNET;
  if (a->v6) {
    if (memcmp(p + 2, q + 2, 2) || memcmp(p + IPV6_NEXT, q + IPV6_NEXT, 34)) return false;
  } else if (memcmp(p + IPV4_FRAGMENT, q + IPV4_FRAGMENT, 4) || memcmp(p + IPV4_ADDRESSES, q + IPV4_ADDRESSES, 8)) {
    return false;
  }
  p = a->frame + a->l4;
  q = b->frame + b->l4;
  if (load32(p) != load32(q)) return false;
  if (!a->tcp) return true;
  uint32_t but_push = ~htonl(TCP_PSH << 16);
  return load32(p + 8) == load32(q + 8) && (load32(p + 12) & but_push) == (load32(q + 12) & but_push) &&
         !memcmp(p + TCP_URGENT, q + TCP_URGENT, (size_t)(a->headers - a->l4 - TCP_URGENT));
}

/* Does `s` carry on where the super-frame ends, so that splitting makes it again? */
static bool continues(const struct item *it, const struct segment *s)
{
  if (s->payload > it->size || it->count == COALESCE_SEGMENTS) return false;
  if (it->end + s->payload - ETHERNET > IP_MAX || !same_headers(&it->head, s)) return false;
  const uint8_t *first = it->head.frame + ETHERNET, *ip = s->frame + ETHERNET;
  /* An atomic packet's identification means nothing (RFC 6864 section 4.1); others are counted on by the splitter. */
  if (!s->v6 && !(get16(ip + IPV4_FRAGMENT) & IPV4_DF) &&
      (uint16_t)(get16(first + IPV4_ID) + it->count) != get16(ip + IPV4_ID))
    return false;
  return !s->tcp || ntohl(load32(s->frame + s->l4 + TCP_SEQUENCE)) == it->next;
}

static bool same_origin(const struct origin *a, const struct origin *b) { return !memcmp(a, b, sizeof *a); }

bool coalesce_merge(struct coalescer *c, const struct segment *s, enum standing standing, const struct origin *from,
                    int32_t room)
{
  if (standing == APART) return false;
  if (standing == BLOCKER) {
    memset(c->bucket, 0, sizeof c->bucket);
    return false;
  }
  uint16_t *bucket = &c->bucket[s->bucket];
  if (*bucket == 0) return false;
  const bool pushed = s->tcp && s->frame[s->l4 + TCP_FLAGS] & TCP_PSH;
  struct item *it = &c->item[*bucket - 1];
  if (standing == FOLLOWER || !(s->tcp || c->udp) || !same_origin(&it->from, from) || !continues(it, s) ||
      it->head.prefix + it->end + s->payload > room || !verify(it) || !absorb(it, s)) {
    *bucket = 0;
    return false;
  }
  it->end += s->payload;
  it->count++;
  it->next += (uint32_t)s->payload;
  if (pushed) it->head.frame[s->l4 + TCP_FLAGS] |= TCP_PSH;
  if (pushed || s->payload < it->size) *bucket = 0;
  return true;
}

void coalesce_lead(struct coalescer *c, const struct segment *s, const struct origin *from, int32_t slot)
{
  const uint8_t *l4 = s->frame + s->l4;
  if (s->tcp ? l4[TCP_FLAGS] & TCP_PSH : !c->udp) return;
  struct item *it = &c->item[c->count++];
  *it = (struct item){.head = *s, .from = *from, .slot = slot, .size = s->payload, .count = 1};
  it->end = s->headers + s->payload; /* without the padding of a short frame */
  if (s->tcp) it->next = ntohl(load32(l4 + TCP_SEQUENCE)) + (uint32_t)s->payload;
  c->bucket[s->bucket] = (uint16_t)c->count;
}

static void finish(struct card *card, const struct item *it)
{
  const struct segment *s = &it->head;
  uint8_t *ip = s->frame + ETHERNET;
  int32_t l4_length = it->end - s->l4;
  if (s->v6) {
    put16(ip + IPV6_PAYLOAD, it->end - ETHERNET - IPV6_HEADER);
  } else {
    put16(ip + IPV4_TOTAL, it->end - ETHERNET);
    store16(ip + IPV4_CHECKSUM, 0);
    store16(ip + IPV4_CHECKSUM, sum_finish(sum_bytes(0, ip, IPV4_HEADER)));
  }
  int32_t field = s->tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
  if (!s->tcp) put16(s->frame + s->l4 + UDP_LENGTH, l4_length);
  store16(s->frame + s->l4 + field, sum_fold(pseudo(s, it->addresses, l4_length)));

  int32_t **f = card->field, slot = it->slot;
  f[LENGTH][slot] = s->prefix + it->end;
  f[CSUM_START][slot] = s->l4;
  f[CSUM_OFFSET][slot] = field;
  f[GSO_TYPE][slot] = !s->tcp ? GSO_UDP_L4 : s->v6 ? GSO_TCPV6 : GSO_TCPV4;
  f[GSO_SIZE][slot] = it->size;
}

void coalesce_finish(struct card *card)
{
  struct coalescer *c = &card->coalescer;
  for (int32_t i = 0; i < c->count; i++)
    if (c->item[i].count > 1) finish(card, &c->item[i]);
}
