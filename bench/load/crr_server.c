/* Answers one byte with one byte and waits for the client to close. Threads share the listening socket. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

struct service {
  int listener;
  uint64_t end;
};

static void answer(int fd)
{
  char byte;
  socket_timeout(fd, 1);
  /* The second receive ends with the client's reset or end of stream, so that TIME_WAIT is never ours. */
  if (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1) recv(fd, &byte, 1, 0);
  close(fd);
}

static void *serve(void *argument)
{
  const struct service *s = argument;
  while (now() < s->end) {
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) answer(fd);
  }
  return NULL;
}

int crr_server(const struct options *o)
{
  struct service s = {socket_serve(SOCK_STREAM, o->port), after(now(), o->seconds)};
  pthread_t thread[THREADS_MAX];
  socket_timeout(s.listener, 0.1);
  for (int i = 0; i < o->threads; i++)
    if (pthread_create(&thread[i], NULL, serve, &s) != 0) die("start thread %d", i + 1);
  ready();
  for (int i = 0; i < o->threads; i++) pthread_join(thread[i], NULL);
  return 0;
}
