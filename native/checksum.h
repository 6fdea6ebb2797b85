/*
 * Internet checksums (RFC 1071). A sum is kept in memory order: RFC 1071 section 2(B), byte-order
 * independence, so words are added as loaded and stored as folded. Constants must be htons()ed.
 */
#ifndef TWILL_CHECKSUM_H
#define TWILL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds `length` bytes to `sum`, starting on an even offset; an odd last byte is padded with zero. */
uint64_t sum_bytes(uint64_t sum, const void *bytes, size_t length);

/* The complement of the folded sum: what stands in a header. */
uint16_t sum_finish(uint64_t sum);

/*
 * Completes a partial checksum: `l4` holds the folded pseudo-header sum at `offset`, the data goes to
 * `l4 + length`.
 */
void checksum_finish(uint8_t *l4, size_t length, size_t offset);

/* A UDP checksum of 0 would mean "none": 0xffff says the same number (RFC 768). */
#define UDP_CHECKSUM(value) ((uint16_t)((value) ? (value) : 0xffff))

#endif
