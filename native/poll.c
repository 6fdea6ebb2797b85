/* Burst receive: who is ready, whose turn it is, frames into slots. */
#include "card.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "vnet.h"

/* Longest sleep: worker.terminate() cannot interrupt a call into the addon. */
#define SLEEP_MAX 100
#define EVENTS 64
/* Frames of one turn. A datagram socket stands for many remote ports and batches its system calls. */
#define TAP_TURN 8
#define UDP_TURN 32
/* Asynchronous socket errors skipped in one turn (an ICMP error is reported once, then forgotten). */
#define ERRORS_SKIPPED 4

enum turn {
  DRAINED, /* nothing left: wait for epoll's next edge */
  MORE,    /* its share is used up */
  FAILED,  /* errors used up its share: others first, and no more of it in this poll */
  STARVED, /* no free slot */
};

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

/* Height of the free stack after dropping entries that name no slot. */
static int32_t free_slots(struct card *c)
{
  int32_t *count = &c->field[CONTROL][CTL_FREE_COUNT];
  if (*count < 0 || *count > c->limits.slots) *count = 0;
  while (*count > 0 && (uint32_t)c->field[FREE][*count - 1] >= (uint32_t)c->limits.slots) --*count;
  return *count;
}

/* Writes every column of a received slot; `fault` may be raised later. */
static void hand_up(struct card *c, int32_t at, int32_t slot, int32_t device, int32_t length)
{
  int32_t **f = c->field;
  f[START][slot] = slot * c->limits.slot_bytes + c->limits.headroom;
  f[LENGTH][slot] = length;
  f[DEVICE][slot] = device;
  f[CSUM_START][slot] = 0;
  f[CSUM_OFFSET][slot] = 0;
  f[GSO_TYPE][slot] = GSO_NONE;
  f[GSO_SIZE][slot] = 0;
  f[FAULT][slot] = FAULT_NONE;
  f[TOS][slot] = 0;
  f[REMOTE0][slot] = 0;
  f[REMOTE1][slot] = 0;
  f[REMOTE2][slot] = 0;
  f[REMOTE3][slot] = 0;
  f[RX][at] = slot;
}

static void take_vnet(struct card *c, int32_t slot, const uint8_t *frame, int32_t length)
{
  struct vnet h;
  memcpy(&h, frame - VNET_BYTES, sizeof h);
  /* Almost every small frame that was forwarded to us says nothing at all. */
  if (!(h.flags | h.gso_type)) return;
  struct offload o = {0, 0, h.gso_type, 0};
  if (h.flags & VNET_NEEDS_CSUM) {
    o.csum_start = le16toh(h.csum_start);
    o.csum_offset = le16toh(h.csum_offset);
  }
  if (o.gso_type != GSO_NONE) o.gso_size = le16toh(h.gso_size);
  int32_t headers;
  /* hdr_len is the kernel's linear length, not the headers': only its bound means anything. */
  if ((h.flags & VNET_NEEDS_CSUM && o.csum_start == 0) || !offload_valid(&o, frame, length, &headers) ||
      (o.gso_type != GSO_NONE && le16toh(h.hdr_len) > length)) {
    c->field[FAULT][slot] = FAULT_VNET;
    return;
  }
  c->field[CSUM_START][slot] = o.csum_start;
  c->field[CSUM_OFFSET][slot] = o.csum_offset;
  c->field[GSO_TYPE][slot] = o.gso_type;
  c->field[GSO_SIZE][slot] = o.gso_size;
}

/* One read per frame; the header lands in the headroom right before it. */
static enum turn receive_tap(struct card *c, int32_t device, int32_t *n)
{
  const size_t room = (size_t)(c->limits.slot_bytes - c->limits.headroom) + VNET_BYTES;
  int fd = c->device[device].fd;
  for (int turn = 0; turn < TAP_TURN && *n < c->limits.burst; turn++) {
    int32_t left = free_slots(c);
    if (left == 0) return STARVED;
    int32_t slot = c->field[FREE][left - 1];
    uint8_t *frame = c->arena + slot * c->limits.slot_bytes + c->limits.headroom;
    ssize_t got = read(fd, frame - VNET_BYTES, room);
    if (got <= 0) {
      if (got < 0 && errno == EINTR) continue;
      /* EBADFD: namespace deleted or link removed; EIO: the same on older kernels. */
      if (got < 0 && (errno == EBADFD || errno == EIO || errno == ENODEV)) card_gone(c, device);
      return DRAINED;
    }
    c->field[CONTROL][CTL_FREE_COUNT] = left - 1;
    int32_t length = (int32_t)got - VNET_BYTES;
    hand_up(c, *n, slot, device, length > 0 ? length : 0);
    ++*n;
    if (length < 0)
      c->field[FAULT][slot] = FAULT_VNET;
    else if ((size_t)got == room)
      c->field[FAULT][slot] = FAULT_TRUNCATED; /* tun cuts silently */
    else
      take_vnet(c, slot, frame, length);
  }
  return MORE;
}

static void take_sender(struct card *c, int32_t slot, const union any_address *from)
{
  uint32_t word[4] = {0, 0, htonl(0xffff), 0};
  if (from->sa.sa_family == AF_INET)
    word[3] = from->in.sin_addr.s_addr;
  else
    memcpy(word, &from->in6.sin6_addr, sizeof word);
  for (int i = 0; i < 4; i++) c->field[REMOTE0 + i][slot] = (int32_t)ntohl(word[i]);
}

static int32_t tos_of(struct msghdr *m)
{
  for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
    if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TOS) return *CMSG_DATA(h);
    if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_TCLASS) {
      int value;
      memcpy(&value, CMSG_DATA(h), sizeof value);
      return value & 0xff;
    }
  }
  return 0;
}

/* Points the next messages at the topmost free slots. @returns how many. */
static int prepare(struct card *c, int32_t left, int want)
{
  int n = 0;
  for (; n < want && n < left; n++) {
    int32_t slot = c->field[FREE][left - 1 - n];
    if ((uint32_t)slot >= (uint32_t)c->limits.slots) break;
    c->rx.iov[n].iov_base = c->arena + slot * c->limits.slot_bytes + c->limits.headroom;
    c->rx.iov[n].iov_len = (size_t)(c->limits.slot_bytes - c->limits.headroom);
    c->rx.msg[n].msg_hdr = (struct msghdr){
        .msg_name = &c->rx.name[n],
        .msg_namelen = sizeof c->rx.name[n],
        .msg_iov = &c->rx.iov[n],
        .msg_iovlen = 1,
        .msg_control = &c->rx.control[n],
        .msg_controllen = sizeof c->rx.control[n],
    };
  }
  return n;
}

static enum turn receive_udp(struct card *c, int32_t device, int32_t *n)
{
  int32_t left = free_slots(c);
  if (left == 0) return STARVED;
  int want = c->limits.burst - *n < UDP_TURN ? c->limits.burst - *n : UDP_TURN;
  int ready = prepare(c, left, want);
  int got = -1;
  for (int errors = 0; got < 0;) {
    /* Not recvmmsg's own timeout: it is only looked at between messages. */
    got = recvmmsg(c->device[device].fd, c->rx.msg, (unsigned)ready, MSG_DONTWAIT, NULL);
    if (got >= 0 || errno == EINTR) continue;
    if (errno == EAGAIN) return DRAINED;
    if (++errors == ERRORS_SKIPPED) return FAILED;
  }
  for (int i = 0; i < got; i++) {
    int32_t slot = c->field[FREE][left - 1 - i];
    struct msghdr *m = &c->rx.msg[i].msg_hdr;
    hand_up(c, *n, slot, device, (int32_t)c->rx.msg[i].msg_len);
    ++*n;
    take_sender(c, slot, &c->rx.name[i]);
    c->field[TOS][slot] = tos_of(m);
    if (m->msg_flags & MSG_TRUNC) c->field[FAULT][slot] = FAULT_TRUNCATED;
  }
  if (got > 0) c->field[CONTROL][CTL_FREE_COUNT] = left - got;
  return got == ready ? MORE : DRAINED;
}

/* Devices take turns until the burst is full, nobody has frames left, or slots run out. */
static int32_t receive(struct card *c)
{
  int32_t n = 0;
  while (n < c->limits.burst && c->first != NOBODY) {
    int32_t device = c->first;
    enum turn turn = c->device[device].kind == KIND_TAP ? receive_tap(c, device, &n) : receive_udp(c, device, &n);
    if (turn == STARVED) break;
    ready_remove(c, device);
    if (turn != DRAINED) ready_push(c, device);
    if (turn == FAILED) break;
  }
  return n;
}

int32_t card_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  int32_t ms = (int32_t)(uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
  return ms ? ms : 1; /* 0 means "never" in the switch's tables. */
}

int32_t card_poll(struct card *c)
{
  int32_t *control = c->field[CONTROL];
  int32_t timeout = control[CTL_TIMEOUT];
  timeout = timeout < 0 ? 0 : timeout > SLEEP_MAX ? SLEEP_MAX : timeout;
  bool idle = c->first == NOBODY;
  collect(c, idle ? timeout : 0);
  int32_t n = receive(c);
  if (n == 0 && !idle && timeout > 0) {
    /* Still ready yet nothing received: the switch holds every slot. Do not spin on it. */
    collect(c, c->first == NOBODY ? timeout : 1);
    n = receive(c);
  }
  control[CTL_NOW] = card_now();
  control[CTL_RX_COUNT] = n;
  return n;
}
