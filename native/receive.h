/* Frames into slots: what one device gives in one turn. */
#ifndef TWILL_RECEIVE_H
#define TWILL_RECEIVE_H

#include <stdint.h>

struct card;

enum turn {
  DRAINED, /* nothing left: wait for epoll's next edge */
  MORE,    /* its share is used up */
  FAILED,  /* errors used up its share: others first, and no more of it in this poll */
  STARVED, /* no free slot, or no room in this burst */
};

/* What one poll may still take. A super-frame counts by its size: a burst has to stay in the cache of its core. */
struct budget {
  int32_t frames; /* reads, before merging */
  int32_t bytes;
};

/* `*n` slots of `rx` are filled; more are added. */
enum turn receive_tap(struct card *c, int32_t device, int32_t *n, struct budget *b);
enum turn receive_udp(struct card *c, int32_t device, int32_t *n, struct budget *b);
/* Gives back the slots of messages that wait in the inbox for a device that goes. */
void receive_forget(struct card *c);

#endif
