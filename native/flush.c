/*
 * Transmit. Requests come from JavaScript and may say anything: each is checked against the region, the
 * device table and the frame before a byte leaves.
 */
#include "card.h"

#include <endian.h>
#include <errno.h>

#include "checksum.h"
#include "segment.h"
#include "vnet.h"

struct request {
  int32_t index, slot, device;
  uint8_t *frame;
  int32_t prefix; /* bytes before `frame` */
  int32_t length; /* bytes from `frame` */
  struct offload offload;
  int32_t headers;
};

int32_t card_status(int error)
{
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return TX_BUSY;
    case EMSGSIZE:
      return TX_TOO_BIG;
    default:
      return TX_ERROR;
  }
}

/* Fills `r` from the region. @returns TX_SENT when it may be sent. */
static int32_t check(struct card *c, int32_t i, struct request *r)
{
  int32_t **f = c->field;
  r->index = i;
  r->device = f[TX_DEVICE][i];
  if (r->device < 0 || r->device >= c->limits.devices) return TX_INVALID;
  const struct device *d = &c->device[r->device];
  if (d->kind == KIND_NONE || d->gone) return TX_GONE;

  r->slot = f[TX_SLOT][i];
  if (r->slot < 0 || r->slot >= c->limits.slots) return TX_INVALID;
  int64_t low = (int64_t)r->slot * c->limits.slot_bytes;
  int64_t high = low + c->limits.slot_bytes;
  int64_t from = f[TX_START][i], bytes = f[TX_LENGTH][i], start = f[START][r->slot];
  if (from < low || bytes <= 0 || from + bytes > high) return TX_INVALID;
  if (start < from || start - from > c->limits.headroom || start > from + bytes) return TX_INVALID;
  r->frame = c->arena + start;
  r->prefix = (int32_t)(start - from);
  r->length = (int32_t)(from + bytes - start);

  r->offload.csum_start = f[CSUM_START][r->slot];
  r->offload.csum_offset = f[CSUM_OFFSET][r->slot];
  r->offload.gso_type = f[GSO_TYPE][r->slot];
  r->offload.gso_size = f[GSO_SIZE][r->slot];
  return offload_valid(&r->offload, r->frame, r->length, &r->headers) ? TX_SENT : TX_INVALID;
}

/* ---- TAP ---- */

/* tun copies hdr_len bytes into the linear part; 0 would make one 64 KB allocation of a large frame. */
#define PLAIN_HEADERS 128

static int32_t send_tap(struct card *c, const struct request *r)
{
  if (r->prefix != 0 || r->length < 14) return TX_INVALID;
  int32_t headers = r->headers ? r->headers : r->length < PLAIN_HEADERS ? r->length : PLAIN_HEADERS;
  struct vnet h = {.hdr_len = htole16((uint16_t)headers)};
  if (r->offload.csum_start) {
    h.flags = VNET_NEEDS_CSUM;
    h.csum_start = htole16((uint16_t)r->offload.csum_start);
    h.csum_offset = htole16((uint16_t)r->offload.csum_offset);
  }
  if (r->offload.gso_type) {
    h.gso_type = (uint8_t)r->offload.gso_type;
    h.gso_size = htole16((uint16_t)r->offload.gso_size);
  }
  struct iovec iov[2] = {{&h, VNET_BYTES}, {r->frame, (size_t)r->length}};
  ssize_t sent;
  do {
    sent = writev(c->device[r->device].fd, iov, 2);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return TX_SENT;
  switch (errno) {
    case EBADFD:
    case ENODEV:
      card_gone(c, r->device);
      return TX_GONE;
    case EINVAL:
      return TX_INVALID; /* the kernel's own reading of the header */
    default:
      return card_status(errno); /* EIO: the link is down, which its owner may undo */
  }
}

/* ---- UDP ---- */

/*
 * A super-frame, segment behind segment: the kernel copies a pack in one piece at two thirds of what the same bytes
 * cost it in pieces, and the payload has to be read for its sum anyway.
 */
static int32_t send_segments(struct card *c, const struct request *r, const struct route_to *route)
{
  struct plan p;
  if (!plan_make(&p, r->frame, r->prefix, r->length, &r->offload, r->headers)) return TX_INVALID;
  pack_prepare(c, p.count * (p.prefix + p.headers) + p.payload);
  for (int32_t i = 0; i < p.count; i++) {
    int32_t length = plan_length(&p, i);
    if (length > PACK_SCRATCH) return TX_TOO_BIG; /* the first, which is the longest: none has been queued */
    uint8_t *segment = pack_scratch(c, length);
    plan_segment(&p, i, segment);
    pack_add(c, route, r->index, (struct iovec){segment, (size_t)length});
  }
  return TX_SENT;
}

static int32_t send_udp(struct card *c, struct request *r)
{
  const struct route_to route = {
      .device = r->device,
      .socket = (int32_t)((uint32_t)c->field[TX_ENTROPY][r->index] % TX_SOCKETS),
      .row = c->field[TX_REMOTE][r->index],
      .tos = c->field[TX_TOS][r->index] & 0xff,
  };
  if (!pack_reachable(c, r->device, route.row)) return TX_INVALID;
  if (r->offload.gso_type != GSO_NONE) return send_segments(c, r, &route);
  if (r->offload.csum_start) {
    /*
     * Finished in place: a complete checksum is right for every later request of the same slot, and a
     * flooded frame is summed once.
     */
    int32_t at = r->offload.csum_start;
    checksum_finish(r->frame + at, (size_t)(r->length - at), (size_t)r->offload.csum_offset);
    c->field[CSUM_START][r->slot] = 0;
    c->field[CSUM_OFFSET][r->slot] = 0;
  }
  pack_add(c, &route, r->index, (struct iovec){r->frame - r->prefix, (size_t)(r->prefix + r->length)});
  return TX_SENT;
}

void card_flush(struct card *c)
{
  int32_t *control = c->field[CONTROL];
  int32_t count = control[CTL_TX_COUNT];
  count = count < 0 ? 0 : count > c->limits.tx_max ? c->limits.tx_max : count;
  for (int32_t i = 0; i < count; i++) {
    struct request r;
    c->field[TX_STATUS][i] = TX_SENT; /* a pack that fails says so itself */
    int32_t status = check(c, i, &r);
    if (status == TX_SENT) status = c->device[r.device].kind == KIND_TAP ? send_tap(c, &r) : send_udp(c, &r);
    if (status != TX_SENT) c->field[TX_STATUS][i] = status;
  }
  pack_post(c);
  control[CTL_TX_COUNT] = 0;
}
