/* The addon's functions, as typed in src/card/native.ts. It keeps no state of its own: any thread may load it. */
#include <errno.h>
#include <limits.h>
#include <node_api.h>
#include <string.h>

#include "args.h"
#include "handle.h"
#include "layout.h"
#include "netlink.h"
#include "sys.h"
#include "tap.h"
#include "udp.h"

#include <unistd.h>

/* IEEE 802.3 leaves no smaller IPv4 link (RFC 791: 68); tun's largest is 65,535 minus the Ethernet header. */
#define MTU_MIN 68
#define MTU_MAX 65521

/* A name the kernel takes literally: "%d" would be a pattern, '/' and spaces are refused. */
static bool read_name(napi_env env, napi_value v, char *out)
{
  if (!read_string(env, v, "name", out, IFNAMSIZ)) return false;
  if (out[0] == 0 || strpbrk(out, "/%: \t\n") || !strcmp(out, ".") || !strcmp(out, ".."))
    return throw_argument(env, "name", "an interface name of 1 to 15 bytes");
  return true;
}

static int hex(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool read_mac(napi_env env, napi_value options, uint8_t *mac)
{
  char text[18];
  if (!get_string(env, options, "mac", text, sizeof text)) return false;
  bool good = strlen(text) == 17;
  for (int i = 0; good && i < 6; i++) {
    int high = hex(text[i * 3]), low = hex(text[i * 3 + 1]);
    good = high >= 0 && low >= 0 && (i == 5 || text[i * 3 + 2] == ':');
    if (good) mac[i] = (uint8_t)(high << 4 | low);
  }
  if (!good || mac[0] & 1) return throw_argument(env, "mac", "a unicast address like 02:00:00:00:00:01");
  return true;
}

static bool read_address(napi_env env, napi_value v, const char *what, struct address *out)
{
  char text[64];
  struct failure f;
  if (!read_string(env, v, what, text, sizeof text)) return false;
  if (address_parse(out, text, &f) == 0) return true;
  throw_failure(env, &f);
  return false;
}

static bool read_addresses(napi_env env, napi_value options, struct tap_options *o)
{
  napi_value list, item, text;
  uint32_t count;
  if (!get_property(env, options, "addresses", &list) || !read_length(env, list, "addresses", TAP_ADDRESSES, &count))
    return false;
  o->addresses = (int)count;
  for (uint32_t i = 0; i < count; i++) {
    if (!get_element(env, list, i, &item) || !get_property(env, item, "address", &text) ||
        !read_address(env, text, "address", &o->address[i]) ||
        !get_int(env, item, "prefix", 0, o->address[i].bytes * 8, &o->prefix[i]))
      return false;
  }
  return true;
}

static bool read_gateways(napi_env env, napi_value options, struct tap_options *o)
{
  napi_value list, item;
  uint32_t count;
  if (!get_property(env, options, "gateways", &list) || !read_length(env, list, "gateways", TAP_GATEWAYS, &count))
    return false;
  o->gateways = (int)count;
  for (uint32_t i = 0; i < count; i++) {
    if (!get_element(env, list, i, &item) || !read_address(env, item, "gateway", &o->gateway[i])) return false;
    if (i > 0 && o->gateway[i].family == o->gateway[0].family)
      return throw_argument(env, "gateways", "one per address family at most");
  }
  return true;
}

static bool set_int(napi_env env, napi_value object, const char *name, int32_t value)
{
  napi_value v;
  return napi_create_int32(env, value, &v) == napi_ok && napi_set_named_property(env, object, name, v) == napi_ok;
}

static bool set_text(napi_env env, napi_value object, const char *name, const char *value)
{
  napi_value v;
  return napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &v) == napi_ok &&
         napi_set_named_property(env, object, name, v) == napi_ok;
}

static napi_value create_tap(napi_env env, napi_callback_info info)
{
  napi_value v[1], part, result;
  char netns[PATH_MAX];
  struct tap_options o;
  struct failure f;
  int32_t mtu;
  int index;
  memset(&o, 0, sizeof o);
  if (!read_arguments(env, info, 1, v, NULL) || !get_property(env, v[0], "netns", &part) ||
      !read_nullable(env, part, "netns", netns, sizeof netns, &o.netns) || !get_property(env, v[0], "name", &part) ||
      !read_name(env, part, o.name) || !read_mac(env, v[0], o.mac) ||
      !get_int(env, v[0], "mtu", MTU_MIN, MTU_MAX, &mtu) || !read_addresses(env, v[0], &o) ||
      !read_gateways(env, v[0], &o))
    return NULL;
  o.mtu = mtu;
  int fd = tap_create(&o, &index, &f);
  if (fd < 0) return throw_failure(env, &f);
  if (napi_create_object(env, &result) == napi_ok && set_int(env, result, "fd", fd) &&
      set_int(env, result, "index", index))
    return result;
  close(fd);
  return NULL;
}

static napi_value set_mtu(napi_env env, napi_callback_info info)
{
  napi_value v[3];
  char buffer[PATH_MAX], name[IFNAMSIZ];
  const char *netns;
  int32_t mtu;
  struct failure f;
  if (!read_arguments(env, info, 3, v, NULL) || !read_nullable(env, v[0], "netns", buffer, sizeof buffer, &netns) ||
      !read_name(env, v[1], name) || !read_int(env, v[2], "mtu", MTU_MIN, MTU_MAX, &mtu))
    return NULL;
  if (link_set_mtu(netns, name, mtu, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static bool read_ports(napi_env env, napi_value options, struct udp_options *o)
{
  napi_value list, low, high;
  uint32_t count;
  if (!get_property(env, options, "sourcePorts", &list) || !read_length(env, list, "sourcePorts", 2, &count))
    return false;
  if (count != 2) return throw_argument(env, "sourcePorts", "a pair of ports");
  return get_element(env, list, 0, &low) && get_element(env, list, 1, &high) &&
         read_int(env, low, "sourcePorts[0]", 1, 65535, &o->source_low) &&
         read_int(env, high, "sourcePorts[1]", o->source_low, 65535, &o->source_high);
}

static napi_value open_underlay(napi_env env, napi_callback_info info)
{
  napi_value v[1], part, result, list;
  struct udp_options o;
  struct failure f;
  int rx, tx[TX_SOCKETS];
  memset(&o, 0, sizeof o);
  if (!read_arguments(env, info, 1, v, NULL) || !get_property(env, v[0], "address", &part) ||
      !read_address(env, part, "address", &o.address) || !get_int(env, v[0], "port", 1, 65535, &o.port) ||
      !read_ports(env, v[0], &o) || !get_int(env, v[0], "ttl", 1, 255, &o.ttl) || !get_bool(env, v[0], "df", &o.df) ||
      !get_bool(env, v[0], "checksum", &o.checksum) || !get_bool(env, v[0], "zeroChecksum6", &o.zero_checksum6))
    return NULL;
  if (udp_open(&o, &rx, tx, &f) < 0) return throw_failure(env, &f);
  bool done = napi_create_object(env, &result) == napi_ok && set_int(env, result, "rx", rx) &&
              napi_create_array_with_length(env, TX_SOCKETS, &list) == napi_ok &&
              napi_set_named_property(env, result, "tx", list) == napi_ok;
  for (uint32_t i = 0; done && i < TX_SOCKETS; i++)
    done = napi_create_int32(env, tx[i], &part) == napi_ok && napi_set_element(env, list, i, part) == napi_ok;
  if (done) return result;
  close(rx);
  for (int i = 0; i < TX_SOCKETS; i++) close(tx[i]);
  return NULL;
}

static int find_route(const struct address *to, struct route *route, struct link *link, struct failure *f)
{
  int nl = netlink_open(f);
  if (nl < 0) return -1;
  int done = netlink_route(nl, to, route, f);
  if (done == 0) done = netlink_link(nl, NULL, route->index, link, f);
  close(nl);
  return done;
}

static napi_value route_to(napi_env env, napi_callback_info info)
{
  napi_value v[1], result;
  struct address to;
  struct route route;
  struct link link;
  struct failure f;
  if (!read_arguments(env, info, 1, v, NULL) || !read_address(env, v[0], "address", &to)) return NULL;
  if (find_route(&to, &route, &link, &f) < 0) return throw_failure(env, &f);
  uint32_t mtu = route.mtu && route.mtu < link.mtu ? route.mtu : link.mtu;
  if (napi_create_object(env, &result) == napi_ok && set_text(env, result, "interface", link.name) &&
      set_int(env, result, "index", link.index) && set_int(env, result, "mtu", (int32_t)mtu) &&
      set_text(env, result, "source", route.source.text))
    return result;
  return NULL;
}

static napi_value change_route(napi_env env, napi_callback_info info)
{
  napi_value v[2], part;
  struct way w;
  struct failure f;
  bool add;
  if (!read_arguments(env, info, 2, v, NULL) || !read_bool(env, v[0], "add", &add) ||
      !get_property(env, v[1], "to", &part) || !read_address(env, part, "to", &w.to) ||
      !get_int(env, v[1], "prefix", 0, w.to.bytes * 8, &w.prefix) || !get_property(env, v[1], "via", &part) ||
      !read_address(env, part, "via", &w.via) || !get_property(env, v[1], "source", &part) ||
      !read_address(env, part, "source", &w.source) || !get_int(env, v[1], "index", 1, INT32_MAX, &w.index))
    return NULL;
  if (w.via.family != w.to.family || w.source.family != w.to.family) {
    throw_argument(env, "via", "addresses of one family");
    return NULL;
  }
  int nl = netlink_open(&f);
  int done = nl < 0 ? -1 : netlink_change_route(nl, add, &w, &f);
  if (nl >= 0) close(nl);
  if (done < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value close_fd(napi_env env, napi_callback_info info)
{
  napi_value v[1];
  int32_t fd;
  struct failure f;
  if (!read_arguments(env, info, 1, v, NULL) || !read_int(env, v[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  if (sys_close(fd, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value create_wake(napi_env env, napi_callback_info info)
{
  (void)info;
  napi_value result;
  struct failure f;
  int fd = sys_create_wake(&f);
  if (fd < 0) return throw_failure(env, &f);
  return napi_create_int32(env, fd, &result) == napi_ok ? result : NULL;
}

static napi_value wake(napi_env env, napi_callback_info info)
{
  napi_value v[1];
  int32_t fd;
  struct failure f;
  if (!read_arguments(env, info, 1, v, NULL) || !read_int(env, v[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  if (sys_wake(fd, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value notify(napi_env env, napi_callback_info info)
{
  napi_value v[2];
  char path[128], message[4096];
  struct failure f;
  if (!read_arguments(env, info, 2, v, NULL) || !read_string(env, v[0], "socket", path, sizeof path) ||
      !read_string(env, v[1], "message", message, sizeof message))
    return NULL;
  if (sys_notify(path, message, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value pin(napi_env env, napi_callback_info info)
{
  napi_value v[1];
  int32_t cpu;
  struct failure f;
  if (!read_arguments(env, info, 1, v, NULL) || !read_int(env, v[0], "cpu", 0, INT32_MAX, &cpu)) return NULL;
  if (sys_pin(cpu, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value thread_id(napi_env env, napi_callback_info info)
{
  (void)info;
  napi_value result;
  return napi_create_int32(env, gettid(), &result) == napi_ok ? result : NULL;
}

static napi_value set_real_time(napi_env env, napi_callback_info info)
{
  napi_value v[2];
  int32_t thread;
  bool on;
  struct failure f;
  if (!read_arguments(env, info, 2, v, NULL) || !read_int(env, v[0], "thread", 1, INT32_MAX, &thread) ||
      !read_bool(env, v[1], "on", &on))
    return NULL;
  if (sys_set_real_time(thread, on, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static const char *const FIELD_NAMES[] = {
#define X(constant, name, words) #name,
    TWILL_FIELDS(X)
#undef X
};

static const struct {
  const char *name;
  napi_callback call;
} FUNCTIONS[] = {
    {"createTap", create_tap}, {"setMtu", set_mtu},   {"openUnderlay", open_underlay}, {"routeTo", route_to},
    {"close", close_fd},       {"createWake", create_wake}, {"wake", wake},            {"notify", notify},
    {"pin", pin},              {"createCard", handle_create}, {"changeRoute", change_route},
    {"setRealTime", set_real_time}, {"threadId", thread_id},
};

NAPI_MODULE_INIT()
{
  napi_value v, list;
  if (napi_create_array_with_length(env, FIELD_COUNT, &list) != napi_ok) return NULL;
  for (uint32_t i = 0; i < FIELD_COUNT; i++) {
    if (napi_create_string_utf8(env, FIELD_NAMES[i], NAPI_AUTO_LENGTH, &v) != napi_ok ||
        napi_set_element(env, list, i, v) != napi_ok)
      return NULL;
  }
  if (napi_set_named_property(env, exports, "fields", list) != napi_ok) return NULL;
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
    if (napi_create_function(env, FUNCTIONS[i].name, NAPI_AUTO_LENGTH, FUNCTIONS[i].call, NULL, &v) != napi_ok ||
        napi_set_named_property(env, exports, FUNCTIONS[i].name, v) != napi_ok)
      return NULL;
  }
  return exports;
}
