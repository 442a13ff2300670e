// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. An array of structs, shifted by one at each addition: ten small entries. Reading back
 * tolerates entries of another version: what does not parse is left out.
 */
#include "autoscaler/history.h"

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"

void history_fini(struct history *h)
{
    free(h->changes);
    *h = (struct history){0};
}

void history_add(struct history *h, const struct change *change)
{
    size_t kept = h->count < HISTORY_MAX ? h->count : HISTORY_MAX - 1;
    h->changes = xreallocarray(h->changes, kept + 1, sizeof(h->changes[0]));
    memmove(&h->changes[1], &h->changes[0], kept * sizeof(h->changes[0]));
    h->changes[0] = *change;
    h->count = kept + 1;
}

const char *change_rule(const struct change *change)
{
    return change->plan_rule == PLAN_AS_DECIDED ? decider_rule_text(change->decider_rule)
                                                : plan_rule_text(change->plan_rule);
}

static int32_t bounded(const struct change *c, const struct scaling_spec *spec, int32_t desired)
{
    switch (c->plan_rule) {
    case PLAN_MIN_SCALE:
        return desired > spec->min_scale ? desired : spec->min_scale;
    case PLAN_INITIAL_SCALE:
        return desired > spec->initial_scale ? desired : spec->initial_scale;
    case PLAN_MAX_SCALE:
        return desired < spec->max_scale ? desired : spec->max_scale;
    case PLAN_NO_ZERO:
    case PLAN_RECENTLY_ACTIVE:
    case PLAN_HISTOGRAM:
    case PLAN_ANNOUNCED:
        return desired > 1 ? desired : 1;
    case PLAN_GAVE_UP:
        return 0;
    case PLAN_AS_DECIDED:
    case PLAN_UNKNOWN:
    case PLAN_OBSERVING:
    case PLAN_BACKLOG_UNKNOWN:
    case PLAN_RETENTION:
    case PLAN_GRACE:
    case PLAN_STARTING:
    case PLAN_RULE_N:
        break;
    }
    return desired;
}

bool change_recompute(const struct change *c, const struct scaling_spec *spec, int32_t *out_to,
                      const char **out_rule)
{
    const uint64_t now_ms = 1000000000; /* only distances count */
    if (!c->complete) {
        return false;
    }
    struct scaling_spec then = *spec;
    then.target = c->target;
    then.stable_window_s = c->stable_window_s;
    then.panic_window_s = c->panic_window_s;
    then.scale_down_delay_s = 0;
    then.backlog_target = c->backlog_target;
    if (then.metric != SCALING_RPS) { /* its records do not say, and need not */
        then.metric = c->backlog_target > 0 ? SCALING_BACKLOG : SCALING_CONCURRENCY;
    }
    struct decider d = {
        .panicking = c->panicking, .panic_ms = now_ms, .panic_most = c->panic_before};
    if (c->delay_most > 0) {
        then.scale_down_delay_s = spec->scale_down_delay_s > 0 ? spec->scale_down_delay_s : 1;
        window_max_resize(&d.delay, then.scale_down_delay_s, DECIDER_TICK_MS / 1000);
        window_max_record(&d.delay, (int64_t)(now_ms / 1000), c->delay_most);
    }
    if (c->backlog_most > 0) {
        window_max_resize(&d.backlog, then.stable_window_s, DECIDER_TICK_MS / 1000);
        window_max_record(&d.backlog, (int64_t)(now_ms / 1000), c->backlog_most);
    }
    struct decider_input in = {.now_ms = now_ms,
                               .has_data = true,
                               .backlog = c->backlog,
                               .stable = c->stable,
                               .panic = c->panic,
                               .ready = c->ready,
                               .reachable = c->reachable,
                               .held = (double)c->held};
    struct decision decision = decider_decide(&d, &then, &in);
    decider_fini(&d);
    *out_to = bounded(c, spec, decision.desired);
    *out_rule = c->plan_rule == PLAN_AS_DECIDED ? decider_rule_text(decision.rule)
                                                : plan_rule_text(c->plan_rule);
    return true;
}

static json_t *change_to_json(const struct change *c)
{
    char time[CLOCK_RFC3339_MAX];
    json_t *json = json_pack("{s:s, s:i, s:i, s:s, s:{s:f, s:f, s:f, s:i, s:b, s:i, s:i}}",   /**/
                             "time", clock_format_rfc3339(c->wall_ns, 3, time, sizeof(time)), /**/
                             "from", c->from, "to", c->to, "rule", change_rule(c), "inputs",  /**/
                             "stable", c->stable, "panic", c->panic, "target", c->target,     /**/
                             "ready", c->ready, "panicMode", c->panicking,                    /**/
                             "stableWindowSeconds", (int)c->stable_window_s, "panicWindowSeconds",
                             (int)c->panic_window_s);
    json_t *inputs = json_object_get(json, "inputs");
    if (inputs != NULL && c->complete) {
        json_object_set_new(inputs, "reachable", json_boolean(c->reachable));
        json_object_set_new(inputs, "held", json_real((double)c->held));
        if (c->backlog_target > 0) {
            json_object_set_new(inputs, "backlog", json_real(c->backlog));
            json_object_set_new(inputs, "backlogTarget", json_real(c->backlog_target));
            json_object_set_new(inputs, "backlogReplicas", json_integer(c->backlog_most));
        }
        json_object_set_new(inputs, "panicReplicas", json_integer(c->panic_before));
        json_object_set_new(inputs, "delayReplicas", json_integer(c->delay_most));
    }
    return json;
}

json_t *history_to_json(const struct history *h)
{
    json_t *array = json_array();
    for (size_t i = 0; i < h->count; i++) {
        json_t *change = change_to_json(&h->changes[i]);
        if (change != NULL) {
            json_array_append_new(array, change);
        }
    }
    return array;
}

static bool read_rule(const char *text, struct change *out)
{
    for (int i = 1; i < PLAN_RULE_N; i++) {
        if (strcmp(text, plan_rule_text((enum plan_rule)i)) == 0) {
            out->plan_rule = (enum plan_rule)i;
            return true;
        }
    }
    for (int i = 0; i < DECIDER_RULE_N; i++) {
        if (strcmp(text, decider_rule_text((enum decider_rule)i)) == 0) {
            out->decider_rule = (enum decider_rule)i;
            return true;
        }
    }
    return false;
}

static double peek_number(const json_t *root, const char *path)
{
    double value = 0;
    return jget_double(root, path, &value, NULL) == 0 ? value : 0;
}

static int32_t peek_int(const json_t *root, const char *path)
{
    int64_t value = jpeek_i64(root, path);
    return value < -1 || value > INT32_MAX ? -1 : (int32_t)value;
}

static bool change_from_json(const json_t *json, struct change *out)
{
    *out = (struct change){0};
    if (clock_parse_rfc3339(jpeek_str(json, "time"), &out->wall_ns, NULL) < 0 ||
        !read_rule(jpeek_cstr(json, "rule"), out)) {
        return false;
    }
    out->from = peek_int(json, "from");
    out->to = peek_int(json, "to");
    out->ready = peek_int(json, "inputs.ready");
    out->panicking = jpeek_bool(json, "inputs.panicMode");
    out->stable = peek_number(json, "inputs.stable");
    out->panic = peek_number(json, "inputs.panic");
    out->target = peek_number(json, "inputs.target");
    out->stable_window_s = (uint32_t)peek_int(json, "inputs.stableWindowSeconds");
    out->panic_window_s = (uint32_t)peek_int(json, "inputs.panicWindowSeconds");
    out->complete = jget(json, "inputs.panicReplicas") != NULL;
    out->reachable = jpeek_bool(json, "inputs.reachable");
    out->held = (float)peek_number(json, "inputs.held");
    out->backlog = peek_number(json, "inputs.backlog");
    out->backlog_target = peek_number(json, "inputs.backlogTarget");
    out->backlog_most =
        jget(json, "inputs.backlogReplicas") == NULL ? 0 : peek_int(json, "inputs.backlogReplicas");
    out->panic_before = peek_int(json, "inputs.panicReplicas");
    out->delay_most = peek_int(json, "inputs.delayReplicas");
    return out->to >= 0;
}

void history_from_json(struct history *h, const json_t *decisions)
{
    *h = (struct history){0};
    size_t i;
    const json_t *json;
    struct change change;
    json_array_foreach(decisions, i, json)
    {
        if (h->count < HISTORY_MAX && change_from_json(json, &change)) {
            h->changes = xreallocarray(h->changes, h->count + 1, sizeof(h->changes[0]));
            h->changes[h->count++] = change;
        }
    }
}
