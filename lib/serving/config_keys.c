// SPDX-License-Identifier: Apache-2.0
/* Single keys of a ConfigMap. Failure mode: a value that does not parse, with the key's name. */
#include "serving/config_keys.h"

#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "base/slice.h"

static const json_t *find(const json_t *data, const char **key, const char *old)
{
    const json_t *value = json_object_get(data, *key);
    if (value == NULL && old != NULL) {
        value = json_object_get(data, old);
        *key = value == NULL ? *key : old;
    }
    return value;
}

const char *config_text(const json_t *data, const char *key, const char *old)
{
    const json_t *value = find(data, &key, old);
    const char *text = json_string_value(value);
    return value == NULL ? NULL : text == NULL ? "" : text;
}

static int failed(struct error *err, int rc, const char *key)
{
    return rc < 0 ? error_prefix(err, rc, "failed to parse \"%s\"", key) : 0;
}

int config_copy(const json_t *data, const char *key, const char *old, char *out, size_t size,
                struct error *err)
{
    const json_t *value = find(data, &key, old);
    int rc = 0;
    if (value != NULL && !json_is_string(value)) {
        rc = error_set(err, ERR_INVALID, "must be a text");
    } else if (value != NULL && !slice_copy(slice_str(json_string_value(value)), out, size)) {
        rc = error_set(err, ERR_INVALID, "longer than %zu bytes", size - 1);
    }
    return failed(err, rc, key);
}

int config_int(const json_t *data, const char *key, const char *old, int64_t min, int64_t max,
               int64_t *out, struct error *err)
{
    const json_t *value = find(data, &key, old);
    if (value == NULL) {
        return 0;
    }
    return failed(err, num_parse_i64(slice_str(json_string_value(value)), min, max, out, err), key);
}

int config_bool(const json_t *data, const char *key, const char *old, bool *out, struct error *err)
{
    const json_t *value = find(data, &key, old);
    if (value == NULL) {
        return 0;
    }
    return failed(err, num_parse_bool(slice_str(json_string_value(value)), out, err), key);
}

int config_duration(const json_t *data, const char *key, const char *old, int64_t *out_ns,
                    struct error *err)
{
    const json_t *value = find(data, &key, old);
    if (value == NULL) {
        return 0;
    }
    return failed(err, num_parse_duration_ns(slice_str(json_string_value(value)), out_ns, err),
                  key);
}

int config_quantity(const json_t *data, const char *key, const char *old, char *out, size_t size,
                    struct error *err)
{
    const json_t *value = find(data, &key, old);
    struct slice text = slice_str(json_string_value(value));
    int64_t milli;
    if (value == NULL) {
        return 0;
    }
    int rc = num_parse_quantity_milli(text, &milli, err);
    if (rc == 0 && milli < 0) {
        rc = error_set(err, ERR_INVALID, "must not be negative");
    }
    if (rc == 0 && !slice_copy(text, out, size)) {
        rc = error_set(err, ERR_INVALID, "longer than %zu bytes", size - 1);
    }
    return failed(err, rc, key);
}

bool config_one_of(const char *text, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcasecmp(*list, text) == 0) {
            return true;
        }
    }
    return false;
}
