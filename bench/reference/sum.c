#include "sum.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* 32-bit words into a 64-bit sum: no carry can be lost below 2^32 of them. */
uint64_t sum_header(uint64_t sum, const uint8_t *bytes, size_t length)
{
  uint32_t word;
  uint64_t b = 0;
  sum = (sum & 0xffffffff) + (sum >> 32);
  for (; length >= 8; length -= 8, bytes += 8) {
    memcpy(&word, bytes, 4);
    sum += word;
    memcpy(&word, bytes + 4, 4);
    b += word;
  }
  for (; length > 0; length -= length < 4 ? length : 4, bytes += 4) {
    word = 0;
    memcpy(&word, bytes, length < 4 ? length : 4);
    sum += word;
  }
  return sum + b;
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_avx2(uint64_t sum, const uint8_t *bytes, size_t length)
{
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (; length >= 64; length -= 64, bytes += 64) {
    __m256i x = _mm256_loadu_si256((const __m256i *)bytes), y = _mm256_loadu_si256((const __m256i *)(bytes + 32));
    a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
    b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
    c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
    d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
  }
  uint64_t lane[4];
  a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
  _mm256_storeu_si256((__m256i *)lane, a);
  sum = (sum & 0xffffffff) + (sum >> 32) + lane[0] + lane[1] + lane[2] + lane[3];
  return sum_header(sum, bytes, length);
}
#endif

uint64_t (*sum_bytes)(uint64_t, const uint8_t *, size_t) = sum_header;

__attribute__((constructor)) static void choose(void)
{
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) sum_bytes = sum_avx2;
#endif
}
