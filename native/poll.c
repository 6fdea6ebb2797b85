/* Burst receive: who is ready, and whose turn it is. */
#include "card.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "receive.h"

/* Longest sleep: worker.terminate() cannot interrupt a call into the addon. */
#define SLEEP_MAX 100
#define EVENTS 64
/* What one poll takes: enough to find a flow's frames together, little enough for the core's own cache. */
#define POLL_FRAMES 256
#define POLL_BYTES (256 << 10)

static void drain_wake(struct card *c)
{
  uint64_t count;
  ssize_t got = read(c->wake, &count, sizeof count);
  (void)got; /* EAGAIN: somebody else drained it. */
  c->field[CONTROL][CTL_WOKEN] = 1;
}

static void collect(struct card *c, int timeout)
{
  struct epoll_event events[EVENTS];
  int n = epoll_wait(c->epoll, events, EVENTS, timeout);
  for (int i = 0; i < n; i++) {
    uint32_t tag = events[i].data.u32;
    if (tag >= (uint32_t)c->limits.devices) {
      drain_wake(c);
      continue;
    }
    struct device *d = &c->device[tag];
    if (d->kind == KIND_NONE || d->gone) continue;
    /*
     * A TAP reports EPOLLERR exactly when its net device is unregistering or detached. A read may still
     * say EAGAIN then (tun wakes its readers just before it detaches them), and no other edge would follow.
     */
    if (d->kind == KIND_TAP && (events[i].events & EPOLLERR))
      card_gone(c, (int32_t)tag);
    else
      ready_push(c, (int32_t)tag);
  }
}

/* Devices take turns until the burst is full, nobody has frames left, or slots run out. */
static int32_t receive(struct card *c)
{
  struct budget b = {POLL_FRAMES, POLL_BYTES};
  int32_t n = 0;
  coalesce_begin(&c->coalescer);
  /* Messages that found no room last time come before what is still in a socket. */
  bool stuck = inbox_waits(&c->inbox) && receive_udp(c, c->inbox.device, &n, &b) == STARVED;
  while (!stuck && c->first != NOBODY && b.frames > 0 && b.bytes > 0) {
    int32_t device = c->first, frames = b.frames;
    enum turn turn = c->device[device].kind == KIND_TAP ? receive_tap(c, device, &n, &b)
                                                        : receive_udp(c, device, &n, &b);
    /* Who got nothing stays first; what waits in the inbox was a turn. */
    if (turn == STARVED && b.frames == frames && !inbox_waits(&c->inbox)) break;
    ready_remove(c, device);
    if (turn != DRAINED) ready_push(c, device);
    if (turn == FAILED || turn == STARVED) break;
  }
  coalesce_finish(c);
  return n;
}

int32_t card_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  int32_t ms = (int32_t)(uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
  return ms ? ms : 1; /* 0 means "never" in the switch's tables. */
}

static bool is_idle(const struct card *c) { return c->first == NOBODY && !inbox_waits(&c->inbox); }

int32_t card_poll(struct card *c)
{
  int32_t *control = c->field[CONTROL];
  int32_t timeout = control[CTL_TIMEOUT];
  timeout = timeout < 0 ? 0 : timeout > SLEEP_MAX ? SLEEP_MAX : timeout;
  bool idle = is_idle(c);
  collect(c, idle ? timeout : 0);
  int32_t n = receive(c);
  if (n == 0 && !idle && timeout > 0) {
    /* Still ready yet nothing received: the switch holds every slot. Do not spin on it. */
    collect(c, is_idle(c) ? timeout : 1);
    n = receive(c);
  }
  control[CTL_NOW] = card_now();
  control[CTL_RX_COUNT] = n;
  return n;
}
