#include "handle.h"

#include <errno.h>
#include <string.h>

#include "args.h"
#include "card.h"

/* The hot calls take no arguments and return a small integer or nothing: no allocation on either side. */
static napi_value poll_call(napi_env env, napi_callback_info info)
{
  void *data;
  napi_value result;
  if (napi_get_cb_info(env, info, NULL, NULL, NULL, &data) != napi_ok) return NULL;
  struct card *c = data;
  if (c->epoll < 0) {
    struct failure f;
    fail(&f, EBADF, "poll a closed card");
    return throw_failure(env, &f);
  }
  return napi_create_int32(env, card_poll(c), &result) == napi_ok ? result : NULL;
}

static napi_value flush_call(napi_env env, napi_callback_info info)
{
  void *data;
  if (napi_get_cb_info(env, info, NULL, NULL, NULL, &data) == napi_ok) card_flush(data);
  return NULL;
}

static napi_value add_tap_call(napi_env env, napi_callback_info info)
{
  napi_value v[2];
  void *data;
  int32_t device, fd;
  struct failure f;
  if (!read_arguments(env, info, 2, v, &data) || !read_int(env, v[0], "device", 0, INT32_MAX, &device) ||
      !read_int(env, v[1], "fd", 0, INT32_MAX, &fd))
    return NULL;
  if (card_add_tap(data, device, fd, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value add_underlay_call(napi_env env, napi_callback_info info)
{
  napi_value v[4];
  void *data;
  int32_t device, rx, prefix;
  int tx[TX_SOCKETS];
  uint32_t count;
  struct failure f;
  if (!read_arguments(env, info, 4, v, &data) || !read_int(env, v[0], "device", 0, INT32_MAX, &device) ||
      !read_int(env, v[1], "rx", 0, INT32_MAX, &rx) || !read_length(env, v[2], "tx", TX_SOCKETS, &count) ||
      !read_int(env, v[3], "prefix", 0, PREFIX_MAX, &prefix))
    return NULL;
  if (count != TX_SOCKETS) {
    throw_argument(env, "tx", "one descriptor per transmit socket");
    return NULL;
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    if (!get_element(env, v[2], i, &element) || !read_int(env, element, "tx", 0, INT32_MAX, &tx[i])) return NULL;
  }
  if (card_add_underlay(data, device, rx, tx, prefix, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value remove_call(napi_env env, napi_callback_info info)
{
  napi_value v[1];
  void *data;
  int32_t device;
  struct failure f;
  if (!read_arguments(env, info, 1, v, &data) || !read_int(env, v[0], "device", 0, INT32_MAX, &device)) return NULL;
  if (card_remove(data, device, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value set_wake_call(napi_env env, napi_callback_info info)
{
  napi_value v[1];
  void *data;
  int32_t fd;
  struct failure f;
  if (!read_arguments(env, info, 1, v, &data) || !read_int(env, v[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  if (card_set_wake(data, fd, &f) < 0) throw_failure(env, &f);
  return NULL;
}

static napi_value close_call(napi_env env, napi_callback_info info)
{
  void *data;
  if (napi_get_cb_info(env, info, NULL, NULL, NULL, &data) == napi_ok) card_close(data);
  return NULL;
}

static void collected(napi_env env, void *data, void *hint)
{
  (void)env;
  (void)data;
  card_release(hint);
}

static const struct {
  const char *name;
  napi_callback call;
} METHODS[] = {
    {"poll", poll_call},     {"flush", flush_call},      {"addTap", add_tap_call}, {"addUnderlay", add_underlay_call},
    {"remove", remove_call}, {"setWake", set_wake_call}, {"close", close_call},
};

/*
 * The functions find the card by their own data pointer, which works detached from the handle and saves the
 * unwrapping of `this`. So each of them keeps the card alive, as the buffer does.
 */
static bool fill(napi_env env, struct card *c, napi_value handle)
{
  napi_value v;
  if (napi_create_external_arraybuffer(env, c->field[CONTROL], c->bytes, collected, c, &v) != napi_ok) return false;
  c->references++;
  if (napi_set_named_property(env, handle, "buffer", v) != napi_ok) return false;
  for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++) {
    if (napi_create_function(env, METHODS[i].name, NAPI_AUTO_LENGTH, METHODS[i].call, c, &v) != napi_ok ||
        napi_add_finalizer(env, v, c, collected, c, NULL) != napi_ok)
      return false;
    c->references++;
    if (napi_set_named_property(env, handle, METHODS[i].name, v) != napi_ok) return false;
  }
  return true;
}

static bool read_limits(napi_env env, napi_value v, struct limits *l)
{
  return get_int(env, v, "slots", 1, INT32_MAX, &l->slots) &&
         get_int(env, v, "slotBytes", 1, INT32_MAX, &l->slot_bytes) &&
         get_int(env, v, "headroom", 1, INT32_MAX, &l->headroom) && get_int(env, v, "burst", 1, INT32_MAX, &l->burst) &&
         get_int(env, v, "txMax", 1, INT32_MAX, &l->tx_max) && get_int(env, v, "remotes", 1, INT32_MAX, &l->remotes) &&
         get_int(env, v, "devices", 1, INT32_MAX, &l->devices);
}

napi_value handle_create(napi_env env, napi_callback_info info)
{
  napi_value v[2], handle;
  napi_typedarray_type type;
  size_t length;
  void *offsets;
  bool typed = false;
  struct limits limits;
  struct failure f;
  if (!read_arguments(env, info, 2, v, NULL)) return NULL;
  if (napi_is_typedarray(env, v[0], &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(env, v[0], &type, &length, &offsets, NULL, NULL) != napi_ok ||
      type != napi_int32_array || length != FIELD_COUNT + 2) {
    throw_argument(env, "offsets", "the Int32Array of cardOffsets()");
    return NULL;
  }
  if (!read_limits(env, v[1], &limits)) return NULL;
  struct card *c = card_create(offsets, &limits, &f);
  if (!c) return throw_failure(env, &f);
  /* The creator's own reference outlives a failure half-way, whatever was already handed out. */
  c->references = 1;
  bool done = napi_create_object(env, &handle) == napi_ok && fill(env, c, handle);
  card_release(c);
  if (!done) {
    throw_argument(env, "the card", "representable as an external ArrayBuffer");
    return NULL;
  }
  return handle;
}
