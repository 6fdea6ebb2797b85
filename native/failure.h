/* Why a cold-path call failed: an errno and what was attempted. Becomes a JavaScript Error at the edge. */
#ifndef TWILL_FAILURE_H
#define TWILL_FAILURE_H

struct failure {
  int number;
  char attempt[256];
};

/* Records the failure and returns -1, so that callers can `return fail(...)`. */
int fail(struct failure *f, int number, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
