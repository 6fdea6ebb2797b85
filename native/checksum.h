/*
 * Internet checksums (RFC 1071). A sum is kept in memory order: RFC 1071 section 2(B), byte-order
 * independence, so words are added as loaded and stored as folded. Constants must be htons()ed.
 */
#ifndef TWILL_CHECKSUM_H
#define TWILL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* One's-complement addition of 64-bit words, of which 16 bits are a folding away: 2^64 = 1 modulo 2^16 - 1. */
static inline uint64_t sum_add(uint64_t a, uint64_t b)
{
  a += b;
  return a + (a < b);
}

/* Adds `length` bytes to `sum`, starting on an even offset; an odd last byte is padded with zero. */
uint64_t sum_bytes(uint64_t sum, const void *bytes, size_t length);

/*
 * The same, while the bytes are copied to `to`: read once, they cost hardly more than a sum alone. The two may lie in
 * one buffer when `to` comes first.
 */
uint64_t sum_copy(uint64_t sum, void *to, const void *bytes, size_t length);

/* The folded sum: what a partial checksum holds. */
static inline uint16_t sum_fold(uint64_t sum)
{
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

/* Its complement: what stands in a finished header. */
static inline uint16_t sum_finish(uint64_t sum) { return (uint16_t)~sum_fold(sum); }

/*
 * Completes a partial checksum: `l4` holds the folded pseudo-header sum at `offset`, the data goes to
 * `l4 + length`.
 */
void checksum_finish(uint8_t *l4, size_t length, size_t offset);

/* A UDP checksum of 0 would mean "none": 0xffff says the same number (RFC 768). */
#define UDP_SUM(value) ((uint16_t)((value) ? (value) : 0xffff))

#endif
