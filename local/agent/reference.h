// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a Pod takes from ConfigMaps and Secrets, and from itself: single values, and the list of the
 * objects that it names. Pure but for the source, which gives the objects of the Pod's namespace.
 */

#include <jansson.h>

#include "base/error.h"

enum reference_kind { REFERENCE_CONFIG_MAP, REFERENCE_SECRET };

struct reference_source {
    /* A new reference, or NULL: there is no such object. */
    json_t *(*get)(enum reference_kind kind, const char *name, void *arg);
    void *arg;
};

/* Bytes; NUL-terminated as well. */
struct reference_value {
    char *ptr; /* owned */
    size_t len;
};

/*
 * The object. ERR_NOT_FOUND `configmap "x" not found`; with `optional` that is no error and *out is
 * NULL. The caller json_decref()s.
 */
MUST_CHECK int reference_object(const struct reference_source *source, enum reference_kind kind,
                                const char *name, bool optional, json_t **out, struct error *err);
/*
 * What stands under a key: 1, or 0 when there is no such key. ERR_INVALID: a Secret's value is no
 * base64. `binary`: a ConfigMap's binaryData counts too.
 */
MUST_CHECK int reference_value(const json_t *object, enum reference_kind kind, const char *key,
                               bool binary, struct reference_value *out, struct error *err);

/* fieldRef: a new text. ERR_UNSUPPORTED names the fields that there are. */
MUST_CHECK int reference_field(const json_t *pod, const char *path, char **out, struct error *err);
/* resourceFieldRef of a container; a new text. */
MUST_CHECK int reference_resource(const json_t *container, const json_t *ref, char **out,
                                  struct error *err);

/*
 * The objects that env, envFrom and volumes of the Pod name, as a list for reference_has(); NULL:
 * none, as most Pods. The caller frees it.
 */
char *reference_list(const json_t *pod);
bool reference_has(const char *list, enum reference_kind kind, const char *name);
