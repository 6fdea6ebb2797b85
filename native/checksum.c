#include "checksum.h"

#include <stdbool.h>
#include <string.h>

static inline uint64_t load64(const uint8_t *p)
{
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* From here on the wider registers win over their set-up. */
#define WIDE_FROM 256

__attribute__((target("avx2"))) static inline uint64_t sum_lanes(__m256i a, __m256i b, __m256i c, __m256i d)
{
  uint64_t lane[4];
  _mm256_storeu_si256((__m256i *)lane, _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
  return lane[0] + lane[1] + lane[2] + lane[3];
}

/* 64 bytes a turn as 32-bit words in 64-bit lanes, which no length of ours can fill. `length` is a multiple of 64. */
__attribute__((target("avx2"))) static uint64_t sum_wide(const uint8_t *p, size_t length)
{
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (; length; length -= 64, p += 64) {
    __m256i x = _mm256_loadu_si256((const __m256i *)p), y = _mm256_loadu_si256((const __m256i *)(p + 32));
    a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
    b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
    c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
    d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
  }
  return sum_lanes(a, b, c, d);
}

/* A turn reads all of its 64 bytes before it writes them, so `to` may lie anywhere before `p`. */
__attribute__((target("avx2"))) static uint64_t copy_wide(uint8_t *to, const uint8_t *p, size_t length)
{
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (; length; length -= 64, p += 64, to += 64) {
    __m256i x = _mm256_loadu_si256((const __m256i *)p), y = _mm256_loadu_si256((const __m256i *)(p + 32));
    _mm256_storeu_si256((__m256i *)to, x);
    _mm256_storeu_si256((__m256i *)(to + 32), y);
    a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
    b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
    c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
    d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
  }
  return sum_lanes(a, b, c, d);
}

static bool has_wide(void) { return __builtin_cpu_supports("avx2"); }
#else
#define WIDE_FROM SIZE_MAX
static uint64_t sum_wide(const uint8_t *p, size_t length) { return (void)p, (void)length, 0; }
static uint64_t copy_wide(uint8_t *to, const uint8_t *p, size_t length) { return (void)to, (void)p, (void)length, 0; }
static bool has_wide(void) { return false; }
#endif

uint64_t sum_bytes(uint64_t sum, const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  if (length >= WIDE_FROM && has_wide()) {
    size_t wide = length & ~(size_t)63;
    sum = sum_add(sum, sum_wide(p, wide));
    p += wide;
    length -= wide;
  }
  /* Four independent chains: twice as fast as one chain of add-with-carry, which serialises on the flag. */
  uint64_t a = sum, b = 0, c = 0, d = 0;
  for (; length >= 32; length -= 32, p += 32) {
    a = sum_add(a, load64(p));
    b = sum_add(b, load64(p + 8));
    c = sum_add(c, load64(p + 16));
    d = sum_add(d, load64(p + 24));
  }
  a = sum_add(sum_add(a, b), sum_add(c, d));
  for (; length >= 8; length -= 8, p += 8) a = sum_add(a, load64(p));
  if (length) {
    uint64_t tail = 0;
    memcpy(&tail, p, length);
    a = sum_add(a, tail);
  }
  return a;
}

uint64_t sum_copy(uint64_t sum, void *to, const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  uint8_t *out = to;
  if (length >= WIDE_FROM && has_wide()) {
    size_t wide = length & ~(size_t)63;
    sum = sum_add(sum, copy_wide(out, p, wide));
    p += wide;
    out += wide;
    length -= wide;
  }
  sum = sum_bytes(sum, p, length);
  memmove(out, p, length);
  return sum;
}

void checksum_finish(uint8_t *l4, size_t length, size_t offset)
{
  uint16_t value = sum_finish(sum_bytes(0, l4, length));
  if (offset == 6) value = UDP_SUM(value);
  memcpy(l4 + offset, &value, sizeof value);
}
