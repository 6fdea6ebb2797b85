/*
 * A datagram of the load: 16 bytes that say which one it is, then the same pseudo-random bytes in every
 * datagram. What changed, moved or was cut or glued on the way does not verify.
 */
#ifndef LOAD_DATAGRAM_H
#define LOAD_DATAGRAM_H

#include <stdbool.h>
#include <stdint.h>

#define DATAGRAM_HEADER 16

struct datagram {
  uint32_t flow; /* unique over senders: 16 random bits of the run, 16 bits of number */
  uint32_t check;
  uint64_t sequence; /* counts within the flow, from 0 */
};

/* Fills a whole buffer with what stands behind the header; call once. */
void datagram_fill(uint8_t *buffer, int length);

/* Writes the header of a buffer filled before. */
void datagram_stamp(uint8_t *buffer, int length, uint32_t flow, uint64_t sequence);

/* @returns false for a datagram that is not as it was sent. */
bool datagram_read(const uint8_t *buffer, int length, struct datagram *out);

#endif
