/* Running a few system calls inside another network namespace. */
#ifndef TWILL_NETNS_H
#define TWILL_NETNS_H

#include "failure.h"

/*
 * Moves the calling thread into the namespace at `path`; NULL stays. Every success is paired with
 * netns_leave(). @returns the way back (-1 when it stayed), or -2 with `f` filled.
 */
int netns_enter(const char *path, struct failure *f);

/* Goes back. Never fails: a thread stuck in a foreign namespace would act there, so that aborts. */
void netns_leave(int back);

#endif
