#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One request at a time: a fixed buffer is enough, answers about one link stay below 8 KiB. */
struct request {
  struct nlmsghdr h;
  uint8_t body[512];
};

struct reply {
  _Alignas(struct nlmsghdr) uint8_t bytes[16384];
  struct nlmsghdr *h;
};

int netlink_open(struct failure *f)
{
  int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (nl < 0) return fail(f, errno, "open rtnetlink");
  return nl;
}

static void *begin(struct request *q, uint16_t type, uint16_t flags, size_t body)
{
  memset(q, 0, sizeof *q);
  q->h.nlmsg_type = type;
  q->h.nlmsg_flags = NLM_F_REQUEST | flags;
  q->h.nlmsg_len = NLMSG_LENGTH(body);
  return NLMSG_DATA(&q->h);
}

static void attribute(struct request *q, uint16_t type, const void *value, size_t size)
{
  struct rtattr *a = (struct rtattr *)((uint8_t *)q + NLMSG_ALIGN(q->h.nlmsg_len));
  a->rta_type = type;
  a->rta_len = (uint16_t)RTA_LENGTH(size);
  memcpy(RTA_DATA(a), value, size);
  q->h.nlmsg_len = NLMSG_ALIGN(q->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* Sends and reads one answer. @returns 0, or an errno: the kernel's or the socket's. */
static int ask(int nl, struct request *q, struct reply *r)
{
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  ssize_t n = sendto(nl, q, q->h.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel);
  if (n < 0) return errno;
  do {
    n = recv(nl, r->bytes, sizeof r->bytes, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  r->h = (struct nlmsghdr *)r->bytes;
  if (!NLMSG_OK(r->h, n)) return EBADMSG;
  if (r->h->nlmsg_type != NLMSG_ERROR) return 0;
  if (r->h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))) return EBADMSG;
  return -((struct nlmsgerr *)NLMSG_DATA(r->h))->error;
}

int netlink_link(int nl, const char *name, int index, struct link *out, struct failure *f)
{
  struct request q;
  struct reply r;
  struct ifinfomsg *i = begin(&q, RTM_GETLINK, 0, sizeof *i);
  i->ifi_index = index;
  if (name) attribute(&q, IFLA_IFNAME, name, strlen(name) + 1);
  int why = ask(nl, &q, &r);
  if (why && name) return fail(f, why, "find link %s", name);
  if (why) return fail(f, why, "find link %d", index);
  if (r.h->nlmsg_type != RTM_NEWLINK) return fail(f, EBADMSG, "find link");

  struct ifinfomsg *got = NLMSG_DATA(r.h);
  memset(out, 0, sizeof *out);
  out->index = got->ifi_index;
  int left = (int)IFLA_PAYLOAD(r.h);
  for (struct rtattr *a = IFLA_RTA(got); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == IFLA_MTU && RTA_PAYLOAD(a) >= 4) memcpy(&out->mtu, RTA_DATA(a), 4);
    if (a->rta_type == IFLA_IFNAME && RTA_PAYLOAD(a) <= sizeof out->name)
      memcpy(out->name, RTA_DATA(a), RTA_PAYLOAD(a));
  }
  out->name[sizeof out->name - 1] = 0;
  return 0;
}

int netlink_change(int nl, int index, const uint8_t *mac, uint32_t mtu, uint32_t gso, struct failure *f)
{
  struct request q;
  struct reply r;
  struct ifinfomsg *i = begin(&q, RTM_NEWLINK, NLM_F_ACK, sizeof *i);
  i->ifi_index = index;
  if (mac) attribute(&q, IFLA_ADDRESS, mac, 6);
  attribute(&q, IFLA_MTU, &mtu, sizeof mtu);
  attribute(&q, IFLA_GSO_MAX_SIZE, &gso, sizeof gso);
  int why = ask(nl, &q, &r);
  if (!why) return 0;
  if (!mac) return fail(f, why, "set MTU %u", mtu);
  return fail(f, why, "set MAC %02x:%02x:%02x:%02x:%02x:%02x and MTU %u", mac[0], mac[1], mac[2], mac[3], mac[4],
              mac[5], mtu);
}

int netlink_move(int nl, int index, int netns, const char *name, struct failure *f)
{
  struct request q;
  struct reply r;
  struct ifinfomsg *i = begin(&q, RTM_NEWLINK, NLM_F_ACK, sizeof *i);
  i->ifi_index = index;
  attribute(&q, IFLA_NET_NS_FD, &netns, sizeof netns);
  attribute(&q, IFLA_IFNAME, name, strlen(name) + 1);
  int why = ask(nl, &q, &r);
  return why ? fail(f, why, "move link to another namespace as %s", name) : 0;
}

int netlink_up(int nl, int index, struct failure *f)
{
  struct request q;
  struct reply r;
  struct ifinfomsg *i = begin(&q, RTM_NEWLINK, NLM_F_ACK, sizeof *i);
  i->ifi_index = index;
  i->ifi_flags = i->ifi_change = IFF_UP;
  int why = ask(nl, &q, &r);
  return why ? fail(f, why, "set link up") : 0;
}

int netlink_address(int nl, int index, const struct address *a, int prefix, struct failure *f)
{
  struct request q;
  struct reply r;
  struct ifaddrmsg *i = begin(&q, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sizeof *i);
  i->ifa_family = (uint8_t)a->family;
  i->ifa_prefixlen = (uint8_t)prefix;
  i->ifa_index = (uint32_t)index;
  if (a->family == AF_INET6) i->ifa_flags = IFA_F_NODAD;
  attribute(&q, IFA_LOCAL, a->raw, (size_t)a->bytes);
  attribute(&q, IFA_ADDRESS, a->raw, (size_t)a->bytes);
  if (a->family == AF_INET && prefix < 31) {
    uint32_t word;
    memcpy(&word, a->raw, 4);
    word |= htonl(prefix ? 0xffffffffu >> prefix : 0xffffffffu);
    attribute(&q, IFA_BROADCAST, &word, 4);
  }
  int why = ask(nl, &q, &r);
  return why ? fail(f, why, "add address %s/%d", a->text, prefix) : 0;
}

int netlink_default_route(int nl, int index, const struct address *gateway, struct failure *f)
{
  struct request q;
  struct reply r;
  struct rtmsg *m = begin(&q, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
  m->rtm_family = (uint8_t)gateway->family;
  m->rtm_table = RT_TABLE_MAIN;
  m->rtm_protocol = RTPROT_STATIC;
  m->rtm_scope = RT_SCOPE_UNIVERSE;
  m->rtm_type = RTN_UNICAST;
  attribute(&q, RTA_GATEWAY, gateway->raw, (size_t)gateway->bytes);
  attribute(&q, RTA_OIF, &index, sizeof index);
  int why = ask(nl, &q, &r);
  return why ? fail(f, why, "add default route via %s", gateway->text) : 0;
}

/* Of no routing daemon in /etc/iproute2/rt_protos: these routes are ours alone. */
#define ROUTES_OF_TWILL 84

int netlink_change_route(int nl, bool add, const struct way *w, struct failure *f)
{
  struct request q;
  struct reply r;
  uint16_t flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
  struct rtmsg *m = begin(&q, add ? RTM_NEWROUTE : RTM_DELROUTE, NLM_F_ACK | flags, sizeof *m);
  m->rtm_family = (uint8_t)w->to.family;
  m->rtm_dst_len = (uint8_t)w->prefix;
  m->rtm_table = RT_TABLE_MAIN;
  m->rtm_protocol = ROUTES_OF_TWILL;
  m->rtm_scope = RT_SCOPE_UNIVERSE;
  m->rtm_type = RTN_UNICAST;
  m->rtm_flags = RTNH_F_ONLINK;
  attribute(&q, RTA_DST, w->to.raw, (size_t)w->to.bytes);
  attribute(&q, RTA_GATEWAY, w->via.raw, (size_t)w->via.bytes);
  attribute(&q, RTA_PREFSRC, w->source.raw, (size_t)w->source.bytes);
  attribute(&q, RTA_OIF, &w->index, sizeof w->index);
  int why = ask(nl, &q, &r);
  return why ? fail(f, why, "%s route to %s/%d", add ? "add" : "remove", w->to.text, w->prefix) : 0;
}

/* IPv4 answers an unusable route with an error, IPv6 with a route whose type says so. */
static int route_error(const struct rtmsg *m)
{
  switch (m->rtm_type) {
    case RTN_UNREACHABLE:
      return ENETUNREACH;
    case RTN_BLACKHOLE:
      return EINVAL;
    case RTN_PROHIBIT:
      return EACCES;
    default:
      return 0;
  }
}

/* A metric of a route, 0 when it has none. */
static uint32_t metric(struct rtattr *metrics, uint16_t type)
{
  uint32_t value = 0;
  int left = (int)RTA_PAYLOAD(metrics);
  for (struct rtattr *a = RTA_DATA(metrics); RTA_OK(a, left); a = RTA_NEXT(a, left))
    if (a->rta_type == type && RTA_PAYLOAD(a) >= sizeof value) memcpy(&value, RTA_DATA(a), sizeof value);
  return value;
}

int netlink_route(int nl, const struct address *to, struct route *out, struct failure *f)
{
  struct request q;
  struct reply r;
  struct rtmsg *m = begin(&q, RTM_GETROUTE, 0, sizeof *m);
  m->rtm_family = (uint8_t)to->family;
  m->rtm_dst_len = (uint8_t)(to->bytes * 8);
  attribute(&q, RTA_DST, to->raw, (size_t)to->bytes);
  int why = ask(nl, &q, &r);
  if (!why && r.h->nlmsg_type != RTM_NEWROUTE) why = EBADMSG;
  if (!why) why = route_error(m = NLMSG_DATA(r.h));
  if (why) return fail(f, why, "find route to %s", to->text);

  bool learned = false;
  memset(out, 0, sizeof *out);
  int left = (int)RTM_PAYLOAD(r.h);
  for (struct rtattr *a = RTM_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) >= 4) memcpy(&out->index, RTA_DATA(a), 4);
    if (a->rta_type == RTA_PREFSRC && RTA_PAYLOAD(a) >= (size_t)to->bytes) {
      out->source = (struct address){.family = to->family, .bytes = to->bytes};
      memcpy(out->source.raw, RTA_DATA(a), (size_t)to->bytes);
      inet_ntop(to->family, out->source.raw, out->source.text, sizeof out->source.text);
    }
    if (a->rta_type == RTA_METRICS) out->mtu = metric(a, RTAX_MTU);
    if (a->rta_type == RTA_CACHEINFO && RTA_PAYLOAD(a) >= sizeof(struct rta_cacheinfo)) {
      struct rta_cacheinfo cache;
      memcpy(&cache, RTA_DATA(a), sizeof cache);
      learned = cache.rta_expires != 0;
    }
  }
  /* An exception the kernel learned expires; the prober finds and forgets those itself. */
  if (learned) out->mtu = 0;
  if (out->index == 0) return fail(f, ENETUNREACH, "find route to %s", to->text);
  return 0;
}
