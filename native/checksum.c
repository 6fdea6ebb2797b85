#include "checksum.h"

#include <string.h>

static inline uint64_t load64(const uint8_t *p)
{
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* One's-complement addition of 64-bit words, of which 16 bits are a folding away: 2^64 = 1 modulo 2^16 - 1. */
static inline uint64_t add(uint64_t a, uint64_t b)
{
  a += b;
  return a + (a < b);
}

uint64_t sum_bytes(uint64_t sum, const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  /* Four independent chains: twice as fast as one chain of add-with-carry, which serialises on the flag. */
  uint64_t a = sum, b = 0, c = 0, d = 0;
  for (; length >= 32; length -= 32, p += 32) {
    a = add(a, load64(p));
    b = add(b, load64(p + 8));
    c = add(c, load64(p + 16));
    d = add(d, load64(p + 24));
  }
  a = add(add(a, b), add(c, d));
  for (; length >= 8; length -= 8, p += 8) a = add(a, load64(p));
  if (length) {
    uint64_t tail = 0;
    memcpy(&tail, p, length);
    a = add(a, tail);
  }
  return a;
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
