/* What a forwarder has to know of an Ethernet frame that carries plain TCP or UDP. */
#ifndef REFERENCE_FRAME_H
#define REFERENCE_FRAME_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* What stands before a frame of a TAP; little-endian like the machine, or it would not be x86 or arm64. */
typedef struct virtio_net_hdr_v1 vnet;

#define ETHERNET 14
#define TCP 6
#define UDP 17
/* Largest frame of a TAP: an IP packet of 65,535 bytes, an Ethernet header, a tag. */
#define FRAME_MAX (65535 + ETHERNET + 4)

struct frame {
  uint8_t *at;
  int length; /* without the padding of short frames */
  int l4;
  int headers; /* length of all headers */
  int payload;
  uint8_t protocol;
  bool v6;
};

/* @returns false for everything but TCP and UDP, and for options of IPv4, extension headers and fragments. */
bool frame_parse(struct frame *f, uint8_t *at, int length);

/* Pseudo-header sum for `l4_length` bytes of header and payload. */
uint64_t frame_pseudo(const struct frame *f, int l4_length);

/* Where the checksum of L4 stands. */
static inline uint8_t *frame_check(const struct frame *f) { return f->at + f->l4 + (f->protocol == TCP ? 16 : 6); }

/* Whether the checksum field is a bare pseudo-header sum: the sender's kernel left the rest to a device. */
bool frame_partial(const struct frame *f);

/* Whether the complete checksum is right; false for a UDP datagram without one. */
bool frame_verify(const struct frame *f);

/* Writes lengths and the IP checksum for `payload` bytes. */
void frame_resize(uint8_t *at, const struct frame *f, int payload);

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static inline void put16(uint8_t *p, int value)
{
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}

#endif
