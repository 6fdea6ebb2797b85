/* Internet checksums (RFC 1071) in memory order: words as loaded, constants htons()ed, results stored as they are. */
#ifndef REFERENCE_SUM_H
#define REFERENCE_SUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds bytes that start on an even offset of what is summed. AVX2 where the processor has it. */
extern uint64_t (*sum_bytes)(uint64_t sum, const uint8_t *bytes, size_t length);

/* The same for the few bytes of a header. */
uint64_t sum_header(uint64_t sum, const uint8_t *bytes, size_t length);

/* Down to 16 bits; not complemented. */
static inline uint16_t sum_fold(uint64_t sum)
{
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

#endif
