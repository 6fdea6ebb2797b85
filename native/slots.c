#include "slots.h"

int32_t slots_free(struct card *c)
{
  int32_t *count = &c->field[CONTROL][CTL_FREE_COUNT];
  if (*count < 0 || *count > c->limits.slots) *count = 0;
  while (*count > 0 && (uint32_t)c->field[FREE][*count - 1] >= (uint32_t)c->limits.slots) --*count;
  return *count;
}

int32_t slots_take(struct card *c)
{
  int32_t left = slots_free(c);
  if (left == 0) return -1;
  c->field[CONTROL][CTL_FREE_COUNT] = left - 1;
  return c->field[FREE][left - 1];
}

void slots_give(struct card *c, int32_t slot)
{
  int32_t left = slots_free(c);
  if (left == c->limits.slots) return; /* JavaScript gave back more than there are */
  c->field[FREE][left] = slot;
  c->field[CONTROL][CTL_FREE_COUNT] = left + 1;
}

void slots_hand_up(struct card *c, int32_t at, int32_t slot, int32_t length, const struct origin *from,
                   const struct offload *o)
{
  int32_t **f = c->field;
  f[START][slot] = slot * c->limits.slot_bytes + c->limits.headroom;
  f[LENGTH][slot] = length;
  f[DEVICE][slot] = from->device;
  f[CSUM_START][slot] = o->csum_start;
  f[CSUM_OFFSET][slot] = o->csum_offset;
  f[GSO_TYPE][slot] = o->gso_type;
  f[GSO_SIZE][slot] = o->gso_size;
  f[FAULT][slot] = FAULT_NONE;
  f[TOS][slot] = from->tos;
  for (int i = 0; i < 4; i++) f[REMOTE0 + i][slot] = (int32_t)from->remote[i];
  f[RX][at] = slot;
}
