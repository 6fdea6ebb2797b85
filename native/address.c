#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int address_parse(struct address *a, const char *text, struct failure *f)
{
  memset(a, 0, sizeof *a);
  if (inet_pton(AF_INET, text, a->raw) == 1) {
    a->family = AF_INET;
    a->bytes = 4;
  } else if (inet_pton(AF_INET6, text, a->raw) == 1) {
    a->family = AF_INET6;
    a->bytes = 16;
  } else {
    return fail(f, EINVAL, "parse address \"%s\"", text);
  }
  inet_ntop(a->family, a->raw, a->text, sizeof a->text);
  return 0;
}

socklen_t address_socket(const struct address *a, int port, struct sockaddr_storage *out)
{
  memset(out, 0, sizeof *out);
  if (a->family == AF_INET) {
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    memcpy(&in->sin_addr, a->raw, 4);
    return sizeof *in;
  }
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons((uint16_t)port);
  memcpy(&in6->sin6_addr, a->raw, 16);
  return sizeof *in6;
}
