/*
 * The virtio-net header every TAP of ours puts before a frame, 12 bytes, little-endian (TUNSETVNETLE), and
 * the rules both directions check: what a header may claim about a frame.
 */
#ifndef TWILL_VNET_H
#define TWILL_VNET_H

#include <stdbool.h>
#include <stdint.h>

#define VNET_BYTES 12
#define VNET_NEEDS_CSUM 1

struct vnet {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len; /* All words little-endian. */
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};

/* What is known of a frame's unfinished work: the four columns of a slot. */
struct offload {
  int32_t csum_start, csum_offset, gso_type, gso_size;
};

/*
 * Whether `o` is consistent in itself and with a frame of `length` bytes. On success *headers is the true
 * length of the L2 + L3 + L4 headers, or 0 when there is nothing to finish.
 */
bool offload_valid(const struct offload *o, const uint8_t *frame, int32_t length, int32_t *headers);

#endif
