#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define FAILED (-2)

int netns_enter(const char *path, struct failure *f)
{
  if (!path) return -1;
  /* thread-self: namespaces belong to threads, and this may be a worker. */
  int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (back < 0) {
    fail(f, errno, "open namespace /proc/thread-self/ns/net");
    return FAILED;
  }
  int there = open(path, O_RDONLY | O_CLOEXEC);
  if (there < 0) {
    fail(f, errno, "open namespace %s", path);
    close(back);
    return FAILED;
  }
  int moved = setns(there, CLONE_NEWNET);
  int why = errno;
  close(there);
  if (moved < 0) {
    fail(f, why, "setns %s", path);
    close(back);
    return FAILED;
  }
  return back;
}

void netns_leave(int back)
{
  if (back < 0) return;
  if (setns(back, CLONE_NEWNET) < 0) abort();
  close(back);
}
