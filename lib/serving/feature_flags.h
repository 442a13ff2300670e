// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The flags of the ConfigMap config-features (feature_flags.def), which open parts of the pod spec.
 * Pure. Owns: nothing.
 */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

enum feature {
#define FEATURE(id, key, value) FEATURE_##id,
#include "serving/feature_flags.def"
    FEATURE_COUNT
};

/* ALLOWED: may be used, is not on by itself. ROOT_BOUNDED: secure-pod-defaults only. */
enum feature_value {
    FEATURE_DISABLED,
    FEATURE_ALLOWED,
    FEATURE_ENABLED,
    FEATURE_ROOT_BOUNDED,
};

struct features {
    uint8_t values[FEATURE_COUNT]; /* enum feature_value */
};

/* Knative's defaults. */
void features_init(struct features *features);
/* The defaults, and over them data (NULL: none) of config-features. In any case of letters; what is
 * not a value of a flag leaves its default, as in Knative. */
void features_read(struct features *features, const json_t *data);

/* The key in the ConfigMap. */
const char *feature_key(enum feature feature);

static inline enum feature_value feature_get(const struct features *f, enum feature feature)
{
    return (enum feature_value)f->values[feature];
}

static inline bool feature_enabled(const struct features *f, enum feature feature)
{
    return f->values[feature] == FEATURE_ENABLED;
}

/* Enabled or Allowed. */
static inline bool feature_open(const struct features *f, enum feature feature)
{
    return f->values[feature] != FEATURE_DISABLED;
}
