/* What arrived of every flow: order, repetition. */
#ifndef LOAD_FLOWS_H
#define LOAD_FLOWS_H

#include <stdbool.h>
#include <stdint.h>

struct flows;

enum arrival {
  IN_ORDER,
  LATE, /* a later one of its flow was here before */
  TWICE,
  STRANGER, /* more flows than there is room for */
};

/* Room for `most` flows. Never fails: exits when there is no memory. */
struct flows *flows_make(int most);

enum arrival flows_note(struct flows *t, uint32_t flow, uint64_t sequence);

int flows_count(const struct flows *t);

#endif
