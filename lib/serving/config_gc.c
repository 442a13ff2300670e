// SPDX-License-Identifier: Apache-2.0
/*
 * Each key is a number or a duration, or "disabled". Failure mode: a value that is neither, or a
 * minimum above the maximum.
 */
#include "serving/config_gc.h"

#include "base/num.h"
#include "json/jget.h"

#define HOUR_NS (INT64_C(3600) * 1000000000)

void gc_config_init(struct gc_config *config)
{
    *config = (struct gc_config){.since_create_ns = 48 * HOUR_NS,
                                 .since_active_ns = 15 * HOUR_NS,
                                 .min_non_active = 20,
                                 .max_non_active = 1000};
}

static bool is_disabled(struct slice text)
{
    return slice_eq_nocase(text, SLICE_LIT("disabled"));
}

static int failed(struct error *err, int rc, const char *key)
{
    return rc < 0 ? error_prefix(err, rc, "failed to parse %s", key) : 0;
}

static int read_duration(const json_t *data, const char *key, int64_t *out, struct error *err)
{
    struct slice text = jpeek_str(data, key);
    int64_t ns = 0;
    if (text.len == 0) {
        return 0;
    }
    if (is_disabled(text)) {
        *out = GC_DISABLED;
        return 0;
    }
    int rc = num_parse_duration_ns(text, &ns, err);
    if (rc == 0 && ns < 0) {
        rc = error_set(err, ERR_INVALID, "must be non-negative");
    }
    *out = rc == 0 ? ns : *out;
    return failed(err, rc, key);
}

static int read_count(const json_t *data, const char *key, bool may_disable, int64_t *out,
                      struct error *err)
{
    struct slice text = jpeek_str(data, key);
    if (text.len == 0) {
        return 0;
    }
    if (may_disable && is_disabled(text)) {
        *out = GC_DISABLED;
        return 0;
    }
    return failed(err, num_parse_i64(text, INT64_MIN, INT64_MAX, out, err), key);
}

int gc_config_read(struct gc_config *config, const json_t *data, struct error *err)
{
    struct gc_config next;
    gc_config_init(&next);
    int rc = read_duration(data, "retain-since-create-time", &next.since_create_ns, err);
    rc = rc < 0 ? rc
                : read_duration(data, "retain-since-last-active-time", &next.since_active_ns, err);
    rc = rc < 0 ? rc
                : read_count(data, "min-non-active-revisions", false, &next.min_non_active, err);
    rc =
        rc < 0 ? rc : read_count(data, "max-non-active-revisions", true, &next.max_non_active, err);
    if (rc < 0) {
        return rc;
    }
    if (next.min_non_active < 0) {
        return error_set(err, ERR_INVALID,
                         "min-non-active-revisions must be non-negative, was: %lld",
                         (long long)next.min_non_active);
    }
    if (next.max_non_active < GC_DISABLED) {
        return error_set(err, ERR_INVALID,
                         "max-non-active-revisions must be non-negative or disabled, was: %lld",
                         (long long)next.max_non_active);
    }
    if (next.max_non_active >= 0 && next.min_non_active > next.max_non_active) {
        return error_set(err, ERR_INVALID,
                         "min-non-active-revisions(%lld) must be <= max-non-active-revisions(%lld)",
                         (long long)next.min_non_active, (long long)next.max_non_active);
    }
    *config = next;
    return 0;
}
