#include "histogram.h"

#include <stdio.h>

/* Values below 2 * STEPS have a bucket each; from there on one doubling fills STEPS of them. */
static unsigned bucket_of(uint64_t value)
{
  if (value < STEPS) return (unsigned)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - 7u;
  unsigned at = shift * STEPS + (unsigned)(value >> shift);
  return at < DOUBLINGS * STEPS ? at : DOUBLINGS * STEPS - 1;
}

/* The middle of a bucket. */
static double value_of(unsigned bucket)
{
  if (bucket < 2 * STEPS) return bucket;
  unsigned shift = bucket / STEPS - 1;
  return ((double)(bucket % STEPS + STEPS) + 0.5) * (double)(1ull << shift);
}

void histogram_add(struct histogram *h, uint64_t nanoseconds)
{
  h->count++;
  h->sum += nanoseconds;
  if (nanoseconds > h->max) h->max = nanoseconds;
  h->bucket[bucket_of(nanoseconds)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
  into->count += from->count;
  into->sum += from->sum;
  if (from->max > into->max) into->max = from->max;
  for (unsigned i = 0; i < DOUBLINGS * STEPS; i++) into->bucket[i] += from->bucket[i];
}

/* The smallest value that `share` of all do not exceed, in microseconds. */
static double percentile(const struct histogram *h, double share)
{
  uint64_t below = 0, want = (uint64_t)(share * (double)h->count);
  if (want >= h->count) want = h->count - 1;
  for (unsigned i = 0; i < DOUBLINGS * STEPS && h->count > 0; i++)
    if ((below += h->bucket[i]) > want) return value_of(i) / 1e3;
  return 0;
}

void histogram_print(const struct histogram *h)
{
  printf("\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p99_9\":%.2f,\"max\":%.2f,\"mean\":%.2f", percentile(h, 0.5),
         percentile(h, 0.9), percentile(h, 0.99), percentile(h, 0.999), (double)h->max / 1e3,
         h->count ? (double)h->sum / (double)h->count / 1e3 : 0);
}
