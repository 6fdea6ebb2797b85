/* Frames from one TAP to the other, as they are. */
#include <unistd.h>

#include "coalesce.h"

struct way {
  int from;
  struct coalescer to;
};

struct pair {
  struct arena arena;
  struct way way[2];
};

/* One burst. Super-frames go on at once: the buffer stays in the cache, and there is nothing to collect. */
static bool pass(struct arena *a, struct way *w)
{
  struct counters *c = w->to.counters;
  int frames = 0, supers = 0;
  for (a->at = 0; frames < BURST && supers < BURST_SUPER; frames++) {
    vnet header;
    uint8_t *frame;
    int length = arena_read(a, w->from, &header, &frame);
    if (length < 0) break;
    c->bytes += (uint64_t)length;
    if (header.gso_type == 0 && length <= SMALL && w->to.batch > 1) {
      arena_keep(a, length);
      coalesce(&w->to, frame, length, &header);
      continue;
    }
    coalesce_flush(&w->to);
    supers += header.gso_type != 0;
    c->writes++;
    /* in one piece, as it was read */
    if (write(w->to.tap, frame - sizeof header, (size_t)length + sizeof header) < 0) c->drops++;
  }
  coalesce_flush(&w->to);
  c->frames += (uint64_t)frames;
  return frames > 0;
}

static bool turn(void *context)
{
  struct pair *p = context;
  bool there = pass(&p->arena, &p->way[0]), back = pass(&p->arena, &p->way[1]);
  return there || back;
}

int forward_tap(const struct options *o, struct counters *c, struct failure *f)
{
  static struct pair p;
  int tap[2], index;
  if (arena_make(&p.arena, f) < 0) return -1;
  for (int i = 0; i < 2; i++)
    if ((tap[i] = tap_create(&o->tap[i], &index, f)) < 0) return -1;
  for (int i = 0; i < 2; i++) {
    p.way[i].from = tap[i];
    p.way[i].to = (struct coalescer){.tap = tap[1 - i], .batch = o->batch, .counters = c};
  }
  return forward(tap, turn, &p, o->seconds, f);
}
