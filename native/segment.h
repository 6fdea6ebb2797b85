/* Splitting a super-frame as a NIC does: every segment whole, with headers of its own. */
#ifndef TWILL_SEGMENT_H
#define TWILL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "vnet.h"

/* Prefix and headers of one segment: VXLAN, Ethernet, tags, IPv6 with some extensions, TCP with options. */
#define HEADER_MAX 512

struct plan {
  const uint8_t *frame; /* Ethernet header; `prefix` bytes before it go in front of every segment */
  int32_t prefix;
  int32_t l3, l4;       /* offsets from `frame` */
  int32_t headers;      /* length of all headers */
  int32_t payload;      /* bytes behind them */
  int32_t size;         /* payload bytes per segment */
  int32_t count;        /* segments, at least 1 */
  bool tcp, v6;
  uint64_t ip_sum;      /* of what all segments' IPv4 headers share */
  uint64_t l4_sum;      /* of what all segments' checksums cover alike, pseudo-header included */
};

/* `headers` as offload_valid() returned it. @returns false when the headers are not what the type says. */
bool plan_make(struct plan *p, const uint8_t *frame, int32_t prefix, int32_t length, const struct offload *o,
               int32_t headers);

/* Bytes of segment `i` with prefix and headers. */
static inline int32_t plan_length(const struct plan *p, int32_t i)
{
  int32_t payload = i == p->count - 1 ? p->payload - i * p->size : p->size;
  return p->prefix + p->headers + payload;
}

/* Writes segment `i`, plan_length() bytes, every checksum complete. */
void plan_segment(const struct plan *p, int32_t i, uint8_t *out);

#endif
