// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Whether a body has the shape and the metadata that every object must have. Pure; used by rules.
 */

#include "base/strbuf.h"
#include "local/store.h"

#define CHECK_NAME_MAX  253
#define CHECK_LABEL_MAX 63

/* words_… of serving/rules.h */
typedef size_t check_words_fn(struct slice text, const char *sep, struct strbuf *out);
/* ERR_INVALID with all that `words` says about this value of a field of the object `name`. */
MUST_CHECK int check_words(const struct store_kind *kind, struct slice name, const char *field,
                           struct slice value, check_words_fn *words, struct error *err);
/* An object whose apiVersion and kind, if any, are those of the kind. ERR_PROTOCOL. */
MUST_CHECK int check_shape(const struct store_kind *kind, const json_t *body, struct error *err);
/* Labels, annotations, ownerReferences, finalizers. ERR_PROTOCOL for types, ERR_INVALID for values.
 */
MUST_CHECK int check_metadata(const struct store_kind *kind, const char *name,
                              const json_t *metadata, struct error *err);
/* "Service.serving.knative.dev "a" is invalid: WHAT", ERR_INVALID. */
int check_invalid(struct error *err, const struct store_kind *kind, const char *name,
                  const char *what);
