/* An IPv4 or IPv6 address with the text it came from. */
#ifndef TWILL_ADDRESS_H
#define TWILL_ADDRESS_H

#include <netinet/in.h>
#include <stdint.h>

#include "failure.h"

struct address {
  int family; /* AF_INET or AF_INET6 */
  int bytes;  /* 4 or 16 */
  uint8_t raw[16];
  char text[INET6_ADDRSTRLEN];
};

int address_parse(struct address *a, const char *text, struct failure *f);

/* Fills a socket address and returns its length. */
socklen_t address_socket(const struct address *a, int port, struct sockaddr_storage *out);

#endif
