// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The keys are put into the PodAutoscaler and the ConfigMap that would say the same; these go
 * through the rules and the projection that they go through live. Failure modes: a key that nobody
 * knows, a value that the rules refuse; the message begins with the setting's name.
 */
#include "autoscaler/simulate_setting.h"

#include "base/mem.h"
#include "base/num.h"
#include "json/jparse.h"
#include "serving/autoscaler_json.h"
#include "serving/defaults.h"
#include "serving/names.h"

#define KEY_MAX       80u
#define START_MAX_NS  600000000000ll
#define LIMIT_MAX     1000
#define CONFIG_PREFIX "config."

/* Annotations that a setting may name, without their prefix. */
static bool known_annotation(struct slice key, const char **out_prefix)
{
    static const char *const all[] = {
        ANNOTATION_MIN_SCALE,          ANNOTATION_MAX_SCALE,       ANNOTATION_ACTIVATION_SCALE,
        ANNOTATION_SCALE_DOWN_DELAY,   ANNOTATION_METRIC,          ANNOTATION_TARGET,
        ANNOTATION_TARGET_UTILIZATION, ANNOTATION_TARGET_BURST,    ANNOTATION_WINDOW,
        ANNOTATION_PANIC_WINDOW,       ANNOTATION_PANIC_THRESHOLD, ANNOTATION_RETENTION,
        ANNOTATION_AGGREGATION,        ANNOTATION_POLICY,          ANNOTATION_HISTOGRAM_BIN,
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (slice_eq_str(key, strchr(all[i], '/') + 1)) {
            bool ours =
                strncmp(all[i], AUTOSCALING_LULL_PREFIX, strlen(AUTOSCALING_LULL_PREFIX)) == 0;
            *out_prefix = ours ? AUTOSCALING_LULL_PREFIX : AUTOSCALING_PREFIX;
            return true;
        }
    }
    return false;
}

static bool known_config(struct slice key)
{
    static const char *const all[] = {"enable-scale-to-zero",
                                      "max-scale-up-rate",
                                      "max-scale-down-rate",
                                      "container-concurrency-target-percentage",
                                      "container-concurrency-target-default",
                                      "requests-per-second-target-default",
                                      "target-burst-capacity",
                                      "panic-window-percentage",
                                      "panic-threshold-percentage",
                                      "min-scale",
                                      "max-scale",
                                      "stable-window",
                                      "scale-down-delay",
                                      "scale-to-zero-grace-period",
                                      "scale-to-zero-pod-retention-period",
                                      "allow-unsafe-windows"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (slice_eq_str(key, all[i])) {
            return true;
        }
    }
    return false;
}

/* What one setting's keys come to. */
struct draft {
    json_t *annotations;
    json_t *config;
    int64_t limit;
};

static void put(json_t *object, const char *prefix, struct slice key, struct slice value)
{
    char name[KEY_MAX * 2];
    snprintf(name, sizeof(name), "%s%.*s", prefix, SLICE_FMT(key));
    json_object_set_new(object, name, json_stringn(value.ptr == NULL ? "" : value.ptr, value.len));
}

static int take(struct slice pair, struct draft *d, struct sim_setting *out, struct error *err)
{
    struct slice key;
    const char *prefix;
    int64_t ns;
    if (slice_find(pair, '=') < 0) {
        return error_set(err, ERR_INVALID, "\"%.*s\" must be KEY=VALUE", SLICE_FMT(pair));
    }
    (void)slice_split(&pair, '=', &key);
    key = slice_trim(key);
    struct slice value = slice_trim(pair);
    struct slice rest = slice_sub(key, strlen(CONFIG_PREFIX), key.len);
    if (key.len >= KEY_MAX) {
        return error_set(err, ERR_INVALID, "a key is too long");
    }
    if (known_annotation(key, &prefix)) {
        put(d->annotations, prefix, key, value);
    } else if (slice_starts_with(key, SLICE_LIT(CONFIG_PREFIX)) && known_config(rest)) {
        put(d->config, "", rest, value);
    } else if (slice_eq_str(key, "container-concurrency")) {
        int rc = num_parse_i64(value, 0, LIMIT_MAX, &d->limit, err);
        return rc < 0 ? error_prefix(err, rc, "container-concurrency") : 0;
    } else if (slice_eq_str(key, "start-time")) {
        if (num_parse_duration_ns(value, &ns, NULL) < 0 || ns < 0 || ns > START_MAX_NS) {
            return error_set(err, ERR_INVALID, "start-time: must be a duration up to 10m, is %.*s",
                             SLICE_FMT(value));
        }
        out->start_us = (uint64_t)ns / 1000;
    } else {
        return error_set(err, ERR_INVALID,
                         "there is no setting \"%.*s\" to simulate (docs/simulate.md has them all)",
                         SLICE_FMT(key));
    }
    return 0;
}

static json_t *make_pa(const struct draft *d)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:O}, s:{s:I, s:s, s:s, s:{s:s, s:s, s:s}}}",
                     "apiVersion", "autoscaling.internal.knative.dev/v1alpha1", "kind",
                     "PodAutoscaler", "metadata", "name", "simulated", "namespace", "default",
                     "annotations", d->annotations, "spec", "containerConcurrency",
                     (json_int_t)d->limit, "protocolType", "http1", "reachability", "Reachable",
                     "scaleTargetRef", "apiVersion", "apps/v1", "kind", "Deployment", "name",
                     "simulated");
}

static int use(const struct draft *d, struct sim_setting *out, struct error *err)
{
    CLEANUP(jfree) json_t *pa = make_pa(d);
    if (pa == NULL) {
        return error_set(err, ERR_INVALID, "is not UTF-8");
    }
    int rc = autoscaler_config_from_json(d->config, &out->config, err);
    if (rc == 0) {
        struct serving_config *config = NEW(struct serving_config);
        serving_config_init(config);
        config->autoscaler = out->config;
        rc = serving_validate(config, kind_row(KIND_PODAUTOSCALER), pa, NULL, err);
        free(config);
    }
    return rc < 0 ? rc : pa_object_project(NULL, pa, &out->pa, err);
}

int sim_setting_parse(struct slice text, uint64_t start_us, struct sim_setting *out,
                      struct error *err)
{
    struct slice name = text;
    struct slice pairs = SLICE_EMPTY;
    ptrdiff_t colon = slice_find(text, ':');
    *out = (struct sim_setting){.start_us = start_us};
    if (colon >= 0) {
        name = slice_sub(text, 0, (size_t)colon);
        pairs = slice_sub(text, (size_t)colon + 1, text.len);
    }
    if (slice_empty(name) || slice_find(name, '=') >= 0 ||
        !slice_copy(name, out->name, sizeof(out->name))) {
        return error_set(err, ERR_INVALID, "\"%.*s\": must be NAME:KEY=VALUE,… with a short name",
                         SLICE_FMT(slice_sub(text, 0, KEY_MAX)));
    }
    struct draft d = {.annotations = json_object(), .config = json_object()};
    struct slice pair;
    int rc = 0;
    pairs = slice_empty(pairs) ? slice_of(NULL, 0) : pairs;
    while (rc == 0 && slice_split(&pairs, ',', &pair)) {
        rc = take(pair, &d, out, err);
    }
    rc = rc < 0 ? rc : use(&d, out, err);
    json_decref(d.annotations);
    json_decref(d.config);
    if (rc < 0) {
        sim_setting_fini(out);
        return error_prefix(err, rc, "%.*s", SLICE_FMT(name));
    }
    return 0;
}

void sim_setting_fini(struct sim_setting *setting)
{
    pa_object_release(NULL, &setting->pa);
    setting->pa = (struct pa_object){0};
}
