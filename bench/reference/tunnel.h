/* TAP to VXLAN: frames into UDP datagrams of one socket, many per system call. */
#ifndef REFERENCE_TUNNEL_H
#define REFERENCE_TUNNEL_H

#include <sys/uio.h>

#include "reference.h"

#define VXLAN 8
/* UDP payload of one send over IPv6, whose header is not part of the 65,535 bytes but UDP_SEGMENT counts it. */
#define SEND_MAX 65487

struct packer {
  int socket, batch;
  struct counters *counters;
  uint8_t vxlan[VXLAN];
  int count, size; /* datagrams collected, and their length */
  bool closed;     /* the last is shorter: it must stay the last */
  struct iovec vector[2 * BURST];
  uint8_t header[BURST][VXLAN + ETHERNET + 40 + 60]; /* the largest of plain IPv6 and TCP */
};

/* One frame with everything in it but its checksum; must stay where it is until the flush. */
void pack(struct packer *p, uint8_t *frame, int length, const vnet *header);

/* A super-frame, sent now: headers are made per segment, the payload is not copied. */
void split(struct packer *p, uint8_t *frame, int length, const vnet *header);

void pack_flush(struct packer *p);

#endif
