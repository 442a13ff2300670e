// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Readers of single keys of a ConfigMap's data: a key that is absent leaves *out as it is, a value
 * that does not parse is ERR_INVALID with `failed to parse "KEY": …`. old: an older spelling that
 * counts when the newer one is not there; NULL: none. Pure.
 */

#include <jansson.h>

#include "base/error.h"

/* The text, NULL when the key is absent; "" when it is no text. Borrowed. */
const char *config_text(const json_t *data, const char *key, const char *old);
MUST_CHECK int config_copy(const json_t *data, const char *key, const char *old, char *out,
                           size_t size, struct error *err);
MUST_CHECK int config_int(const json_t *data, const char *key, const char *old, int64_t min,
                          int64_t max, int64_t *out, struct error *err);
MUST_CHECK int config_bool(const json_t *data, const char *key, const char *old, bool *out,
                           struct error *err);
/* A Go duration. */
MUST_CHECK int config_duration(const json_t *data, const char *key, const char *old,
                               int64_t *out_ns, struct error *err);
/* A Kubernetes quantity, kept as text. */
MUST_CHECK int config_quantity(const json_t *data, const char *key, const char *old, char *out,
                               size_t size, struct error *err);
/* Whether text is in the list (NULL ends), in any case of letters. */
bool config_one_of(const char *text, const char *const *list);
