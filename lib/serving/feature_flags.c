// SPDX-License-Identifier: Apache-2.0
/* The flags as rows of a table. Failure mode: none, an unknown value leaves the default. */
#include "serving/feature_flags.h"

#include "base/slice.h"
#include "json/jget.h"

static const struct {
    const char *key;
    uint8_t value;
} rows[FEATURE_COUNT] = {
#define FEATURE(id, key, value) [FEATURE_##id] = {key, FEATURE_##value},
#include "serving/feature_flags.def"
};

const char *feature_key(enum feature feature)
{
    return rows[feature].key;
}

void features_init(struct features *features)
{
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        features->values[i] = rows[i].value;
    }
}

void features_read(struct features *features, const json_t *data)
{
    features_init(features);
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        struct slice text = slice_str(json_string_value(json_object_get(data, rows[i].key)));
        bool secure = i == FEATURE_SECURE_POD_DEFAULTS;
        if (slice_eq_nocase(text, SLICE_LIT("enabled"))) {
            features->values[i] = FEATURE_ENABLED;
        } else if (slice_eq_nocase(text, SLICE_LIT("disabled"))) {
            features->values[i] = FEATURE_DISABLED;
        } else if (!secure && slice_eq_nocase(text, SLICE_LIT("allowed"))) {
            features->values[i] = FEATURE_ALLOWED;
        } else if (secure && slice_eq_nocase(text, SLICE_LIT("allowrootbounded"))) {
            features->values[i] = FEATURE_ROOT_BOUNDED;
        }
    }
}
