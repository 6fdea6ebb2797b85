/*
 * Durations in a log-linear histogram: 128 steps to every doubling, so that a percentile is right to 0.8 %
 * from a nanosecond to hours.
 */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define STEPS 128
#define DOUBLINGS 37

struct histogram {
  uint64_t count, sum, max;
  uint64_t bucket[DOUBLINGS * STEPS];
};

void histogram_add(struct histogram *h, uint64_t nanoseconds);

void histogram_merge(struct histogram *into, const struct histogram *from);

/* Prints "p50":…,"p90":…,"p99":…,"p99_9":…,"max":…,"mean":… in microseconds; all 0 when nothing was added. */
void histogram_print(const struct histogram *h);

#endif
