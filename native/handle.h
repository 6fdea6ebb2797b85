/* The card as JavaScript sees it: its buffer and one function per call. */
#ifndef TWILL_HANDLE_H
#define TWILL_HANDLE_H

#include <node_api.h>

/* createCard(offsets, limits) */
napi_value handle_create(napi_env env, napi_callback_info info);

#endif
