#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "receive.h"
#include "slots.h"
#include "vnet.h"

/* What one device may take before the others' turn. */
#define TURN_FRAMES 64
#define TURN_BYTES (128 << 10)

/* What the virtio-net header before `frame` says. @returns FAULT_NONE, or FAULT_VNET with `o` empty. */
static int32_t read_vnet(const uint8_t *frame, int32_t length, struct offload *o)
{
  struct vnet h;
  memcpy(&h, frame - VNET_BYTES, sizeof h);
  *o = (struct offload){0, 0, h.gso_type, 0};
  /* Almost every small frame that was forwarded to us says nothing at all. */
  if (!(h.flags | h.gso_type)) return FAULT_NONE;
  if (h.flags & VNET_NEEDS_CSUM) {
    o->csum_start = le16toh(h.csum_start);
    o->csum_offset = le16toh(h.csum_offset);
  }
  if (o->gso_type != GSO_NONE) o->gso_size = le16toh(h.gso_size);
  int32_t headers;
  /* hdr_len is the kernel's linear length, not the headers': only its bound means anything. */
  bool good = (!(h.flags & VNET_NEEDS_CSUM) || o->csum_start != 0) && offload_valid(o, frame, length, &headers) &&
              (o->gso_type == GSO_NONE || le16toh(h.hdr_len) <= length);
  if (good) return FAULT_NONE;
  *o = NO_OFFLOAD;
  return FAULT_VNET;
}

/* The frame read into `slot`, the topmost free one, joins the burst or an earlier frame of its flow. */
static void take_frame(struct card *c, int32_t *n, int32_t slot, int32_t length, const struct origin *from,
                       bool truncated)
{
  uint8_t *frame = slots_buffer(c, slot);
  struct offload o = NO_OFFLOAD;
  struct segment s;
  int32_t fault = truncated ? FAULT_TRUNCATED : length < 0 ? FAULT_VNET : read_vnet(frame, length, &o);
  enum standing standing = fault == FAULT_NONE ? coalesce_read(&s, frame, 0, length, &o) : BLOCKER;
  if (coalesce_merge(&c->coalescer, &s, standing, from, slots_room(c))) return;
  c->field[CONTROL][CTL_FREE_COUNT]--;
  slots_hand_up(c, *n, slot, length > 0 ? length : 0, from, &o);
  ++*n;
  c->field[FAULT][slot] = fault;
  if (standing == SEGMENT) coalesce_lead(&c->coalescer, &s, from, slot);
}

/* One read per frame; the virtio-net header lands in the headroom right before it. */
enum turn receive_tap(struct card *c, int32_t device, int32_t *n, struct budget *b)
{
  const size_t most = (size_t)slots_room(c) + VNET_BYTES;
  const struct origin from = {.device = device};
  const int32_t enough = b->bytes > TURN_BYTES ? b->bytes - TURN_BYTES : 0;
  int fd = c->device[device].fd;
  for (int turn = 0; turn < TURN_FRAMES; turn++) {
    if (b->frames == 0 || b->bytes <= enough) return MORE;
    int32_t left = slots_free(c);
    if (left == 0 || *n == c->limits.burst) return STARVED;
    int32_t slot = c->field[FREE][left - 1];
    ssize_t got = read(fd, slots_buffer(c, slot) - VNET_BYTES, most);
    if (got <= 0) {
      if (got < 0 && errno == EINTR) continue;
      /* EBADFD: namespace deleted or link removed; EIO: the same on older kernels. */
      if (got < 0 && (errno == EBADFD || errno == EIO || errno == ENODEV)) card_gone(c, device);
      return DRAINED;
    }
    b->frames--;
    b->bytes -= (int32_t)got;
    take_frame(c, n, slot, (int32_t)got - VNET_BYTES, &from, (size_t)got == most); /* tun cuts silently */
  }
  return MORE;
}
