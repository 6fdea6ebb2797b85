/* Sends back what it gets: datagrams of anybody, or the bytes of one TCP connection after the other. */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

static uint8_t buffer[65536];

static void echo_datagram(int fd)
{
  struct sockaddr_storage from;
  socklen_t size = sizeof from;
  ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &size);
  /* What cannot be answered the client counts as lost. */
  if (n >= 0) sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&from, size);
}

static void echo_connection(int listener, uint64_t end)
{
  int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  socket_timeout(fd, 1);
  while (now() < end) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
    if (n > 0 && send(fd, buffer, (size_t)n, MSG_NOSIGNAL) < 0) break;
  }
  close(fd);
}

int rr_server(const struct options *o)
{
  int fd = socket_serve(o->tcp ? SOCK_STREAM : SOCK_DGRAM, o->port);
  uint64_t end = after(now(), o->seconds);
  socket_timeout(fd, 0.1);
  ready();
  while (now() < end)
    if (o->tcp)
      echo_connection(fd, end);
    else
      echo_datagram(fd);
  return 0;
}
