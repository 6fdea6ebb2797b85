#include "card.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "receive.h"
#include "tap.h"
#include "vnet.h"

#define HUGE (2UL << 20)

/* epoll's tag of the wake descriptor; devices are tagged with their number. */
#define WAKE_TAG UINT32_MAX

/* A limit is used in products of int32_t: keep every product far below 2^31. */
static bool limits_sane(const struct limits *l)
{
  return l->slots > 0 && l->slots <= 1 << 14 && l->slot_bytes >= 2048 && l->slot_bytes <= 1 << 17 &&
         l->slot_bytes % 4 == 0 && (int64_t)l->slots * l->slot_bytes < 1 << 30 && l->headroom >= VNET_BYTES &&
         l->headroom <= 256 && l->headroom % 4 == 2 && l->burst > 0 && l->burst <= 4096 && l->tx_max > 0 &&
         l->tx_max <= 1 << 20 && l->remotes > 0 && l->remotes <= 1 << 20 && l->devices > 0 &&
         l->devices <= 1 << 16;
}

static bool offsets_sane(const int32_t *offsets, const struct limits *l)
{
#define X(constant, name, words) words,
  const int32_t words[FIELD_COUNT] = {TWILL_FIELDS(X)};
#undef X
  for (int i = 0; i < FIELD_COUNT; i++) {
    if (offsets[i] < 0 || offsets[i] % 64 != 0) return false;
    if ((int64_t)offsets[i] + (int64_t)words[i] * 4 > offsets[i + 1]) return false;
  }
  int32_t arena = offsets[FIELD_COUNT];
  return arena % 64 == 0 && (int64_t)arena + (int64_t)l->slots * l->slot_bytes <= offsets[FIELD_COUNT + 1];
}

/*
 * Huge pages keep 68 MB in a few dozen TLB entries. An inaccessible tail turns an overrun into a fault.
 * DONTFORK: else every child process the daemon starts makes the data plane pay copy-on-write faults.
 */
static int map_region(struct card *c, struct failure *f)
{
  c->mapped = ((c->bytes + HUGE - 1) & ~(HUGE - 1)) + 2 * HUGE;
  c->mapping = mmap(NULL, c->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (c->mapping == MAP_FAILED) {
    c->mapping = NULL;
    return fail(f, errno, "map %zu bytes of card memory", c->bytes);
  }
  uint8_t *base = (uint8_t *)(((uintptr_t)c->mapping + HUGE - 1) & ~(HUGE - 1));
  if (mprotect(base, (c->bytes + 4095) & ~4095UL, PROT_READ | PROT_WRITE) < 0)
    return fail(f, errno, "map %zu bytes of card memory", c->bytes);
  madvise(base, c->bytes, MADV_HUGEPAGE);
  madvise(base, c->bytes, MADV_DONTFORK);
  c->field[CONTROL] = (int32_t *)base;
  return 0;
}

static void destroy(struct card *c)
{
  card_close(c);
  if (c->mapping) munmap(c->mapping, c->mapped);
  free(c->coalescer.item);
  free(c->device);
  free(c);
}

struct card *card_create(const int32_t *offsets, const struct limits *l, struct failure *f)
{
  if (!limits_sane(l) || !offsets_sane(offsets, l)) {
    fail(f, EINVAL, "create card: offsets and limits do not describe a region");
    return NULL;
  }
  struct card *c = calloc(1, sizeof *c);
  if (!c) {
    fail(f, ENOMEM, "create card");
    return NULL;
  }
  c->limits = *l;
  c->bytes = (size_t)offsets[FIELD_COUNT + 1];
  c->wake = -1;
  c->first = c->last = NOBODY;
  c->epoll = epoll_create1(EPOLL_CLOEXEC);
  c->device = calloc((size_t)l->devices, sizeof *c->device);
  c->coalescer.udp = true;
  c->coalescer.item = calloc((size_t)l->burst, sizeof *c->coalescer.item);
  if (c->epoll < 0 || !c->device || !c->coalescer.item) {
    fail(f, c->epoll < 0 ? errno : ENOMEM, "create card");
    destroy(c);
    return NULL;
  }
  if (map_region(c, f) < 0) {
    destroy(c);
    return NULL;
  }
  uint8_t *base = (uint8_t *)c->field[CONTROL];
  for (int i = 0; i < FIELD_COUNT; i++) c->field[i] = (int32_t *)(base + offsets[i]);
  c->arena = base + offsets[FIELD_COUNT];
  /* What looks at the clock before the first poll sees the time. */
  c->field[CONTROL][CTL_NOW] = card_now();
  return c;
}

void card_release(struct card *c)
{
  if (--c->references == 0) destroy(c);
}

void card_close(struct card *c)
{
  if (c->epoll < 0) return;
  close(c->epoll);
  c->epoll = -1;
  c->wake = -1;
  c->first = c->last = NOBODY;
  if (!c->device) return;
  receive_forget(c);
  for (int32_t d = 0; d < c->limits.devices; d++) {
    if (c->device[d].kind != KIND_NONE) c->field[DEVICES][d] = STATE_NONE;
    c->device[d].kind = KIND_NONE;
  }
}

void ready_push(struct card *c, int32_t device)
{
  struct device *d = &c->device[device];
  if (d->ready) return;
  d->ready = true;
  d->next = NOBODY;
  d->previous = c->last;
  if (c->last == NOBODY)
    c->first = device;
  else
    c->device[c->last].next = device;
  c->last = device;
}

void ready_remove(struct card *c, int32_t device)
{
  struct device *d = &c->device[device];
  if (!d->ready) return;
  d->ready = false;
  if (d->previous == NOBODY)
    c->first = d->next;
  else
    c->device[d->previous].next = d->next;
  if (d->next == NOBODY)
    c->last = d->previous;
  else
    c->device[d->next].previous = d->previous;
}

/* The slot of the device table, which must be unused; NULL with `f` filled. */
static struct device *vacancy(struct card *c, int32_t device, struct failure *f)
{
  if (c->epoll < 0)
    fail(f, EBADF, "add device %d to a closed card", device);
  else if (device < 0 || device >= c->limits.devices)
    fail(f, EINVAL, "add device %d to a card of %d", device, c->limits.devices);
  else if (c->device[device].kind != KIND_NONE)
    fail(f, EEXIST, "add device %d", device);
  else
    return &c->device[device];
  return NULL;
}

/*
 * Edge-triggered: the card keeps its own list of devices with frames left, so that an idle device costs
 * nothing and a busy one no epoll bookkeeping.
 */
static int watch(struct card *c, int fd, uint32_t tag, uint32_t events, struct failure *f)
{
  struct epoll_event event = {.events = events, .data.u32 = tag};
  if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event) < 0) return fail(f, errno, "watch descriptor %d", fd);
  return 0;
}

int card_add_tap(struct card *c, int32_t device, int fd, struct failure *f)
{
  struct device *d = vacancy(c, device, f);
  if (!d || watch(c, fd, (uint32_t)device, EPOLLIN | EPOLLET, f) < 0) return -1;
  memset(d, 0, sizeof *d);
  d->kind = KIND_TAP;
  d->fd = fd;
  if (!tap_takes_udp_super_frames(fd)) c->coalescer.udp = false;
  c->field[DEVICES][device] = STATE_OPEN;
  return 0;
}

static int socket_family(int fd, struct failure *f)
{
  int family;
  socklen_t size = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0)
    return fail(f, errno, "use descriptor %d as a socket", fd);
  if (family != AF_INET && family != AF_INET6) return fail(f, EAFNOSUPPORT, "use descriptor %d", fd);
  return family;
}

int card_add_underlay(struct card *c, int32_t device, int rx, const int *tx, int32_t prefix, struct failure *f)
{
  struct device *d = vacancy(c, device, f);
  if (!d) return -1;
  int family = socket_family(rx, f);
  if (family < 0) return -1;
  for (int i = 0; i < TX_SOCKETS; i++) {
    int other = socket_family(tx[i], f);
    if (other < 0) return -1;
    if (other != family) return fail(f, EAFNOSUPPORT, "mix address families in device %d", device);
  }
  if (watch(c, rx, (uint32_t)device, EPOLLIN | EPOLLET, f) < 0) return -1;
  memset(d, 0, sizeof *d);
  d->kind = KIND_UDP;
  d->fd = rx;
  d->family = family;
  d->prefix = prefix;
  memcpy(d->tx, tx, sizeof d->tx);
  c->field[DEVICES][device] = STATE_OPEN;
  return 0;
}

int card_remove(struct card *c, int32_t device, struct failure *f)
{
  if (device < 0 || device >= c->limits.devices || c->device[device].kind == KIND_NONE)
    return fail(f, ENOENT, "remove device %d", device);
  struct device *d = &c->device[device];
  if (!d->gone) epoll_ctl(c->epoll, EPOLL_CTL_DEL, d->fd, NULL);
  ready_remove(c, device);
  if (c->inbox.device == device) receive_forget(c);
  d->kind = KIND_NONE;
  c->field[DEVICES][device] = STATE_NONE;
  return 0;
}

int card_set_wake(struct card *c, int fd, struct failure *f)
{
  if (c->epoll < 0) return fail(f, EBADF, "wake a closed card");
  /* Level-triggered: what a poll did not drain must end the next one. */
  if (watch(c, fd, WAKE_TAG, EPOLLIN, f) < 0) return -1;
  if (c->wake >= 0) epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->wake, NULL);
  c->wake = fd;
  return 0;
}

void card_gone(struct card *c, int32_t device)
{
  struct device *d = &c->device[device];
  if (d->gone) return;
  d->gone = true;
  epoll_ctl(c->epoll, EPOLL_CTL_DEL, d->fd, NULL);
  ready_remove(c, device);
  c->field[DEVICES][device] = STATE_GONE;
  int32_t *count = &c->field[CONTROL][CTL_GONE_COUNT];
  *count = (int32_t)((uint32_t)*count + 1);
}
