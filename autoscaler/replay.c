// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Each line has a time and one thing that happened then; a table names the things. What a
 * line may contain is checked before it is used: unknown fields are errors, not noise. Settings go
 * through the same projection as a PodAutoscaler from the API and through its rules; numbers go
 * into the same windows; a tick is revision_decide. Failure modes: a line that cannot be read names
 * its field; lines before the first config; a time that goes back from one tick to the next.
 */
#include "autoscaler/replay.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/autoscaler_json.h"
#include "serving/defaults.h"
#include "serving/names.h"
#include "autoscaler/replay_state.h"
#include "autoscaler/sample.h"

#define STAT_SECONDS_MAX   60
#define SCRAPE_ANSWERS_MAX 1000

/* Where the recording's time 0 is: long after all that counts as having been always so. */
#define ORIGIN_MS 10000000000ull

/* --- reading ------------------------------------------------------------------------------- */

/* Every member of object must be one of names, which ends in NULL. */
static int check_fields(const json_t *object, const char *const *names, struct error *err)
{
    /* jansson iterates over a tree that is not const, and does not change it. */
    json_t *tree = (json_t *)(uintptr_t)object;
    for (void *it = json_object_iter(tree); it != NULL; it = json_object_iter_next(tree, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], key) != 0) {
            i++;
        }
        if (names[i] == NULL) {
            return error_set(err, ERR_INVALID, "%.60s: there is no such field", key);
        }
    }
    return 0;
}

static int get_int(const json_t *root, const char *path, int64_t min, int64_t max, int64_t *out,
                   struct error *err)
{
    int64_t value;
    int rc = jget_i64(root, path, &value, err);
    if (rc < 0) {
        return rc;
    }
    if (value < min || value > max) {
        return error_set(err, ERR_INVALID, "%s: must be %lld to %lld, is %lld", path,
                         (long long)min, (long long)max, (long long)value);
    }
    *out = value;
    return 0;
}

/* A number of a stat; absent is 0. */
static int get_amount(const json_t *root, const char *name, double *out, struct error *err)
{
    double value;
    int rc = jget_double_or(root, name, 0, &value, err);
    if (rc < 0) {
        return rc;
    }
    if (!(value >= 0 && value <= STAT_VALUE_MAX)) {
        return error_set(err, ERR_INVALID, "%s: must be 0 to %.0f, is %g", name, STAT_VALUE_MAX,
                         value);
    }
    *out = value;
    return 0;
}

static int read_stat(const json_t *json, const char *where, struct stat_sample *out,
                     struct error *err)
{
    static const char *const names[] = {
        "concurrency", "proxiedConcurrency", "requests", "proxiedRequests", "seconds", NULL};
    if (!json_is_object(json)) {
        return error_set(err, ERR_INVALID, "%s: must be an object, is %s", where, jtype_name(json));
    }
    *out = (struct stat_sample){0};
    int rc = check_fields(json, names, err);
    rc = rc < 0 ? rc : get_amount(json, "concurrency", &out->concurrency, err);
    rc = rc < 0 ? rc : get_amount(json, "proxiedConcurrency", &out->proxied_concurrency, err);
    rc = rc < 0 ? rc : get_amount(json, "requests", &out->request_count, err);
    rc = rc < 0 ? rc : get_amount(json, "proxiedRequests", &out->proxied_request_count, err);
    return rc < 0 ? error_prefix(err, rc, "%s", where) : 0;
}

/* --- settings ------------------------------------------------------------------------------ */

/* The PodAutoscaler that these settings belong to. */
static json_t *make_pa(const json_t *config, bool reachable)
{
    json_t *annotations = jpeek_obj(config, "annotations");
    annotations = annotations == NULL ? json_object() : json_incref(annotations);
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o}, s:{s:I, s:s, s:s, s:{s:s, s:s, s:s}}}",
                     "apiVersion", "autoscaling.internal.knative.dev/v1alpha1",           /**/
                     "kind", "PodAutoscaler",                                             /**/
                     "metadata", "name", "replay", "namespace", "default", "annotations", /**/
                     annotations, "spec", "containerConcurrency",                         /**/
                     (json_int_t)jpeek_i64(config, "containerConcurrency"),               /**/
                     "protocolType", "http1",                                             /**/
                     "reachability", reachable ? "Reachable" : "Unreachable",             /**/
                     "scaleTargetRef", "apiVersion", "apps/v1", "kind", "Deployment",     /**/
                     "name", "replay");
}

static int check_pa(const struct replay *r, const json_t *pa, struct error *err)
{
    struct serving_config *config = NEW(struct serving_config);
    serving_config_init(config);
    config->autoscaler = r->config;
    int rc = serving_validate(config, kind_row(KIND_PODAUTOSCALER), pa, NULL, err);
    free(config);
    return rc;
}

static int read_active(const json_t *config, struct pa_object *pa, struct error *err)
{
    static const char *const names[] = {"activating", "active", "inactive", "timed-out"};
    struct slice text;
    if (json_object_get(config, "active") == NULL) {
        return 0;
    }
    int rc = jget_str(config, "active", &text, err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_str(text, names[i])) {
            pa->has_active = true;
            pa->active = (enum plan_active)i;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "active: must be activating, active, inactive or timed-out");
}

static int use_settings(struct replay *r, const json_t *config, const json_t *json, uint64_t now_ms,
                        struct error *err)
{
    struct pa_object pa = {0};
    int rc = pa_object_project(NULL, json, &pa, err);
    rc = rc < 0 ? rc : read_active(config, &pa, err);
    if (rc == 0) {
        pa.initialized = jpeek_bool(config, "initialized");
        if (r->rev == NULL) {
            r->rev = revision_new("default", "replay");
            r->rev->replicas = 0;
        }
        revision_set_pa(r->rev, &pa, &r->config, now_ms, (int64_t)(now_ms * CLOCK_NS_PER_MS));
    }
    pa_object_release(NULL, &pa);
    return rc;
}

static int play_config(struct replay *r, const json_t *config, uint64_t now_ms, struct error *err)
{
    static const char *const names[] = {"configMap", "annotations", "containerConcurrency",
                                        "reachable", "active",      "initialized",
                                        "follow",    NULL};
    bool reachable;
    bool flag;
    int64_t limit;
    json_t *object;
    int rc = check_fields(config, names, err);
    rc = rc < 0 ? rc : jget_bool_or(config, "reachable", true, &reachable, err);
    rc = rc < 0 ? rc : jget_bool_or(config, "initialized", false, &flag, err);
    rc = rc < 0 ? rc : jget_bool_or(config, "follow", r->follow, &r->follow, err);
    rc = rc < 0 ? rc : jget_i64_or(config, "containerConcurrency", 0, &limit, err);
    if (rc == 0 && json_object_get(config, "annotations") != NULL) {
        rc = jget_obj(config, "annotations", &object, err);
    }
    if (rc == 0 && json_object_get(config, "configMap") != NULL) {
        rc = jget_obj(config, "configMap", &object, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct autoscaler_config settings;
    rc = autoscaler_config_from_json(jpeek_obj(config, "configMap"), &settings, err);
    if (rc < 0) {
        return error_prefix(err, rc, "configMap");
    }
    r->config = settings;
    CLEANUP(jfree) json_t *pa = make_pa(config, reachable);
    if (pa == NULL) {
        return error_set(err, ERR_INVALID, "annotations: cannot be used");
    }
    rc = check_pa(r, pa, err);
    return rc < 0 ? rc : use_settings(r, config, pa, now_ms, err);
}

/* --- what happens -------------------------------------------------------------------------- */

static int play_stat(struct replay *r, const json_t *json, uint64_t now_ms, struct error *err)
{
    struct stat_sample s;
    int64_t seconds = 1;
    int rc = read_stat(json, "stat", &s, err);
    if (rc == 0 && json_object_get(json, "seconds") != NULL) {
        rc = get_int(json, "seconds", 1, STAT_SECONDS_MAX, &seconds, err);
        rc = rc < 0 ? error_prefix(err, rc, "stat") : 0;
    }
    if (rc < 0) {
        return rc;
    }
    revision_record(r->rev, now_ms, (unsigned)(seconds - 1), s.concurrency - s.proxied_concurrency,
                    (s.request_count - s.proxied_request_count) / (double)seconds);
    return 0;
}

static int play_scrape(struct replay *r, const json_t *json, uint64_t now_ms, struct error *err)
{
    static const char *const names[] = {"ready", "answers", NULL};
    int64_t ready;
    json_t *answers;
    int rc = check_fields(json, names, err);
    rc = rc < 0 ? rc : get_int(json, "ready", 0, INT32_MAX, &ready, err);
    rc = rc < 0 ? rc : jget_arr(json, "answers", &answers, err);
    if (rc < 0) {
        return error_prefix(err, rc, "scrape");
    }
    if (json_array_size(answers) > SCRAPE_ANSWERS_MAX) {
        return error_set(err, ERR_INVALID, "scrape.answers: at most %d", SCRAPE_ANSWERS_MAX);
    }
    struct sample_sum sum = {0};
    uint32_t wanted = sample_size((uint32_t)ready);
    size_t i;
    const json_t *answer;
    json_array_foreach(answers, i, answer)
    {
        struct stat_sample s;
        char where[48];
        snprintf(where, sizeof(where), "scrape.answers[%zu]", i);
        rc = read_stat(answer, where, &s, err);
        if (rc < 0) {
            return rc;
        }
        if (sum.answers < wanted) { /* no more are asked for */
            sample_add(&sum, &s);
        }
    }
    if (sum.answers > 0 && sum.answers == wanted) {
        double concurrency;
        double rps;
        sample_scale(&sum, (uint32_t)ready, &concurrency, &rps);
        revision_record(r->rev, now_ms, 0, concurrency, rps);
    }
    return 0;
}

static int play_replicas(struct replay *r, const json_t *line, const char *name, struct error *err)
{
    int64_t count;
    int rc = get_int(line, name, 0, INT32_MAX, &count, err);
    if (rc == 0 && strcmp(name, "ready") == 0) {
        r->rev->ready = (int32_t)count;
    } else if (rc == 0) {
        r->rev->replicas = (int32_t)count;
    }
    return rc;
}

/* A whole report of one activator; from the first one on they count as they do live. */
static int play_report(struct replay *r, const json_t *line, uint64_t now_ms, struct error *err)
{
    static const char header[] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1};
    struct slice name;
    struct slice stats;
    struct reporter *reporter;
    void *replaced;
    int rc = jget_str(line, "report", &name, err);
    if (rc < 0) {
        return rc;
    }
    if (!r->reporting) {
        r->reporting = true;
        r->reports.current = false;
    }
    rc = reports_hello(&r->reports, name, r, now_ms, &reporter, &replaced, err);
    rc = rc < 0 ? rc
                : reports_begin_part(&r->reports, reporter, slice_of(header, sizeof(header)),
                                     now_ms, &stats, err);
    if (rc < 0) {
        return error_prefix(err, rc, "report");
    }
    reports_end_part(&r->reports, reporter, now_ms);
    return 0;
}

static int play_gone(struct replay *r, const json_t *line, uint64_t now_ms, struct error *err)
{
    struct slice name;
    int rc = jget_str(line, "gone", &name, err);
    struct reporter *reporter = rc < 0 ? NULL : map_get(&r->reports.reporters, name);
    if (rc == 0 && reporter == NULL) {
        rc = error_set(err, ERR_INVALID, "gone: no such activator has reported");
    }
    if (rc == 0) {
        reports_gone(&r->reports, reporter, r, now_ms);
    }
    return rc;
}

/* Everything at once, as a running autoscaler wrote it down. */
static int play_state(struct replay *r, const json_t *line, struct error *err)
{
    json_t *state;
    int rc = jget_obj(line, "state", &state, err);
    if (rc == 0) {
        r->reporting = true;
        rc = replay_state_from_json(state, ORIGIN_MS, r->rev, &r->reports, err);
        rc = rc < 0 ? error_prefix(err, rc, "state") : 0;
    }
    return rc;
}

static int play_poke(struct replay *r, const json_t *line, uint64_t now_ms, struct error *err)
{
    double count;
    int rc = get_amount(line, "poke", &count, err);
    if (rc == 0) {
        revision_poked(r->rev, count, now_ms);
        r->rev->held = true;
    }
    return rc;
}

/* The process began anew: numbers are lost, what the status knows is not. */
static void play_restart(struct replay *r, uint64_t now_ms)
{
    struct revision *rev = r->rev;
    struct window *windows[] = {&rev->concurrency_stable, &rev->concurrency_panic, &rev->rps_stable,
                                &rev->rps_panic};
    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        uint32_t seconds = windows[i]->seconds;
        window_fini(windows[i]);
        window_init(windows[i], seconds);
    }
    rev->last = (struct decision){0};
    rev->state.desired = -1;
    rev->held_count = 0;
    rev->held = false;
    revision_start(rev, now_ms);
    if (r->reporting) { /* the activators have to prove themselves anew */
        reports_fini(&r->reports);
        reports_init(&r->reports);
    }
}

/* --- decisions ----------------------------------------------------------------------------- */

static void put_number(struct strbuf *out, const char *name, double value)
{
    char text[NUM_DOUBLE_MAX];
    strbuf_appendf(out, ",\"%s\":%s", name, num_format_double(value, text, sizeof(text)));
}

static void put_decision(const struct replay *r, uint64_t now_ms, int32_t replicas,
                         struct strbuf *out)
{
    static const char *const actives[] = {"activating", "active", "inactive", "timed-out"};
    const struct revision *rev = r->rev;
    const struct decision *d = &rev->last;
    strbuf_appendf(out, "{\"time\":%llu", (unsigned long long)(now_ms - ORIGIN_MS));
    if (r->scenario[0] != '\0') {
        strbuf_append_str(out, ",\"scenario\":");
        strbuf_append_json(out, slice_str(r->scenario));
    }
    strbuf_appendf(out, ",\"valid\":%s", d->valid ? "true" : "false");
    if (d->valid) {
        strbuf_appendf(out, ",\"desired\":%d,\"rule\":\"%s\",\"panicMode\":%s", d->desired,
                       decider_rule_text(d->rule), d->panicking ? "true" : "false");
        put_number(out, "stable", d->stable);
        put_number(out, "panic", d->panic);
        put_number(out, "target", rev->spec.target);
        strbuf_appendf(out,
                       ",\"ready\":%d,\"stablePods\":%d,\"panicPods\":%d,\"maxUp\":%d,"
                       "\"maxDown\":%d,\"excessBurst\":%d",
                       d->ready, d->stable_pods, d->panic_pods, d->max_up, d->max_down,
                       d->excess_burst);
        if (d->until_ms > now_ms) {
            strbuf_appendf(out, ",\"until\":%llu", (unsigned long long)(d->until_ms - ORIGIN_MS));
        }
    }
    strbuf_appendf(out, ",\"plan\":{\"replicas\":%d,\"want\":%d,\"write\":%s,\"active\":\"%s\"",
                   replicas, rev->plan.want, rev->plan.write ? "true" : "false",
                   actives[rev->state.active]);
    if (rev->plan.rule != PLAN_AS_DECIDED) {
        strbuf_appendf(out, ",\"rule\":\"%s\"", plan_rule_text(rev->plan.rule));
    }
    if (rev->plan.until_ms > now_ms) {
        strbuf_appendf(out, ",\"until\":%llu",
                       (unsigned long long)(rev->plan.until_ms - ORIGIN_MS));
    }
    strbuf_append_str(out, "}}\n");
}

static int play_tick(struct replay *r, uint64_t now_ms, struct strbuf *out, struct error *err)
{
    struct revision *rev = r->rev;
    if (now_ms < r->ticked_ms) {
        return error_set(err, ERR_INVALID, "time: goes back from one tick to the next");
    }
    r->ticked_ms = now_ms;
    if (!rev->started) {
        revision_start(rev, now_ms);
    }
    if (r->reporting) {
        reports_check(&r->reports, now_ms);
    }
    int32_t replicas = rev->replicas;
    bool held = rev->held;
    rev->held = false;
    struct plan plan = revision_decide(rev, &r->reports, held, now_ms);
    put_decision(r, now_ms, replicas, out);
    if (plan.write) {
        rev->replicas = plan.want;
        rev->ready = r->follow ? plan.want : rev->ready;
    }
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "the decision does not fit");
}

/* --- lines --------------------------------------------------------------------------------- */

static int begin_scenario(struct replay *r, const json_t *line, struct error *err)
{
    struct slice name;
    int rc = jget_str(line, "scenario", &name, err);
    if (rc < 0) {
        return rc;
    }
    if (slice_empty(name) || name.len > REPLAY_SCENARIO_MAX) {
        return error_set(err, ERR_INVALID, "scenario: must have 1 to %d bytes",
                         REPLAY_SCENARIO_MAX);
    }
    replay_fini(r);
    replay_init(r);
    slice_copy(name, r->scenario, sizeof(r->scenario));
    return 0;
}

static bool has(const json_t *line, const char *name)
{
    return json_object_get(line, name) != NULL;
}

static int play(struct replay *r, const json_t *line, uint64_t now_ms, struct strbuf *out,
                struct error *err)
{
    int rc = 0;
    if (has(line, "config")) {
        json_t *config;
        rc = jget_obj(line, "config", &config, err);
        rc = rc < 0 ? rc : play_config(r, config, now_ms, err);
        return rc < 0 ? error_prefix(err, rc, "config") : 0;
    }
    if (r->rev == NULL) {
        return error_set(err, ERR_INVALID, "config: must come before anything else");
    }
    if (has(line, "restart")) {
        play_restart(r, now_ms);
    }
    rc = has(line, "state") ? play_state(r, line, err) : 0;
    rc = rc == 0 && has(line, "ready") ? play_replicas(r, line, "ready", err) : rc;
    rc = rc == 0 && has(line, "replicas") ? play_replicas(r, line, "replicas", err) : rc;
    rc = rc == 0 && has(line, "report") ? play_report(r, line, now_ms, err) : rc;
    rc = rc == 0 && has(line, "gone") ? play_gone(r, line, now_ms, err) : rc;
    rc = rc == 0 && has(line, "stat") ? play_stat(r, json_object_get(line, "stat"), now_ms, err)
                                      : rc;
    rc = rc == 0 && has(line, "scrape")
             ? play_scrape(r, json_object_get(line, "scrape"), now_ms, err)
             : rc;
    rc = rc == 0 && has(line, "poke") ? play_poke(r, line, now_ms, err) : rc;
    rc = rc == 0 && has(line, "tick") ? play_tick(r, now_ms, out, err) : rc;
    return rc;
}

int replay_line(struct replay *r, struct slice text, struct strbuf *out, struct error *err)
{
    static const char *const names[] = {"time",   "scenario", "config", "restart", "state",
                                        "ready",  "replicas", "report", "gone",    "stat",
                                        "scrape", "poke",     "tick",   NULL};
    if (slice_empty(slice_trim(text))) {
        return 0;
    }
    CLEANUP(jfree) json_t *line = NULL;
    int rc = jparse_object(text, REPLAY_LINE_MAX, &line, err);
    rc = rc < 0 ? rc : check_fields(line, names, err);
    if (rc < 0) {
        return rc;
    }
    if (has(line, "scenario")) {
        rc = begin_scenario(r, line, err);
        if (rc < 0 || json_object_size(line) == 1) {
            return rc;
        }
    }
    int64_t time_ms;
    bool flag;
    rc = get_int(line, "time", 0, REPLAY_TIME_MAX, &time_ms, err);
    rc = rc == 0 ? jget_bool_or(line, "tick", true, &flag, err) : rc;
    rc = rc == 0 ? jget_bool_or(line, "restart", true, &flag, err) : rc;
    return rc < 0 ? rc : play(r, line, ORIGIN_MS + (uint64_t)time_ms, out, err);
}

void replay_init(struct replay *r)
{
    /* Until a line speaks of reports, nobody misses any: only stats count then. */
    *r = (struct replay){0};
    reports_init(&r->reports);
    r->reports.current = true;
    autoscaler_config_default(&r->config);
}

void replay_fini(struct replay *r)
{
    if (r->rev != NULL) {
        revision_free(r->rev);
        r->rev = NULL;
    }
    reports_fini(&r->reports);
}
