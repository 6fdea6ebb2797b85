#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

int netns_open(const char *path, struct failure *f)
{
  /* Whatever the path names, a FIFO or a terminal, must neither block nor become ours. */
  int there = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (there < 0) return fail(f, errno, "open namespace %s", path);
  struct statfs file;
  if (fstatfs(there, &file) == 0 && file.f_type == NSFS_MAGIC && ioctl(there, NS_GET_NSTYPE) == CLONE_NEWNET)
    return there;
  close(there);
  return fail(f, EINVAL, "setns %s", path);
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
