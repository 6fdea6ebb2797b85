#include "segment.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "card.h"
#include "checksum.h"
#include "layout.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define IPV6_HEADER 40
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80
/* 64 KiB in segments of the smallest MSS Linux accepts from a peer (48) is 1366. */
#define SEGMENTS_MAX 2048

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static void put16(uint8_t *p, int32_t value)
{
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}

static void store(uint8_t *p, uint16_t sum) { memcpy(p, &sum, sizeof sum); }

/* Where the IP header starts, past up to two tags; 0 when it is not IP. */
static int32_t find_l3(const uint8_t *frame, int32_t limit, bool *v6)
{
  int32_t at = 12;
  for (int tags = 0; at + 2 <= limit; tags++) {
    uint16_t type = get16(frame + at);
    if ((type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ) && tags < 2) {
      at += 4;
      continue;
    }
    *v6 = type == ETHERTYPE_IPV6;
    return type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6 ? at + 2 : 0;
  }
  return 0;
}

bool plan_make(struct plan *p, const uint8_t *frame, int32_t prefix, int32_t length, const struct offload *o,
               int32_t headers)
{
  int32_t type = o->gso_type & ~GSO_ECN;
  p->frame = frame;
  p->prefix = prefix;
  p->l4 = o->csum_start;
  p->headers = headers;
  p->payload = length - headers;
  p->size = o->gso_size;
  p->count = p->payload > 0 ? (p->payload + p->size - 1) / p->size : 1;
  p->tcp = type != GSO_UDP_L4;
  p->l3 = find_l3(frame, p->l4, &p->v6);
  if (p->l3 == 0 || p->count > SEGMENTS_MAX || prefix + headers > HEADER_MAX) return false;
  if (type == GSO_TCPV4 && p->v6) return false;
  if (type == GSO_TCPV6 && !p->v6) return false;

  const uint8_t *ip = frame + p->l3;
  int32_t l3_length = p->l4 - p->l3;
  uint8_t protocol = p->tcp ? IPPROTO_TCP : IPPROTO_UDP;
  uint16_t word = htons(protocol);
  if (p->v6) {
    /* Extension headers may stand between: the NIC contract says where L4 is, not what precedes it. */
    if (l3_length < IPV6_HEADER || ip[0] >> 4 != 6) return false;
    p->pseudo = sum_bytes(word, ip + 8, 32);
  } else {
    if (l3_length < 20 || ip[0] >> 4 != 4 || (ip[0] & 15) * 4 != l3_length || ip[9] != protocol) return false;
    p->pseudo = sum_bytes(word, ip + 12, 8);
  }
  return true;
}

void plan_headers(const struct plan *p, int32_t i, uint8_t *out)
{
  int32_t length;
  const uint8_t *payload = plan_payload(p, i, &length);
  memcpy(out, p->frame - p->prefix, (size_t)(p->prefix + p->headers));
  uint8_t *ip = out + p->prefix + p->l3;
  uint8_t *l4 = out + p->prefix + p->l4;
  int32_t l4_length = p->headers - p->l4 + length;

  if (p->v6) {
    put16(ip + 4, p->l4 - p->l3 - IPV6_HEADER + l4_length);
  } else {
    put16(ip + 2, p->l4 - p->l3 + l4_length);
    put16(ip + 4, get16(ip + 4) + i);
    store(ip + 10, 0);
    store(ip + 10, sum_finish(sum_bytes(0, ip, (size_t)(p->l4 - p->l3))));
  }

  uint8_t *field = l4 + (p->tcp ? 16 : 6);
  if (p->tcp) {
    uint32_t sequence;
    memcpy(&sequence, l4 + 4, sizeof sequence);
    sequence = htonl(ntohl(sequence) + (uint32_t)(i * p->size));
    memcpy(l4 + 4, &sequence, sizeof sequence);
    if (i > 0) l4[13] &= (uint8_t)~TCP_CWR;
    if (i < p->count - 1) l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
  } else {
    put16(l4 + 4, l4_length);
  }
  store(field, 0);
  uint64_t sum = sum_bytes(p->pseudo, l4, (size_t)(p->headers - p->l4));
  sum = sum_bytes(sum, payload, (size_t)length);
  uint16_t value = sum_finish(sum_bytes(sum, &(uint16_t){htons((uint16_t)l4_length)}, 2));
  store(field, p->tcp ? value : UDP_CHECKSUM(value));
}
