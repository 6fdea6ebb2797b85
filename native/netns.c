#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

int netns_open(const char *path, struct failure *f)
{
  int there = open(path, O_RDONLY | O_CLOEXEC);
  return there < 0 ? fail(f, errno, "open namespace %s", path) : there;
}

int netns_enter(int there, const char *path, struct failure *f)
{
  /* thread-self: namespaces belong to threads, and this may be a worker. */
  int back = netns_open("/proc/thread-self/ns/net", f);
  if (back < 0) return -1;
  if (setns(there, CLONE_NEWNET) == 0) return back;
  fail(f, errno, "setns %s", path);
  close(back);
  return -1;
}

void netns_leave(int back)
{
  if (setns(back, CLONE_NEWNET) < 0) abort();
  close(back);
}
