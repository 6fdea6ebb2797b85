/*
 * Reading JavaScript arguments. Each reader returns false with a pending exception: EINVAL that names what
 * was wrong. `what` is the argument's name for that message.
 */
#ifndef TWILL_ARGS_H
#define TWILL_ARGS_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

/* Throws the failure as Error {code, errno, syscall}. @returns NULL, for `return throw_failure(...)`. */
napi_value throw_failure(napi_env env, const struct failure *f);
/* Throws EINVAL for the argument. @returns false. */
bool throw_argument(napi_env env, const char *what, const char *expected);

/* Exactly `count` arguments; `data` may be NULL. */
bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *out, void **data);
bool read_int(napi_env env, napi_value v, const char *what, int32_t low, int32_t high, int32_t *out);
bool read_bool(napi_env env, napi_value v, const char *what, bool *out);
/* A string of at most `size - 1` bytes without NUL. */
bool read_string(napi_env env, napi_value v, const char *what, char *out, size_t size);
/* The same, where null is allowed: *out is then NULL, else `buffer`. */
bool read_nullable(napi_env env, napi_value v, const char *what, char *buffer, size_t size, const char **out);
bool read_length(napi_env env, napi_value array, const char *what, uint32_t most, uint32_t *out);

bool get_property(napi_env env, napi_value object, const char *name, napi_value *out);
bool get_element(napi_env env, napi_value array, uint32_t i, napi_value *out);
bool get_int(napi_env env, napi_value object, const char *name, int32_t low, int32_t high, int32_t *out);
bool get_bool(napi_env env, napi_value object, const char *name, bool *out);
bool get_string(napi_env env, napi_value object, const char *name, char *out, size_t size);

#endif
