#include "datagram.h"

#include <string.h>

/* Any UDP payload: the largest is 65,527 bytes (IPv6). */
static uint8_t pattern[65536];

__attribute__((constructor)) static void make_pattern(void)
{
  uint64_t state = 0x9e3779b97f4a7c15;
  for (unsigned i = 0; i < sizeof pattern; i++) {
    /* xorshift64: no period or symmetry within a datagram, so that a shifted piece is seen */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    pattern[i] = (uint8_t)(state >> 32);
  }
}

/* Covers the length as well: the pattern alone would not miss a cut-off end. */
static uint32_t mix(uint32_t flow, uint64_t sequence, int length)
{
  uint64_t x = (sequence ^ ((uint64_t)flow << 32) ^ (uint32_t)length) * 0xff51afd7ed558ccd;
  return (uint32_t)(x >> 32) ^ flow;
}

void datagram_fill(uint8_t *buffer, int length)
{
  memcpy(buffer, pattern, (size_t)length);
}

void datagram_stamp(uint8_t *buffer, int length, uint32_t flow, uint64_t sequence)
{
  struct datagram d = {flow, mix(flow, sequence, length), sequence};
  memcpy(buffer, &d, sizeof d);
}

bool datagram_read(const uint8_t *buffer, int length, struct datagram *out)
{
  if (length < DATAGRAM_HEADER) return false;
  memcpy(out, buffer, sizeof *out);
  if (out->check != mix(out->flow, out->sequence, length)) return false;
  size_t rest = (size_t)length - DATAGRAM_HEADER;
  return memcmp(buffer + DATAGRAM_HEADER, pattern + DATAGRAM_HEADER, rest) == 0;
}
