/* A tunnel's sockets, and what a TAP must know of the tunnel. */
#ifndef REFERENCE_SETUP_H
#define REFERENCE_SETUP_H

#include "reference.h"

/* The receiving socket, on the tunnel's port, and the sending one; both nonblocking. */
int tunnel_receive(const struct options *o, struct failure *f);
int tunnel_send(const struct options *o, struct failure *f);

/* Lets TCP make super-frames of at most `segments` full segments: then one read is one send. */
int tap_limit(const struct tap_options *o, int index, int segments, struct failure *f);

#endif
