// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Settings are a table of rows, both ways; windows and the delay are lists of [second, value]
 * of what is not zero. A recording is one line with the state, then a report a second and the
 * revision's ticks.
 * Failure modes: a value of a wrong type or out of its bounds; lists longer than their window.
 */
#include "autoscaler/replay_state.h"

#include "base/mem.h"
#include "json/jget.h"
#include "autoscaler/forecast.h"
#include "autoscaler/idle_json.h"

#define RECORD_MS  5400000u
#define REPORT_MS  1000u
#define TIME_MAX   9007199254740991ll
#define ACTIVATOR  "activators"
#define SECONDS_MS 1000

/* --- settings ------------------------------------------------------------------------------ */

enum setting_type { SETTING_BOOL, SETTING_DOUBLE, SETTING_I32, SETTING_U32, SETTING_MS };

static const struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;
    double min;
    double max;
} settings[] = {
#define SETTING(name, type, member, min, max)                                     \
    {                                                                             \
        name, SETTING_##type, offsetof(struct scaling_spec, member), (min), (max) \
    }
    SETTING("weighted", BOOL, weighted, 0, 1),
    SETTING("target", DOUBLE, target, AUTOSCALER_TARGET_MIN, 1e300),
    SETTING("total", DOUBLE, total, 0, 1e300),
    SETTING("backlogTarget", DOUBLE, backlog_target, 0, 1e300),
    SETTING("targetBurstCapacity", DOUBLE, target_burst_capacity, -1, 1e300),
    SETTING("panicThreshold", DOUBLE, panic_threshold, 0, 1e300),
    SETTING("maxScaleUpRate", DOUBLE, max_scale_up_rate, 1, 1e300),
    SETTING("maxScaleDownRate", DOUBLE, max_scale_down_rate, 1, 1e300),
    SETTING("stableWindowSeconds", U32, stable_window_s, 1, WINDOW_SECONDS_MAX),
    SETTING("panicWindowSeconds", U32, panic_window_s, 1, WINDOW_SECONDS_MAX),
    SETTING("scaleDownDelaySeconds", U32, scale_down_delay_s, 0, WINDOW_SECONDS_MAX),
    SETTING("graceMs", MS, grace_ms, 0, 1e15),
    SETTING("retentionMs", MS, retention_ms, 0, 1e15),
    SETTING("initialScale", I32, initial_scale, 0, INT32_MAX),
    SETTING("minScale", I32, min_scale, 0, INT32_MAX),
    SETTING("maxScale", I32, max_scale, 0, INT32_MAX),
    SETTING("activationScale", I32, activation_scale, 1, INT32_MAX),
    SETTING("scaleToZero", BOOL, scale_to_zero, 0, 1),
    SETTING("histogram", BOOL, histogram, 0, 1),
    SETTING("histogramBinMs", U32, histogram_bin_ms, HISTOGRAM_BIN_MIN_MS, HISTOGRAM_BIN_MAX_MS),
#undef SETTING
};

static json_t *setting_to_json(const struct setting *row, const struct scaling_spec *spec)
{
    const void *at = (const char *)spec + row->offset;
    switch (row->type) {
    case SETTING_BOOL:
        return json_boolean(*(const bool *)at);
    case SETTING_DOUBLE:
        return json_real(*(const double *)at);
    case SETTING_I32:
        return json_integer(*(const int32_t *)at);
    case SETTING_U32:
        return json_integer(*(const uint32_t *)at);
    case SETTING_MS:
        break;
    }
    return json_integer((json_int_t) * (const uint64_t *)at);
}

static json_t *settings_to_json(const struct revision *rev)
{
    json_t *json = json_object();
    json_object_set_new(json, "metric", json_string(scaling_metric_text(rev->spec.metric)));
    json_object_set_new(json, "reachable", json_boolean(rev->reachable));
    json_object_set_new(json, "progressDeadlineMs",
                        json_integer((json_int_t)rev->progress_deadline_ms));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        json_object_set_new(json, settings[i].name, setting_to_json(&settings[i], &rev->spec));
    }
    return json;
}

static int get_number(const json_t *json, const char *path, double min, double max, double *out,
                      struct error *err)
{
    double value;
    int rc = jget_double(json, path, &value, err);
    if (rc < 0) {
        return rc;
    }
    if (!(value >= min && value <= max)) {
        return error_set(err, ERR_INVALID, "%s: must be %g to %g, is %g", path, min, max, value);
    }
    *out = value;
    return 0;
}

static int get_ms(const json_t *json, const char *path, uint64_t *out, struct error *err)
{
    double value;
    int rc = get_number(json, path, 0, (double)TIME_MAX, &value, err);
    if (rc == 0) {
        *out = (uint64_t)value;
    }
    return rc;
}

static int get_count(const json_t *json, const char *path, int32_t min, int32_t *out,
                     struct error *err)
{
    double value;
    int rc = get_number(json, path, min, INT32_MAX, &value, err);
    if (rc == 0) {
        *out = (int32_t)value;
    }
    return rc;
}

static int setting_from_json(const struct setting *row, const json_t *json,
                             struct scaling_spec *spec, struct error *err)
{
    void *at = (char *)spec + row->offset;
    bool later = slice_starts_with(slice_str(row->name), SLICE_LIT("histogram")) ||
                 slice_starts_with(slice_str(row->name), SLICE_LIT("backlog"));
    if (later && json_object_get(json, row->name) == NULL) {
        return 0; /* recorded before there was such a thing: as the config has it */
    }
    if (row->type == SETTING_BOOL) {
        return jget_bool(json, row->name, at, err);
    }
    double value;
    int rc = get_number(json, row->name, row->min, row->max, &value, err);
    if (rc < 0) {
        return rc;
    }
    switch (row->type) {
    case SETTING_DOUBLE:
        *(double *)at = value;
        break;
    case SETTING_I32:
        *(int32_t *)at = (int32_t)value;
        break;
    case SETTING_U32:
        *(uint32_t *)at = (uint32_t)value;
        break;
    case SETTING_MS:
    case SETTING_BOOL:
        *(uint64_t *)at = (uint64_t)value;
        break;
    }
    return 0;
}

static int settings_from_json(const json_t *json, struct revision *rev, struct error *err)
{
    static const enum scaling_metric metrics[] = {SCALING_RPS, SCALING_BACKLOG};
    rev->spec.metric = SCALING_CONCURRENCY;
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        if (strcmp(jpeek_cstr(json, "metric"), scaling_metric_text(metrics[i])) == 0) {
            rev->spec.metric = metrics[i];
        }
    }
    int rc = jget_bool_or(json, "reachable", true, &rev->reachable, err);
    rc = rc < 0 ? rc : get_ms(json, "progressDeadlineMs", &rev->progress_deadline_ms, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(settings); i++) {
        rc = setting_from_json(&settings[i], json, &rev->spec, err);
    }
    if (rc == 0 && rev->spec.metric == SCALING_BACKLOG && rev->spec.backlog_target <= 0) {
        rc = error_set(err, ERR_INVALID, "backlogTarget: must be above 0");
    }
    return rc < 0 ? error_prefix(err, rc, "settings") : 0;
}

/* --- windows ------------------------------------------------------------------------------- */

static json_t *window_to_json(const struct window *w)
{
    json_t *values = json_array();
    for (uint32_t i = 0; w->written && i < w->seconds; i++) {
        int64_t second = w->last_write - (int64_t)w->seconds + 1 + (int64_t)i;
        double value = window_at(w, second);
        if (value != 0) {
            json_array_append_new(values, json_pack("[I, f]", (json_int_t)second, value));
        }
    }
    if (!w->written) {
        return json_pack("{s:o}", "values", values);
    }
    int64_t oldest = w->last_write - (int64_t)w->seconds + 1;
    int64_t first = w->first_write < oldest ? oldest : w->first_write;
    first = first > w->last_write ? oldest : first; /* after a resize: all of it counts as seen */
    return json_pack("{s:I, s:I, s:o}", "first", (json_int_t)(first < 0 ? 0 : first), "last",
                     (json_int_t)w->last_write, "values", values);
}

static int window_from_json(const json_t *json, const char *name, uint32_t seconds,
                            uint64_t origin_ms, struct window *w, struct error *err)
{
    char path[64];
    json_t *values;
    uint64_t first;
    uint64_t last;
    int64_t origin = (int64_t)(origin_ms / SECONDS_MS);
    snprintf(path, sizeof(path), "windows.%s.values", name);
    int rc = jget_arr(json, path, &values, err);
    window_fini(w);
    window_init(w, seconds);
    snprintf(path, sizeof(path), "windows.%s.last", name);
    if (rc < 0 || jget(json, path) == NULL) {
        return rc;
    }
    rc = get_ms(json, path, &last, err);
    snprintf(path, sizeof(path), "windows.%s.first", name);
    rc = rc < 0 ? rc : get_ms(json, path, &first, err);
    if (rc < 0) {
        return rc;
    }
    size_t i;
    const json_t *pair;
    json_array_foreach(values, i, pair)
    {
        double value = json_number_value(json_array_get(pair, 1));
        json_int_t second = json_integer_value(json_array_get(pair, 0));
        if (i >= seconds || second < 0 || second > TIME_MAX || !(value >= 0 && value <= 1e12)) {
            return error_set(err, ERR_INVALID, "windows.%s.values[%zu]: must be [second, number]",
                             name, i);
        }
        window_record(w, origin + second, value);
    }
    window_record(w, origin + (int64_t)last, 0);
    window_record(w, origin + (int64_t)first, 0);
    return 0;
}

static json_t *most_to_json(const struct window_max *m)
{
    json_t *values = json_array();
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->steps[i] > INT64_MIN) {
            json_array_append_new(
                values, json_pack("[I, i]", (json_int_t)(m->steps[i] * m->step_s), m->values[i]));
        }
    }
    return values;
}

static int most_from_json(const json_t *json, const char *path, uint64_t origin_ms,
                          uint32_t length_s, struct window_max *m, struct error *err)
{
    json_t *values;
    int rc = jget_arr(json, path, &values, err);
    if (rc < 0) {
        return rc;
    }
    window_max_fini(m);
    window_max_resize(m, length_s, DECIDER_TICK_MS / SECONDS_MS);
    size_t i;
    const json_t *pair;
    json_array_foreach(values, i, pair)
    {
        json_int_t second = json_integer_value(json_array_get(pair, 0));
        json_int_t value = json_integer_value(json_array_get(pair, 1));
        if (i >= WINDOW_SECONDS_MAX || second < 0 || second > TIME_MAX || value < 0 ||
            value > INT32_MAX) {
            return error_set(err, ERR_INVALID, "%s[%zu]: must be [second, replicas]", path, i);
        }
        window_max_record(m, (int64_t)(origin_ms / SECONDS_MS) + second, (int32_t)value);
    }
    return 0;
}

/* --- the whole ----------------------------------------------------------------------------- */

static const char *const actives[] = {"activating", "active", "inactive", "timed-out"};

/* What is wanted ahead of traffic: idle times, and what was announced. */
static void add_ahead(json_t *state, const struct revision *rev)
{
    if (rev->idle != NULL) {
        json_t *idle = idle_to_json(rev->idle);
        json_object_del(idle, "last");
        json_object_set_new(idle, "since", json_integer((json_int_t)rev->idle->last_ms));
        json_object_set_new(state, "idle", idle);
    }
    if (rev->times != NULL) {
        json_t *times = json_array();
        for (size_t i = 0; i < rev->times->count; i++) {
            json_array_append_new(times, json_integer((json_int_t)rev->times->at_ms[i]));
        }
        json_object_set_new(state, "warmAt", times);
    }
}

json_t *replay_state_to_json(const struct revision *rev, const struct reports *reports)
{
    json_t *windows = json_pack(
        "{s:o, s:o, s:o, s:o}", "concurrencyStable", window_to_json(&rev->concurrency_stable),
        "concurrencyPanic", window_to_json(&rev->concurrency_panic), "rpsStable",
        window_to_json(&rev->rps_stable), "rpsPanic", window_to_json(&rev->rps_panic));
    json_t *panic = json_pack("{s:b, s:I, s:i}", "on", rev->decider.panicking, "since",
                              (json_int_t)rev->decider.panic_ms, "most", rev->decider.panic_most);
    json_t *active = json_pack("{s:s, s:I, s:b, s:i}", "is", actives[rev->state.active], "since",
                               (json_int_t)rev->state.since_ms, "initialized",
                               rev->state.initialized, "desired", rev->state.desired);
    json_t *said = json_pack("{s:b, s:I, s:I, s:I}", "current", reports->current, "last",
                             (json_int_t)reports->last_ms, "since", (json_int_t)reports->since_ms,
                             "path", (json_int_t)reports->path_since_ms);
    json_t *state = json_pack("{s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:{s:f, s:I}, s:o}", "settings",
                              settings_to_json(rev), "replicas", rev->replicas, "ready", rev->ready,
                              "windows", windows, "panic", panic, "delay",
                              most_to_json(&rev->decider.delay), "active", active, "held", "count",
                              rev->held_count, "since", (json_int_t)rev->held_ms, "reports", said);
    add_ahead(state, rev);
    if (rev->spec.metric == SCALING_BACKLOG) { /* what waits now is done when it goes down */
        json_object_set_new(state, "backlog",
                            json_pack("{s:I, s:o}", "until", (json_int_t)rev->backlog_until_ms,
                                      "most", most_to_json(&rev->decider.backlog)));
    }
    return state;
}

static int read_ahead(const json_t *state, uint64_t origin_ms, struct revision *rev,
                      struct error *err)
{
    free(rev->idle);
    rev->idle = NULL;
    free(rev->times);
    rev->times = NULL;
    if (rev->spec.histogram) {
        rev->idle = NEW(struct idle);
        idle_init(rev->idle, rev->spec.histogram_bin_ms);
        rev->idle->least_ms = rev->spec.stable_window_s * 1000;
    }
    const json_t *idle = jget(state, "idle");
    if (idle != NULL && rev->idle != NULL) {
        uint64_t since_ms;
        int rc = get_ms(state, "idle.since", &since_ms, err);
        if (rc < 0) {
            return rc;
        }
        idle_from_json(rev->idle, idle, 0);
        rev->idle->last_ms = since_ms > 0 ? since_ms + origin_ms : 0;
    }
    size_t i;
    const json_t *at;
    json_array_foreach(jpeek_arr(state, "warmAt"), i, at)
    {
        json_int_t ms = json_integer_value(at);
        if (i >= WARM_AT_MAX || ms <= 0 || ms > TIME_MAX) {
            return error_set(err, ERR_INVALID,
                             "warmAt[%zu]: must be a time, and at most %u of them", i, WARM_AT_MAX);
        }
        rev->times = rev->times == NULL ? NEW(struct warm_at) : rev->times;
        rev->times->at_ms[rev->times->count++] = (uint64_t)ms + origin_ms;
    }
    return 0;
}

static int read_decider(const json_t *state, uint64_t origin_ms, struct revision *rev,
                        struct error *err)
{
    struct decider *d = &rev->decider;
    int rc = jget_bool(state, "panic.on", &d->panicking, err);
    rc = rc < 0 ? rc : get_ms(state, "panic.since", &d->panic_ms, err);
    rc = rc < 0 ? rc : get_count(state, "panic.most", 0, &d->panic_most, err);
    d->panic_ms += d->panicking ? origin_ms : 0;
    rc = rc < 0 ? rc
                : most_from_json(state, "delay", origin_ms, rev->spec.scale_down_delay_s, &d->delay,
                                 err);
    if (rc < 0 || jget(state, "backlog") == NULL) {
        return rc;
    }
    rc = get_ms(state, "backlog.until", &rev->backlog_until_ms, err);
    rev->backlog_until_ms += rev->backlog_until_ms > 0 ? origin_ms : 0;
    return rc < 0 ? rc
                  : most_from_json(state, "backlog.most", origin_ms, rev->spec.stable_window_s,
                                   &d->backlog, err);
}

static int read_plan(const json_t *state, uint64_t origin_ms, struct revision *rev,
                     struct error *err)
{
    struct slice is;
    uint64_t held_ms;
    int rc = jget_str(state, "active.is", &is, err);
    rc = rc < 0 ? rc : get_ms(state, "active.since", &rev->state.since_ms, err);
    rc = rc < 0 ? rc : jget_bool(state, "active.initialized", &rev->state.initialized, err);
    rc = rc < 0 ? rc : get_count(state, "active.desired", -1, &rev->state.desired, err);
    rc = rc < 0 ? rc : get_count(state, "replicas", -1, &rev->replicas, err);
    rc = rc < 0 ? rc : get_count(state, "ready", 0, &rev->ready, err);
    rc = rc < 0 ? rc : get_number(state, "held.count", 0, 1e9, &rev->held_count, err);
    rc = rc < 0 ? rc : get_ms(state, "held.since", &held_ms, err);
    if (rc < 0) {
        return rc;
    }
    rev->state.since_ms += origin_ms;
    rev->held_ms = held_ms + origin_ms;
    for (size_t i = 0; i < ARRAY_LEN(actives); i++) {
        if (slice_eq_str(is, actives[i])) {
            rev->state.active = (enum plan_active)i;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID,
                     "active.is: must be activating, active, inactive or timed-out");
}

static int read_reports(const json_t *state, uint64_t origin_ms, struct reports *reports,
                        struct error *err)
{
    struct reporter *reporter;
    void *replaced;
    uint64_t last;
    bool current;
    int rc = jget_bool(state, "reports.current", &current, err);
    rc = rc < 0 ? rc : get_ms(state, "reports.last", &last, err);
    rc = rc < 0 ? rc : get_ms(state, "reports.since", &reports->since_ms, err);
    rc = rc < 0 ? rc : get_ms(state, "reports.path", &reports->path_since_ms, err);
    rc = rc < 0 ? rc
                : reports_hello(reports, SLICE_LIT(ACTIVATOR), reports, origin_ms + last, &reporter,
                                &replaced, err);
    if (rc < 0) {
        return rc;
    }
    reporter->last_ms = origin_ms + last;
    reports->last_ms = origin_ms + last;
    reports->since_ms += origin_ms;
    reports->path_since_ms += reports->path_since_ms > 0 ? origin_ms : 0;
    reports->fresh = current;
    reports->current = current;
    return 0;
}

int replay_state_from_json(const json_t *state, uint64_t origin_ms, struct revision *rev,
                           struct reports *reports, struct error *err)
{
    json_t *json;
    int rc = jget_obj(state, "settings", &json, err);
    rc = rc < 0 ? rc : settings_from_json(json, rev, err);
    uint32_t stable = rev->spec.stable_window_s;
    uint32_t panic = rev->spec.panic_window_s;
    struct {
        const char *name;
        uint32_t seconds;
        struct window *window;
    } windows[] = {{"concurrencyStable", stable, &rev->concurrency_stable},
                   {"concurrencyPanic", panic, &rev->concurrency_panic},
                   {"rpsStable", stable, &rev->rps_stable},
                   {"rpsPanic", panic, &rev->rps_panic}};
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(windows); i++) {
        rc = window_from_json(state, windows[i].name, windows[i].seconds, origin_ms,
                              windows[i].window, err);
    }
    rc = rc < 0 ? rc : read_decider(state, origin_ms, rev, err);
    rc = rc < 0 ? rc : read_plan(state, origin_ms, rev, err);
    rc = rc < 0 ? rc : read_ahead(state, origin_ms, rev, err);
    rc = rc < 0 ? rc : read_reports(state, origin_ms, reports, err);
    rev->started = rc == 0;
    return rc;
}

/* --- a recording --------------------------------------------------------------------------- */

/* How long it takes until nothing changes any more, whatever is taken away. */
static uint64_t record_end(const struct revision *rev, const struct reports *reports,
                           uint64_t now_ms)
{
    struct holding holds[HOLD_N];
    struct forecast base = forecast_run(rev, reports, now_ms);
    size_t count = forecast_holds(rev, reports, now_ms, holds);
    uint64_t end_ms = base.zero ? base.zero_ms : base.in_ms;
    for (size_t i = 0; i < count; i++) {
        const struct forecast *f = &holds[i].without;
        uint64_t last_ms = f->zero ? f->zero_ms : f->in_ms;
        end_ms = last_ms > end_ms ? last_ms : end_ms;
    }
    end_ms += 2 * DECIDER_TICK_MS;
    return now_ms + (end_ms < RECORD_MS ? end_ms : RECORD_MS);
}

json_t *replay_record(const struct revision *rev, const struct reports *reports, uint64_t now_ms)
{
    json_t *lines = json_array();
    uint64_t end_ms = record_end(rev, reports, now_ms);
    uint64_t tick_ms = forecast_next_tick(rev, now_ms);
    uint64_t report_ms = reports->last_ms + REPORT_MS;
    json_array_append_new(
        lines, json_pack("{s:I, s:{s:b}}", "time", (json_int_t)now_ms, "config", "follow", 1));
    json_array_append_new(lines, json_pack("{s:I, s:o}", "time", (json_int_t)now_ms, "state",
                                           replay_state_to_json(rev, reports)));
    while (tick_ms <= end_ms) {
        if (report_ms <= tick_ms) {
            json_array_append_new(
                lines, json_pack("{s:I, s:s}", "time", (json_int_t)report_ms, "report", ACTIVATOR));
            report_ms += REPORT_MS;
        } else {
            json_array_append_new(lines,
                                  json_pack("{s:I, s:b}", "time", (json_int_t)tick_ms, "tick", 1));
            tick_ms += DECIDER_TICK_MS;
        }
    }
    return lines;
}
