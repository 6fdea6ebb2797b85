/* Running a few system calls inside another network namespace. */
#ifndef TWILL_NETNS_H
#define TWILL_NETNS_H

#include "failure.h"

/* A descriptor of the network namespace at `path`, to be closed; -1 with `f` filled: EINVAL for any other file. */
int netns_open(const char *path, struct failure *f);

/*
 * Moves the calling thread into a namespace; `path` is for the message. Every success is paired with
 * netns_leave(). @returns the way back, or -1 with `f` filled.
 */
int netns_enter(int there, const char *path, struct failure *f);

/* Goes back. Never fails: a thread stuck in a foreign namespace would act there, so that aborts. */
void netns_leave(int back);

#endif
