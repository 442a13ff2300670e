// SPDX-License-Identifier: Apache-2.0
/*
 * The ConfigMap config-defaults. Happy path: every key is read over a copy, the copy is checked as
 * a whole and taken. Failure modes: a value that cannot be read, values that contradict each other:
 * ERR_INVALID in the reference's words, and nothing is taken.
 */
#include "base/num.h"
#include "serving/defaults.h"
#include "serving/gotext.h"
#include "serving/name_template.h"
#include "serving/names.h"

enum {
    TIMEOUT_S = 300,
    TIMEOUT_MAX_S = 600,
    CONCURRENCY_MAX = 1000,
};

void serving_config_init(struct serving_config *config)
{
    *config = (struct serving_config){
        .timeout_s = TIMEOUT_S,
        .max_timeout_s = TIMEOUT_MAX_S,
        .response_start_timeout_s = TIMEOUT_S,
        .max_concurrency = CONCURRENCY_MAX,
        .allow_concurrency_zero = true,
        .service_links_set = true,
        .container_name = USER_CONTAINER_NAME,
        .init_container_name = "init-container",
    };
    autoscaler_config_default(&config->autoscaler);
    features_init(&config->features);
}

/* NULL when the key is absent. */
static const char *text_of(const json_t *data, const char *key, struct slice *out)
{
    const json_t *value = json_object_get(data, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    *out =
        slice_of(json_is_string(value) ? json_string_value(value) : "", json_string_length(value));
    return out->ptr;
}

static int read_int(const json_t *data, const char *key, int64_t *out, struct error *err)
{
    struct slice text;
    if (text_of(data, key, &text) == NULL) {
        return 0;
    }
    int64_t value;
    enum go_number how = go_parse_int(text, 64, &value);
    if (how != GO_NUMBER_FINE) {
        return error_set(err, ERR_INVALID,
                         "failed to parse \"%s\": strconv.ParseInt: parsing \"%.*s\": %s", key,
                         (int)(text.len > 80 ? 80 : text.len), text.ptr,
                         how == GO_NUMBER_RANGE ? "value out of range" : "invalid syntax");
    }
    *out = value;
    return 0;
}

static int read_bool(const json_t *data, const char *key, bool *out, struct error *err)
{
    struct slice text;
    if (text_of(data, key, &text) == NULL || num_parse_bool(text, out, NULL) == 0) {
        return 0;
    }
    return error_set(err, ERR_INVALID,
                     "failed to parse \"%s\": strconv.ParseBool: parsing \"%.*s\": invalid syntax",
                     key, (int)(text.len > 80 ? 80 : text.len), text.ptr);
}

static int read_quantity(const json_t *data, const char *key, char out[QUANTITY_TEXT],
                         struct error *err)
{
    struct slice text;
    struct quantity q;
    if (text_of(data, key, &text) == NULL) {
        return 0;
    }
    if (!quantity_parse(text, &q)) {
        return error_set(err, ERR_INVALID,
                         "failed to parse \"%s\": quantities must match the regular expression "
                         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                         key);
    }
    (void)quantity_canonical(text, out);
    return 0;
}

static int read_quantities(const json_t *data, struct serving_config *config, struct error *err)
{
    static const char *const names[RESOURCE_COUNT] = {"cpu", "memory", "ephemeral-storage"};
    for (size_t i = 0; i < RESOURCE_COUNT; i++) {
        char key[64];
        snprintf(key, sizeof(key), "revision-%s-request", names[i]);
        int rc = read_quantity(data, key, config->requests[i], err);
        if (rc == 0) {
            snprintf(key, sizeof(key), "revision-%s-limit", names[i]);
            rc = read_quantity(data, key, config->limits[i], err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int read_template(const json_t *data, const char *key, char out[NAME_TEMPLATE_MAX],
                         struct error *err)
{
    struct slice text;
    if (text_of(data, key, &text) == NULL) {
        return 0;
    }
    int rc = name_template_check(text, err);
    if (rc == 0 && !slice_copy(text, out, NAME_TEMPLATE_MAX)) {
        rc = error_set(err, ERR_INVALID, "longer than %d bytes", NAME_TEMPLATE_MAX - 1);
    }
    return rc < 0 ? error_prefix(err, rc, "%s", key) : 0;
}

static void read_service_links(const json_t *data, struct serving_config *config)
{
    struct slice text;
    if (text_of(data, "enable-service-links", &text) == NULL) {
        return;
    }
    config->service_links = slice_eq_nocase(text, SLICE_LIT("true"));
    config->service_links_set = config->service_links || slice_eq_nocase(text, SLICE_LIT("false"));
}

static int check_against(const char *key, int64_t value, int64_t limit, const char *limit_key,
                         struct error *err)
{
    return value <= limit
               ? 0
               : error_set(err, ERR_INVALID, "%s (%lld) cannot be greater than %s (%lld)", key,
                           (long long)value, limit_key, (long long)limit);
}

static int check_bounds(const char *key, int64_t value, int64_t min, int64_t max, struct error *err)
{
    return value >= min && value <= max
               ? 0
               : error_set(err, ERR_INVALID, "expected %lld <= %lld <= %lld: %s", (long long)min,
                           (long long)value, (long long)max, key);
}

static int check_config(const struct serving_config *c, struct error *err)
{
    int rc = check_against("revision-timeout-seconds", c->timeout_s, c->max_timeout_s,
                           "max-revision-timeout-seconds", err);
    if (rc == 0) {
        rc = check_against("revision-response-start-timeout-seconds", c->response_start_timeout_s,
                           c->timeout_s, "revision-timeout-seconds", err);
    }
    if (rc == 0 && c->idle_timeout_s > 0) {
        rc = check_against("revision-idle-timeout-seconds", c->idle_timeout_s, c->timeout_s,
                           "revision-timeout-seconds", err);
    }
    if (rc == 0 && c->max_concurrency < 1) {
        rc = check_bounds("container-concurrency-max-limit", c->max_concurrency, 1, INT32_MAX, err);
    }
    if (rc == 0) {
        rc = check_bounds("container-concurrency", c->concurrency, 0, c->max_concurrency, err);
    }
    if (rc == 0) { /* ours: what no revision could have is refused where it is written */
        rc = check_bounds("revision-timeout-seconds", c->timeout_s, 1, INT32_MAX, err);
    }
    return rc;
}

int serving_config_read(struct serving_config *config, const json_t *data, struct error *err)
{
    struct serving_config next = *config;
    int rc = read_template(data, "init-container-name-template", next.init_container_name, err);
    if (rc == 0) {
        rc = read_template(data, "container-name-template", next.container_name, err);
    }
    if (rc == 0) {
        rc = read_bool(data, "allow-container-concurrency-zero", &next.allow_concurrency_zero, err);
    }
    read_service_links(data, &next);
    if (rc == 0) {
        rc = read_int(data, "revision-timeout-seconds", &next.timeout_s, err);
    }
    if (rc == 0) {
        rc = read_int(data, "max-revision-timeout-seconds", &next.max_timeout_s, err);
    }
    if (rc == 0) {
        rc = read_int(data, "revision-idle-timeout-seconds", &next.idle_timeout_s, err);
    }
    if (rc == 0) {
        rc = read_int(data, "container-concurrency", &next.concurrency, err);
    }
    if (rc == 0) {
        rc = read_int(data, "container-concurrency-max-limit", &next.max_concurrency, err);
    }
    if (rc == 0) {
        rc = read_quantities(data, &next, err);
    }
    next.response_start_timeout_s = next.timeout_s;
    if (rc == 0) {
        rc = read_int(data, "revision-response-start-timeout-seconds",
                      &next.response_start_timeout_s, err);
    }
    if (rc == 0) {
        rc = check_config(&next, err);
    }
    if (rc == 0) {
        *config = next;
    }
    return rc;
}
