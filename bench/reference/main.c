/*
 * twill-ref: what the system calls alone can do.
 *
 * Two forwarders in bare C to put beside Twill: `tap` passes frames between two TAPs, `vxlan` between a TAP
 * and one peer. They use what Twill's card may use (virtio-net offloads, UDP_SEGMENT, UDP_GRO, checksums
 * with AVX2, coalescing) and nothing else: no address is learned or looked up, no rule applied, there is one
 * peer, one socket to send from, one thread. No switch; do not run it for anything but comparing.
 * With --batch 1 small frames are neither collected nor packed: one frame, one system call.
 *
 * Says "ready" when traffic can flow. SIGTERM ends it: its interfaces go with it, and one JSON object says
 * what it forwarded. Exit status 1: could not, 2: wrong usage.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "reference.h"

#define USAGE                                                                                              \
  "usage: twill-ref tap NETNS1 IF1 NETNS2 IF2 [--address1 A/N] [--address2 A/N] [--mtu M] [--batch 1..64]\n" \
  "       twill-ref vxlan NETNS IF --address A/N --local A --remote A --vni V [--port P] [--mtu M] [--batch 1..64]\n" \
  "       [--seconds S] ends either; NETNS is a name of `ip netns` or a path\n"

static volatile sig_atomic_t stop_asked;

static void stop(int number)
{
  (void)number;
  stop_asked = 1;
}

bool stopped(void) { return stop_asked; }

static _Noreturn void usage(const char *what, const char *why)
{
  if (what) fprintf(stderr, "twill-ref: %s: %s\n", what, why);
  fputs(USAGE, stderr);
  exit(2);
}

static int number(const char *name, const char *text, int low, int high)
{
  char *end;
  long value = strtol(text, &end, 10);
  if (*text && !*end && value >= low && value <= high) return (int)value;
  fprintf(stderr, "twill-ref: %s must be from %d to %d\n", name, low, high);
  exit(2);
}

static struct address address(const char *name, const char *text)
{
  struct address a;
  struct failure f;
  if (address_parse(&a, text, &f) < 0) usage(name, "an IPv4 or IPv6 address is needed");
  return a;
}

/* "A/N"; may be repeated. Cuts `text`. */
static void tap_address(struct tap_options *t, const char *name, char *text)
{
  char *slash = strchr(text, '/');
  if (!slash || t->addresses == TAP_ADDRESSES) usage(name, "an address with its prefix length is needed");
  *slash = 0;
  struct address a = address(name, text);
  t->prefix[t->addresses] = number(name, slash + 1, 0, a.bytes * 8);
  t->address[t->addresses++] = a;
}

static void tap_name(struct tap_options *t, const char *netns, const char *name)
{
  char *path;
  if (asprintf(&path, "%s%s", strchr(netns, '/') ? "" : "/run/netns/", netns) < 0) exit(1);
  if (strlen(name) >= sizeof t->name) usage(name, "an interface's name has at most 15 characters");
  t->netns = path;
  strcpy(t->name, name);
  if (getrandom(t->mac, sizeof t->mac, 0) < 0) exit(1);
  t->mac[0] = 2; /* of our own making, unicast */
}

static void option(struct options *o, const char *name, char *value)
{
  if (!value) usage(name, "a value is missing");
  if (!strcmp(name, "--mtu")) o->mtu = number(name, value, 576, 65535 - ETHERNET);
  else if (!strcmp(name, "--batch")) o->batch = number(name, value, 1, BURST);
  else if (!strcmp(name, "--seconds")) o->seconds = number(name, value, 1, 86400);
  else if (!strcmp(name, "--address1") && o->taps == 2) tap_address(&o->tap[0], name, value);
  else if (!strcmp(name, "--address2") && o->taps == 2) tap_address(&o->tap[1], name, value);
  else if (!strcmp(name, "--address") && o->taps == 1) tap_address(&o->tap[0], name, value);
  else if (!strcmp(name, "--local") && o->taps == 1) o->local = address(name, value);
  else if (!strcmp(name, "--remote") && o->taps == 1) o->remote = address(name, value);
  else if (!strcmp(name, "--vni") && o->taps == 1) o->vni = number(name, value, 0, 0xffffff);
  else if (!strcmp(name, "--port") && o->taps == 1) o->port = number(name, value, 1, 65535);
  else usage(name, "not an option of this mode");
}

static void read_arguments(struct options *o, int argc, char **argv)
{
  o->taps = argc > 1 && !strcmp(argv[1], "tap") ? 2 : 1;
  if (argc < 2 + 2 * o->taps || (o->taps == 1 && strcmp(argv[1], "vxlan") != 0)) usage(NULL, NULL);
  char **at = argv + 2;
  for (int i = 0; i < o->taps; i++, at += 2) tap_name(&o->tap[i], at[0], at[1]);
  for (; *at; at += 2) option(o, at[0], at[1]);
  if (o->taps == 1 && (o->vni < 0 || !o->local.family || o->local.family != o->remote.family))
    usage(argv[1], "--vni and --local and --remote of one family are needed");
  /* what Ethernet, VXLAN, UDP and IP leave of 1500 bytes */
  if (!o->mtu) o->mtu = o->taps == 2 ? 1500 : o->local.family == AF_INET ? 1450 : 1430;
  for (int i = 0; i < o->taps; i++) o->tap[i].mtu = o->mtu;
}

int main(int argc, char **argv)
{
  static struct options o = {.port = 4789, .vni = -1, .batch = BURST, .seconds = 86400};
  struct counters c = {0};
  struct failure f;
  read_arguments(&o, argc, argv);
  struct sigaction action = {.sa_handler = stop}; /* without SA_RESTART: it must wake the loop */
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  int done = o.taps == 2 ? forward_tap(&o, &c, &f) : forward_vxlan(&o, &c, &f);
  if (done < 0) {
    fprintf(stderr, "twill-ref: %s: %s\n", f.attempt, strerror(f.number));
    return 1;
  }
  printf("{\"frames\":%lu,\"bytes\":%lu,\"writes\":%lu,\"drops\":%lu}\n", c.frames, c.bytes, c.writes, c.drops);
  return 0;
}
