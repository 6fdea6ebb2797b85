/*
 * twill-load: source and sink of benchmark traffic. One run, one JSON object on stdout; what goes wrong on
 * stderr with exit status 1, wrong usage with 2. Every mode ends by itself.
 */
#include <stdio.h>
#include <string.h>

#include "load.h"

static const struct mode {
  const char *name;
  int (*run)(const struct options *);
  unsigned needs, takes;
  const char *usage;
} MODES[] = {
    {"sink", sink, PORT | SECONDS, FLOWS | GRO, "--port P --seconds S [--flows N] [--gro]"},
    {"blast", blast, TO | PORT | SIZE | SECONDS, FLOWS | RATE | GSO,
     "--to A --port P --size BYTES|imix --seconds S [--flows N] [--rate PPS] [--gso]"},
    {"rr-server", rr_server, PORT | PROTO, SECONDS, "--port P --proto udp|tcp [--seconds S]"},
    {"rr", rr, TO | PORT | PROTO | SECONDS, SIZE | INTERVAL,
     "--to A --port P --proto udp|tcp --seconds S [--size BYTES] [--interval-us U]"},
    {"crr-server", crr_server, PORT, SECONDS | THREADS, "--port P [--threads T] [--seconds S]"},
    {"crr", crr, TO | PORT | SECONDS, THREADS | FROM | FIN,
     "--to A --port P --seconds S [--threads T] [--from A,B,...] [--fin]"},
    {"pace-server", pace_server, PORT, SECONDS | EACH, "--port P [--seconds S] [--each]"},
    {"pace", pace, TO | PORT | RATE | SECONDS, FRESH, "--to A --port P --rate PPS --seconds S [--fresh]"},
};

#define COUNT (sizeof MODES / sizeof *MODES)

static int usage(const struct mode *only)
{
  for (const struct mode *m = MODES; m < MODES + COUNT; m++)
    if (!only || m == only) fprintf(stderr, "usage: twill-load %s %s\n", m->name, m->usage);
  return 2;
}

int main(int argc, char **argv)
{
  /* Servers outlive the longest run; FLOWS_MAX: a sink need not know how many flows will come. */
  struct options o = {.seconds = 600, .size = 64, .flows = 1, .threads = 8};
  for (const struct mode *m = MODES; argc > 1 && m < MODES + COUNT; m++) {
    if (strcmp(m->name, argv[1]) != 0) continue;
    if (m->run == sink) o.flows = FLOWS_MAX;
    return options_read(&o, argv + 2, m->takes | m->needs, m->needs) ? m->run(&o) : usage(m);
  }
  return usage(NULL);
}
