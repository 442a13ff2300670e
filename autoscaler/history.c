// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. An array of structs, shifted by one at each addition: ten small entries. Reading back
 * tolerates entries of another version: what does not parse is left out.
 */
#include "autoscaler/history.h"

#include "base/clock.h"
#include "json/jget.h"

void history_add(struct history *h, const struct change *change)
{
    size_t kept = h->count < HISTORY_MAX ? h->count : HISTORY_MAX - 1;
    memmove(&h->changes[1], &h->changes[0], kept * sizeof(h->changes[0]));
    h->changes[0] = *change;
    h->count = kept + 1;
}

const char *change_rule(const struct change *change)
{
    return change->plan_rule == PLAN_AS_DECIDED ? decider_rule_text(change->decider_rule)
                                                : plan_rule_text(change->plan_rule);
}

static json_t *change_to_json(const struct change *c)
{
    char time[CLOCK_RFC3339_MAX];
    return json_pack("{s:s, s:i, s:i, s:s, s:{s:f, s:f, s:f, s:i, s:b, s:i, s:i}}",   /**/
                     "time", clock_format_rfc3339(c->wall_ns, 3, time, sizeof(time)), /**/
                     "from", c->from, "to", c->to, "rule", change_rule(c), "inputs",  /**/
                     "stable", c->stable, "panic", c->panic, "target", c->target,     /**/
                     "ready", c->ready, "panicMode", c->panicking,                    /**/
                     "stableWindowSeconds", (int)c->stable_window_s, "panicWindowSeconds",
                     (int)c->panic_window_s);
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
    return out->to >= 0;
}

void history_from_json(struct history *h, const json_t *decisions)
{
    *h = (struct history){0};
    size_t i;
    const json_t *json;
    json_array_foreach(decisions, i, json)
    {
        if (h->count < HISTORY_MAX && change_from_json(json, &h->changes[h->count])) {
            h->count++;
        }
    }
}
