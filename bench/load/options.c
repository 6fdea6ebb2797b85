#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option {
  const char *name;
  unsigned bit;
  bool flag; /* takes no value */
} OPTIONS[] = {
    {"--to", TO, false},           {"--port", PORT, false},       {"--size", SIZE, false},
    {"--flows", FLOWS, false},     {"--seconds", SECONDS, false}, {"--rate", RATE, false},
    {"--interval-us", INTERVAL, false}, {"--threads", THREADS, false}, {"--proto", PROTO, false},
    {"--from", FROM, false},       {"--gso", GSO, true},          {"--gro", GRO, true},
    {"--fin", FIN, true},          {"--fresh", FRESH, true},
    {"--each", EACH, true},
};

static bool wrong(const char *name, const char *text, const char *right)
{
  fprintf(stderr, "twill-load: %s%s%s: %s\n", name, *text ? " " : "", text, right);
  return false;
}

static bool whole(const char *name, const char *text, int low, int high, int *out)
{
  char *end;
  char right[64];
  long value = strtol(text, &end, 10);
  if (*text && !*end && value >= low && value <= high) {
    *out = (int)value;
    return true;
  }
  snprintf(right, sizeof right, "a whole number from %d to %d is needed", low, high);
  return wrong(name, text, right);
}

static bool real(const char *name, const char *text, double low, double high, double *out)
{
  char *end;
  char right[64];
  double value = strtod(text, &end);
  if (*text && !*end && value >= low && value <= high) {
    *out = value;
    return true;
  }
  snprintf(right, sizeof right, "a number from %g to %g is needed", low, high);
  return wrong(name, text, right);
}

static bool address(const char *name, const char *text, struct address *out)
{
  struct failure f;
  return address_parse(out, text, &f) == 0 || wrong(name, text, "an IPv4 or IPv6 address is needed");
}

/* "A,B,…": cuts `text`. */
static bool addresses(const char *name, char *text, struct options *o)
{
  for (char *next, *at = text; at; at = next) {
    next = strchr(at, ',');
    if (next) *next++ = 0;
    if (o->sources == SOURCES_MAX) return wrong(name, at, "too many source addresses");
    if (!address(name, at, &o->source[o->sources++])) return false;
  }
  return true;
}

static bool proto(const char *name, const char *text, bool *tcp)
{
  *tcp = strcmp(text, "tcp") == 0;
  return *tcp || strcmp(text, "udp") == 0 || wrong(name, text, "udp or tcp is needed");
}

static bool size(const char *name, const char *text, int *out)
{
  *out = SIZE_IMIX;
  return strcmp(text, "imix") == 0 || whole(name, text, 16, SIZE_MAX_UDP, out);
}

static bool store(struct options *o, const struct option *option, char *text)
{
  switch (option->bit) {
    case TO: return address(option->name, text, &o->to);
    case PORT: return whole(option->name, text, 1, 65535, &o->port);
    case SIZE: return size(option->name, text, &o->size);
    case FLOWS: return whole(option->name, text, 1, FLOWS_MAX, &o->flows);
    case SECONDS: return real(option->name, text, 0.1, 3600, &o->seconds);
    case RATE: return real(option->name, text, 1, 1e9, &o->rate);
    case INTERVAL: return whole(option->name, text, 1, 1000000, &o->interval_us);
    case THREADS: return whole(option->name, text, 1, THREADS_MAX, &o->threads);
    case PROTO: return proto(option->name, text, &o->tcp);
    case FROM: return addresses(option->name, text, o);
    case GSO: return o->gso = true;
    case GRO: return o->gro = true;
    case FRESH: return o->fresh = true;
    case EACH: return o->each = true;
    default: return o->fin = true;
  }
}

static const struct option *find(const char *name, unsigned takes)
{
  for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
    if (takes & OPTIONS[i].bit && strcmp(OPTIONS[i].name, name) == 0) return &OPTIONS[i];
  return NULL;
}

bool options_read(struct options *o, char **argument, unsigned takes, unsigned needs)
{
  for (; *argument; argument++) {
    const struct option *option = find(*argument, takes);
    if (!option) return wrong(*argument, "", "not an option of this mode");
    needs &= ~option->bit;
    if (!option->flag && !*++argument) return wrong(option->name, "", "a value is missing");
    if (!store(o, option, *argument)) return false;
  }
  for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
    if (needs & OPTIONS[i].bit) return wrong(OPTIONS[i].name, "", "is missing");
  for (int i = 0; i < o->sources; i++)
    if (o->source[i].family != o->to.family) return wrong("--from", o->source[i].text, "not of the family of --to");
  if (o->gso && o->size == SIZE_IMIX) return wrong("--gso", "", "cuts equal sizes: --size imix does not fit");
  return true;
}
