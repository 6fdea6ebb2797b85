#include "segment.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "checksum.h"
#include "inet.h"
#include "layout.h"

/* 64 KiB in segments of the smallest MSS Linux accepts from a peer (48) is 1366. */
#define SEGMENTS_MAX 2048

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

  const uint8_t *ip = frame + p->l3, *l4 = frame + p->l4;
  int32_t l3_length = p->l4 - p->l3;
  uint8_t protocol = p->tcp ? IPPROTO_TCP : IPPROTO_UDP;
  uint16_t word = htons(protocol);
  if (p->v6) {
    /* Extension headers may stand between: the NIC contract says where L4 is, not what precedes it. */
    if (l3_length < IPV6_HEADER || ip[0] >> 4 != 6) return false;
    p->l4_sum = sum_bytes(word, ip + IPV6_ADDRESSES, 32);
  } else {
    if (l3_length < IPV4_HEADER || ip[0] >> 4 != 4 || (ip[0] & 15) * 4 != l3_length || ip[9] != protocol) return false;
    p->l4_sum = sum_bytes(word, ip + IPV4_ADDRESSES, 8);
    /* Without total length, identification and checksum. */
    p->ip_sum = sum_bytes(load16(ip), ip + IPV4_FRAGMENT, 4);
    p->ip_sum = sum_bytes(p->ip_sum, ip + IPV4_ADDRESSES, (size_t)(l3_length - IPV4_ADDRESSES));
  }
  /* Without what differs between segments: TCP's sequence number, flags and checksum, UDP's length and checksum. */
  if (p->tcp) {
    p->l4_sum = sum_bytes(sum_add(p->l4_sum, load32(l4)), l4 + 8, 4);
    p->l4_sum = sum_bytes(sum_add(p->l4_sum, load16(l4 + 14)), l4 + 18, (size_t)(headers - p->l4 - 18));
  } else {
    p->l4_sum = sum_add(p->l4_sum, load32(l4));
  }
  return true;
}

void plan_segment(const struct plan *p, int32_t i, uint8_t *out)
{
  const int32_t before = p->prefix + p->headers, length = plan_length(p, i) - before;
  memcpy(out, p->frame - p->prefix, (size_t)before);
  uint8_t *ip = out + p->prefix + p->l3;
  uint8_t *l4 = out + p->prefix + p->l4;
  int32_t l4_length = p->headers - p->l4 + length;

  if (p->v6) {
    put16(ip + IPV6_PAYLOAD, p->l4 - p->l3 - IPV6_HEADER + l4_length);
  } else {
    put16(ip + IPV4_TOTAL, p->l4 - p->l3 + l4_length);
    put16(ip + IPV4_ID, get16(ip + IPV4_ID) + i);
    store16(ip + IPV4_CHECKSUM, sum_finish(sum_add(p->ip_sum, load32(ip + IPV4_TOTAL))));
  }

  uint64_t sum = sum_copy(p->l4_sum, out + before, p->frame + p->headers + i * p->size, (size_t)length);
  sum = sum_add(sum, htons((uint16_t)l4_length));
  if (p->tcp) {
    uint32_t sequence = htonl(ntohl(load32(l4 + TCP_SEQUENCE)) + (uint32_t)(i * p->size));
    memcpy(l4 + TCP_SEQUENCE, &sequence, sizeof sequence);
    if (i > 0) l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    if (i < p->count - 1) l4[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    store16(l4 + TCP_CHECKSUM, sum_finish(sum_add(sum, (uint64_t)sequence + load16(l4 + 12))));
  } else {
    put16(l4 + UDP_LENGTH, l4_length);
    store16(l4 + UDP_CHECKSUM, UDP_SUM(sum_finish(sum_add(sum, load16(l4 + UDP_LENGTH)))));
  }
}
