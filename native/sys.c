#include "sys.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int sys_close(int fd, struct failure *f)
{
  /* Linux releases the descriptor even when it says EINTR. */
  if (close(fd) < 0 && errno != EINTR) return fail(f, errno, "close descriptor %d", fd);
  return 0;
}

int sys_create_wake(struct failure *f)
{
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? fail(f, errno, "create eventfd") : fd;
}

int sys_wake(int fd, struct failure *f)
{
  uint64_t one = 1;
  /* EAGAIN: the counter is full, so the sleeper is awake already. */
  if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN) return fail(f, errno, "wake descriptor %d", fd);
  return 0;
}

int sys_notify(const char *path, const char *message, struct failure *f)
{
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if ((path[0] != '/' && path[0] != '@') || length < 2) return fail(f, EAFNOSUPPORT, "notify \"%s\"", path);
  if (length >= sizeof to.sun_path) return fail(f, ENAMETOOLONG, "notify %s", path);
  memcpy(to.sun_path, path, length);
  if (path[0] == '@') to.sun_path[0] = 0;

  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(f, errno, "notify %s", path);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  ssize_t sent = sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&to, size);
  int why = errno;
  close(fd);
  return sent < 0 ? fail(f, why, "notify %s", path) : 0;
}

int sys_pin(int cpu, struct failure *f)
{
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return fail(f, EINVAL, "pin to CPU %d", cpu);
  CPU_SET((size_t)cpu, &set);
  return sched_setaffinity(0, sizeof set, &set) < 0 ? fail(f, errno, "pin to CPU %d", cpu) : 0;
}

int sys_set_real_time(int thread, bool on, struct failure *f)
{
  struct sched_param param = {.sched_priority = on ? 1 : 0};
  int policy = on ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER;
  if (sched_setscheduler(thread, policy, &param) == 0) return 0;
  return fail(f, errno, "make thread %d %s", thread, on ? "real-time" : "an ordinary one");
}
