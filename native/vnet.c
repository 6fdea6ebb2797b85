#include "vnet.h"

#include "layout.h"

#define ETHERNET 14
#define TCP_CSUM_OFFSET 16
#define TCP_MIN 20
#define UDP_CSUM_OFFSET 6
#define UDP_HEADER 8

/* The L4 header's length as its own checksum offset tells the protocol; 0 when it does not fit. */
static int32_t l4_header(const struct offload *o, const uint8_t *frame, int32_t length)
{
  int32_t room = length - o->csum_start;
  if (o->csum_offset == TCP_CSUM_OFFSET && room >= TCP_MIN) {
    int32_t header = (frame[o->csum_start + 12] >> 4) * 4;
    return header >= TCP_MIN && header <= room ? header : 0;
  }
  if (o->csum_offset == UDP_CSUM_OFFSET && room >= UDP_HEADER) return UDP_HEADER;
  return 0;
}

bool offload_valid(const struct offload *o, const uint8_t *frame, int32_t length, int32_t *headers)
{
  *headers = 0;
  if (o->csum_start == 0) return o->gso_type == GSO_NONE;
  /* Compared without adding first: the columns may hold anything. */
  if (o->csum_start < ETHERNET || o->csum_start > length) return false;
  if (o->csum_offset < 0 || o->csum_offset > length - o->csum_start - 2) return false;
  int32_t l4 = l4_header(o, frame, length);

  switch (o->gso_type) {
    case GSO_NONE:
      /* ICMPv6, DCCP, ...: only the checksum field is known to belong to the header. */
      *headers = o->csum_start + (l4 ? l4 : o->csum_offset + 2);
      return true;
    case GSO_TCPV4:
    case GSO_TCPV4 | GSO_ECN:
    case GSO_TCPV6:
    case GSO_TCPV6 | GSO_ECN:
      if (o->csum_offset != TCP_CSUM_OFFSET) return false;
      break;
    case GSO_UDP_L4:
      if (o->csum_offset != UDP_CSUM_OFFSET) return false;
      break;
    default:
      return false;
  }
  /* 0xffff means "by fragments" inside the kernel, which refuses it. */
  if (l4 == 0 || o->gso_size <= 0 || o->gso_size >= 0xffff) return false;
  *headers = o->csum_start + l4;
  return true;
}
