#include "checksum.h"

#include <string.h>

static inline uint64_t load64(const uint8_t *p)
{
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

uint64_t sum_bytes(uint64_t sum, const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  /* Two 128-bit chains compile to add-with-carry and keep two additions in flight. */
  unsigned __int128 a = sum, b = 0;
  for (; length >= 32; length -= 32, p += 32) {
    a += load64(p);
    b += load64(p + 8);
    a += load64(p + 16);
    b += load64(p + 24);
  }
  for (; length >= 8; length -= 8, p += 8) a += load64(p);
  if (length) {
    uint64_t tail = 0;
    memcpy(&tail, p, length);
    a += tail;
  }
  a += b;
  /* 2^64 = 1 in one's-complement arithmetic of 16 bits: fold the carries back, twice for the last one. */
  a = (uint64_t)a + (uint64_t)(a >> 64);
  return (uint64_t)a + (uint64_t)(a >> 64);
}

uint16_t sum_finish(uint64_t sum)
{
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

void checksum_finish(uint8_t *l4, size_t length, size_t offset)
{
  uint16_t value = sum_finish(sum_bytes(0, l4, length));
  if (offset == 6) value = UDP_CHECKSUM(value);
  memcpy(l4 + offset, &value, sizeof value);
}
