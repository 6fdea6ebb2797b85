/* Small system calls Node has no function for. Each returns 0 (or a descriptor), or -1 with `f` filled. */
#ifndef TWILL_SYS_H
#define TWILL_SYS_H

#include <stdbool.h>

#include "failure.h"

int sys_close(int fd, struct failure *f);
/* An eventfd. */
int sys_create_wake(struct failure *f);
int sys_wake(int fd, struct failure *f);
/* One datagram to a unix socket: a path, or @name for the abstract namespace (sd_notify(3)). */
int sys_notify(const char *socket, const char *message, struct failure *f);
/* Pins the calling thread; V8's helper threads keep the mask they have. */
int sys_pin(int cpu, struct failure *f);
/*
 * Whether a thread goes before all that is no real-time thread (sched(7), SCHED_FIFO, lowest priority). Threads it
 * starts do not inherit that.
 */
int sys_set_real_time(int thread, bool on, struct failure *f);

#endif
