#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include "inet.h"
#include "receive.h"
#include "slots.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* Asynchronous socket errors skipped in one turn (an ICMP error is reported once, then forgotten). */
#define ERRORS_SKIPPED 4

static void read_sender(struct origin *from, const union any_address *name)
{
  uint32_t word[4] = {0, 0, htonl(0xffff), 0};
  if (name->sa.sa_family == AF_INET)
    word[3] = name->in.sin_addr.s_addr;
  else
    memcpy(word, &name->in6.sin6_addr, sizeof word);
  for (int i = 0; i < 4; i++) from->remote[i] = ntohl(word[i]);
}

/* Outer TOS, and the size of the datagrams the kernel put into one message (0: it is one datagram). */
static void read_control(struct msghdr *m, int32_t *tos, int32_t *segment)
{
  *tos = *segment = 0;
  for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
    int value = 0;
    if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TOS) {
      *tos = *CMSG_DATA(h);
    } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_TCLASS) {
      memcpy(&value, CMSG_DATA(h), sizeof value);
      *tos = value & 0xff;
    } else if (h->cmsg_level == SOL_UDP && h->cmsg_type == UDP_GRO) {
      memcpy(&value, CMSG_DATA(h), sizeof value);
      *segment = value > 0 ? value : 0;
    }
  }
}

/*
 * Fills the inbox from a socket. Every message has a slot of its own, taken off the free stack.
 * @returns DRAINED or MORE as far as the socket goes, STARVED, FAILED.
 */
static enum turn fill_inbox(struct card *c, int32_t device)
{
  struct inbox *in = &c->inbox;
  int ready = 0, got = -1;
  for (; ready < INBOX; ready++) {
    int32_t slot = slots_take(c);
    if (slot < 0) break;
    in->slot[ready] = slot;
    in->iov[ready] = (struct iovec){slots_buffer(c, slot), (size_t)slots_room(c)};
    in->msg[ready].msg_hdr = (struct msghdr){
        .msg_name = &in->name[ready],
        .msg_namelen = sizeof in->name[ready],
        .msg_iov = &in->iov[ready],
        .msg_iovlen = 1,
        .msg_control = &in->control[ready],
        .msg_controllen = sizeof in->control[ready],
    };
  }
  if (ready == 0) return STARVED;
  enum turn turn = DRAINED;
  for (int errors = 0; got < 0;) {
    /* Not recvmmsg's own timeout: it is only looked at between messages. */
    got = recvmmsg(c->device[device].fd, in->msg, (unsigned)ready, MSG_DONTWAIT, NULL);
    if (got >= 0 || errno == EINTR) continue;
    if (errno == EAGAIN) break;
    turn = FAILED;
    if (++errors == ERRORS_SKIPPED) break;
  }
  in->at = 0;
  in->count = got > 0 ? got : 0;
  in->device = device;
  for (int i = ready; i-- > in->count;) slots_give(c, in->slot[i]);
  if (got == ready) return MORE;
  return got >= 0 ? DRAINED : turn;
}

/*
 * A Linux VXLAN device hands a local sender's UDP super-frame to veth unsegmented, inside one datagram that
 * carries the inner segment size (skb_shinfo->gso_size): the first inner frame then claims the whole message.
 */
static bool is_inner_super(uint8_t *message, int32_t prefix, int32_t length, struct segment *s)
{
  return length > prefix &&
         coalesce_read(s, message + prefix, prefix, length - prefix, &NO_OFFLOAD) == SEGMENT && !s->tcp &&
         prefix + s->headers + s->payload == length && coalesce_is_partial(s);
}

/* Hands up one whole message as one frame. */
static void take_whole(struct card *c, int32_t *n, int32_t slot, int32_t length, const struct origin *from,
                       const struct offload *o, int32_t fault)
{
  coalesce_merge(&c->coalescer, NULL, BLOCKER, from, 0);
  slots_hand_up(c, *n, slot, length, from, o);
  ++*n;
  c->field[FAULT][slot] = fault;
}

/*
 * The datagrams of one message. The first stays where it is; others move behind an earlier frame of their flow,
 * or to a slot of their own.
 * @returns false, with nothing done, when the burst or the free slots cannot hold them all.
 */
static bool take_message(struct card *c, int32_t *n, int at)
{
  struct inbox *in = &c->inbox;
  const int32_t slot = in->slot[at], length = (int32_t)in->msg[at].msg_len, prefix = c->device[in->device].prefix;
  struct origin from = {.device = in->device};
  struct segment s;
  int32_t size;
  if (*n == c->limits.burst) return false;
  read_sender(&from, &in->name[at]);
  read_control(&in->msg[at].msg_hdr, &from.tos, &size);
  uint8_t *message = slots_buffer(c, slot);
  bool truncated = in->msg[at].msg_hdr.msg_flags & MSG_TRUNC;
  if (size == 0 || size > length) size = length;
  int32_t count = size ? (length + size - 1) / size : 1;
  if (truncated || count > c->limits.burst) {
    take_whole(c, n, slot, length, &from, &NO_OFFLOAD, FAULT_TRUNCATED);
    return true;
  }
  if (count > 1 && is_inner_super(message, prefix, length, &s)) {
    struct offload o = {s.l4, UDP_CHECKSUM, GSO_UDP_L4, size};
    take_whole(c, n, slot, length, &from, &o, FAULT_NONE);
    return true;
  }
  if (count > c->limits.burst - *n || count - 1 > slots_free(c)) return false;

  bool stays = false;
  for (int32_t i = 0; i < count; i++) {
    uint8_t *datagram = message + i * size;
    int32_t bytes = i == count - 1 ? length - i * size : size;
    enum standing standing =
        bytes < prefix ? APART : coalesce_read(&s, datagram + prefix, prefix, bytes - prefix, &NO_OFFLOAD);
    if (coalesce_merge(&c->coalescer, &s, standing, &from, slots_room(c))) continue;
    int32_t own = i == 0 ? slot : slots_take(c);
    if (own < 0) break; /* some of the slots counted above are none: the switch's doing, and its loss */
    if (i == 0)
      stays = true;
    else
      memmove(slots_buffer(c, own), datagram, (size_t)bytes); /* the same slot, if it is on the stack twice */
    slots_hand_up(c, *n, own, bytes, &from, &NO_OFFLOAD);
    ++*n;
    s.frame = slots_buffer(c, own) + prefix;
    if (standing == SEGMENT) coalesce_lead(&c->coalescer, &s, &from, own);
  }
  if (!stays) slots_give(c, slot);
  return true;
}

enum turn receive_udp(struct card *c, int32_t device, int32_t *n, struct budget *b)
{
  struct inbox *in = &c->inbox;
  enum turn turn = MORE;
  if (!inbox_waits(in)) turn = fill_inbox(c, device);
  while (inbox_waits(in)) {
    if (!take_message(c, n, in->at)) return STARVED;
    b->frames--;
    b->bytes -= (int32_t)in->msg[in->at++].msg_len;
  }
  return turn;
}

void receive_forget(struct card *c)
{
  struct inbox *in = &c->inbox;
  while (inbox_waits(in)) slots_give(c, in->slot[in->at++]);
}
