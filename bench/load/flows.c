#include "flows.h"

#include <stdlib.h>

#include "load.h"

/* How far back a repetition is recognised; older arrivals count as late. */
#define WINDOW 1024

struct flow {
  uint32_t id;
  bool used;
  uint64_t next; /* one more than the highest sequence number so far */
  uint64_t seen[WINDOW / 64]; /* one bit per number, a ring */
};

/* Open addressing with linear probing, at most half full. */
struct flows {
  int most, count;
  uint32_t mask;
  struct flow flow[];
};

struct flows *flows_make(int most)
{
  uint32_t size = 2;
  while (size < 2u * (uint32_t)most) size *= 2;
  struct flows *t = calloc(1, sizeof *t + size * sizeof t->flow[0]);
  if (!t) die("memory for %d flows", most);
  t->most = most;
  t->mask = size - 1;
  return t;
}

static struct flow *find(struct flows *t, uint32_t id)
{
  uint32_t at = (id * 2654435761u) >> 7 & t->mask;
  while (t->flow[at].used && t->flow[at].id != id) at = (at + 1) & t->mask;
  struct flow *flow = &t->flow[at];
  if (flow->used) return flow;
  if (t->count == t->most) return NULL;
  t->count++;
  flow->used = true;
  flow->id = id;
  return flow;
}

/* Forgets the numbers from flow->next up to `sequence`: the ring is about to stand for them. */
static void advance(struct flow *flow, uint64_t sequence)
{
  uint64_t first = flow->next, end = sequence + 1;
  if (end - first > WINDOW) first = end - WINDOW;
  for (uint64_t i = first; i < end; i++) flow->seen[i / 64 % (WINDOW / 64)] &= ~(1ull << i % 64);
  flow->next = end;
}

enum arrival flows_note(struct flows *t, uint32_t id, uint64_t sequence)
{
  struct flow *flow = find(t, id);
  if (!flow) return STRANGER;
  uint64_t *word = &flow->seen[sequence / 64 % (WINDOW / 64)], bit = 1ull << sequence % 64;
  if (sequence >= flow->next) {
    advance(flow, sequence);
    *word |= bit;
    return IN_ORDER;
  }
  if (flow->next - sequence > WINDOW) return LATE;
  if (*word & bit) return TWICE;
  *word |= bit;
  return LATE;
}

int flows_count(const struct flows *t) { return t->count; }
