#include "args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static napi_value text(napi_env env, const char *s)
{
  napi_value v;
  return napi_create_string_utf8(env, s, NAPI_AUTO_LENGTH, &v) == napi_ok ? v : NULL;
}

napi_value throw_failure(napi_env env, const struct failure *f)
{
  char message[400];
  napi_value error, number, code, attempt;
  const char *name = strerrorname_np(f->number);
  const char *description = strerrordesc_np(f->number);
  if (!name) name = "UNKNOWN";
  snprintf(message, sizeof message, "%s: %s, %s", name, description ? description : "unknown error", f->attempt);
  code = text(env, name);
  attempt = text(env, f->attempt);
  napi_value words = text(env, message);
  if (!code || !attempt || !words || napi_create_error(env, code, words, &error) != napi_ok) return NULL;
  napi_create_int32(env, f->number, &number);
  napi_set_named_property(env, error, "errno", number);
  napi_set_named_property(env, error, "syscall", attempt);
  napi_throw(env, error);
  return NULL;
}

bool throw_argument(napi_env env, const char *what, const char *expected)
{
  struct failure f;
  bool pending = false;
  /* A getter of the caller's object may have thrown: that exception says more. */
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return false;
  fail(&f, EINVAL, "%s must be %s", what, expected);
  throw_failure(env, &f);
  return false;
}

bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *out, void **data)
{
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, out, NULL, data) != napi_ok) return false;
  if (given < count) return throw_argument(env, "the call", "given all its arguments");
  return true;
}

bool read_int(napi_env env, napi_value v, const char *what, int32_t low, int32_t high, int32_t *out)
{
  double value;
  if (napi_get_value_double(env, v, &value) != napi_ok) return throw_argument(env, what, "a number");
  if (!(value >= low && value <= high) || value != (double)(int32_t)value) {
    char range[64];
    snprintf(range, sizeof range, "an integer from %d to %d", low, high);
    return throw_argument(env, what, range);
  }
  *out = (int32_t)value;
  return true;
}

bool read_bool(napi_env env, napi_value v, const char *what, bool *out)
{
  if (napi_get_value_bool(env, v, out) != napi_ok) return throw_argument(env, what, "a boolean");
  return true;
}

bool read_string(napi_env env, napi_value v, const char *what, char *out, size_t size)
{
  size_t length;
  if (napi_get_value_string_utf8(env, v, NULL, 0, &length) != napi_ok) return throw_argument(env, what, "a string");
  if (length >= size) {
    char limit[64];
    snprintf(limit, sizeof limit, "a string of at most %zu bytes", size - 1);
    return throw_argument(env, what, limit);
  }
  if (napi_get_value_string_utf8(env, v, out, size, &length) != napi_ok) return false;
  if (strlen(out) != length) return throw_argument(env, what, "a string without NUL");
  return true;
}

bool read_nullable(napi_env env, napi_value v, const char *what, char *buffer, size_t size, const char **out)
{
  napi_valuetype type;
  *out = NULL;
  if (napi_typeof(env, v, &type) == napi_ok && type == napi_null) return true;
  *out = buffer;
  return read_string(env, v, what, buffer, size);
}

bool read_length(napi_env env, napi_value array, const char *what, uint32_t most, uint32_t *out)
{
  bool is = false;
  char expected[64];
  if (napi_is_array(env, array, &is) == napi_ok && is && napi_get_array_length(env, array, out) == napi_ok &&
      *out <= most)
    return true;
  snprintf(expected, sizeof expected, "an array of at most %u elements", most);
  return throw_argument(env, what, expected);
}

bool get_property(napi_env env, napi_value object, const char *name, napi_value *out)
{
  napi_valuetype type;
  if (napi_typeof(env, object, &type) != napi_ok || type != napi_object)
    return throw_argument(env, "the argument", "an object");
  if (napi_get_named_property(env, object, name, out) != napi_ok) return throw_argument(env, name, "readable");
  return true;
}

bool get_element(napi_env env, napi_value array, uint32_t i, napi_value *out)
{
  return napi_get_element(env, array, i, out) == napi_ok || throw_argument(env, "an element", "readable");
}

bool get_int(napi_env env, napi_value object, const char *name, int32_t low, int32_t high, int32_t *out)
{
  napi_value v;
  return get_property(env, object, name, &v) && read_int(env, v, name, low, high, out);
}

bool get_bool(napi_env env, napi_value object, const char *name, bool *out)
{
  napi_value v;
  return get_property(env, object, name, &v) && read_bool(env, v, name, out);
}

bool get_string(napi_env env, napi_value object, const char *name, char *out, size_t size)
{
  napi_value v;
  return get_property(env, object, name, &v) && read_string(env, v, name, out, size);
}
