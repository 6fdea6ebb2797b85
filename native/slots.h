/* The free stack and the columns of received slots. What JavaScript wrote there is believed only in bounds. */
#ifndef TWILL_SLOTS_H
#define TWILL_SLOTS_H

#include "card.h"

static const struct offload NO_OFFLOAD = {0, 0, GSO_NONE, 0};

/* Height of the free stack after dropping entries that name no slot. */
int32_t slots_free(struct card *c);
/* @returns a free slot, or -1. */
int32_t slots_take(struct card *c);
void slots_give(struct card *c, int32_t slot);
/* Writes every column of a received slot and enters it at `at` of the burst; `fault` may be raised later. */
void slots_hand_up(struct card *c, int32_t at, int32_t slot, int32_t length, const struct origin *from,
                   const struct offload *o);

/* Where a received frame or message begins. */
static inline uint8_t *slots_buffer(struct card *c, int32_t slot)
{
  return c->arena + (size_t)slot * (size_t)c->limits.slot_bytes + c->limits.headroom;
}

/* Its length at most. */
static inline int32_t slots_room(const struct card *c) { return c->limits.slot_bytes - c->limits.headroom; }

#endif
