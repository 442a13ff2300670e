// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Whether a body has the shape and the metadata that every object must have. Pure; used by rules.
 */

#include "local/store.h"

#define CHECK_NAME_MAX  253
#define CHECK_LABEL_MAX 63

/* A DNS-1123 subdomain. */
bool check_is_name(struct slice s);
/* An object whose apiVersion and kind, if any, are those of the kind. ERR_PROTOCOL. */
MUST_CHECK int check_shape(const struct store_kind *kind, const json_t *body, struct error *err);
/* Labels, annotations, ownerReferences, finalizers. ERR_PROTOCOL for types, ERR_INVALID for values.
 */
MUST_CHECK int check_metadata(const struct store_kind *kind, const char *name,
                              const json_t *metadata, struct error *err);
/* "Service.serving.knative.dev "a" is invalid: WHAT", ERR_INVALID. */
int check_invalid(struct error *err, const struct store_kind *kind, const char *name,
                  const char *what);
