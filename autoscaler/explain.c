// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. why: the rule that gave the scale, as a sentence with the time it lasts. holds: what keeps
 * it from going down sooner, and what would happen without each (forecast.c). Everything else is
 * reading out.
 * Failure modes: no decision yet, missing reports: said in words; the forecast then has nothing.
 */
#include "autoscaler/explain.h"

#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "json/jbuild.h"

#define TEXT_MAX 1024

/* --- words --------------------------------------------------------------------------------- */

static const char *seconds_text(uint64_t ms, char *buf, size_t size)
{
    uint64_t whole = (ms + 999) / 1000;
    return num_format_duration_ns((int64_t)(whole * CLOCK_NS_PER_S), buf, size);
}

static void say_duration(struct strbuf *out, const char *before, uint64_t until_ms, uint64_t now_ms)
{
    char text[NUM_DURATION_MAX];
    if (until_ms > now_ms) {
        strbuf_appendf(out, "%s%s", before, seconds_text(until_ms - now_ms, text, sizeof(text)));
    }
}

static void say_average(struct strbuf *out, const struct revision *rev, bool panic)
{
    const struct decision *d = &rev->last;
    bool rps = rev->spec.metric == SCALING_RPS;
    strbuf_appendf(out,
                   "over the last %u s there were on average %.3g %s, and one replica is to have "
                   "%.3g",
                   panic ? rev->spec.panic_window_s : rev->spec.stable_window_s,
                   panic ? d->panic : d->stable, rps ? "requests per second" : "requests at a time",
                   rev->spec.target);
}

static const char *events_wait(double count)
{
    return count == 1 ? "event waits" : "events wait";
}

static void say_backlog(struct strbuf *out, const struct revision *rev)
{
    const struct decision *d = &rev->last;
    strbuf_appendf(out, "%.0f %s, target %g per replica → %.0f", d->backlog,
                   events_wait(d->backlog), rev->spec.backlog_target,
                   ceil(d->backlog / rev->spec.backlog_target));
}

static void say_decider(struct strbuf *out, const struct revision *rev, uint64_t now_ms)
{
    const struct decision *d = &rev->last;
    switch (d->rule) {
    case DECIDER_NO_DATA:
    case DECIDER_RULE_N:
        strbuf_append_str(out, "there are no numbers to decide on yet");
        break;
    case DECIDER_STABLE:
        if (d->stable == 0) {
            strbuf_appendf(out, "there was no traffic in the last %u s", rev->spec.stable_window_s);
        } else {
            say_average(out, rev, false);
        }
        break;
    case DECIDER_PANIC:
        strbuf_append_str(out, "a burst (panic mode): ");
        say_average(out, rev, true);
        break;
    case DECIDER_PANIC_HOLD:
        strbuf_append_str(out, "panic mode after a burst keeps what it reached");
        say_duration(out, ", without another one for ", d->until_ms, now_ms);
        break;
    case DECIDER_MAX_UP:
        strbuf_appendf(out, "max-scale-up-rate lets it grow to %d at once", d->max_up);
        break;
    case DECIDER_MAX_DOWN:
        strbuf_appendf(out, "max-scale-down-rate lets it fall to %d at once", d->max_down);
        break;
    case DECIDER_ACTIVATION:
        strbuf_appendf(out, "activation-scale asks for %d as soon as there is traffic",
                       rev->spec.activation_scale);
        break;
    case DECIDER_DELAY:
        strbuf_append_str(out, "scale-down-delay keeps it");
        say_duration(out, " for ", d->until_ms, now_ms);
        break;
    case DECIDER_HELD_REQUEST:
        strbuf_append_str(out, "a request waits for it");
        break;
    case DECIDER_BACKLOG:
        say_backlog(out, rev);
        break;
    case DECIDER_BACKLOG_HOLD:
        strbuf_appendf(out, "so many events waited within the last %u s that %d replicas were due",
                       rev->spec.stable_window_s, d->backlog_most);
        say_duration(out, "; that lasts ", d->until_ms, now_ms);
        break;
    }
}

static void say_plan(struct strbuf *out, const struct revision *rev, const struct reports *reports,
                     uint64_t now_ms)
{
    const struct plan *p = &rev->plan;
    switch (p->rule) {
    case PLAN_AS_DECIDED:
        say_decider(out, rev, now_ms);
        return;
    case PLAN_UNKNOWN:
    case PLAN_RULE_N:
        strbuf_append_str(out, "no decision was possible yet: the scale stays as it is");
        break;
    case PLAN_OBSERVING:
        strbuf_append_str(out, reports->current ? "the activators' reports are not complete for a "
                                                  "whole stable window yet: nothing is scaled down"
                                                : "reports of an activator are missing: nothing is "
                                                  "scaled down");
        break;
    case PLAN_BACKLOG_UNKNOWN:
        strbuf_append_str(out, "how many events wait is not known, lull-broker does not tell: "
                               "nothing is scaled down");
        break;
    case PLAN_MIN_SCALE:
        strbuf_appendf(out, "min-scale is %d", rev->spec.min_scale);
        break;
    case PLAN_INITIAL_SCALE:
        strbuf_appendf(out, "initial-scale is %d and was not reached yet", rev->spec.initial_scale);
        break;
    case PLAN_MAX_SCALE:
        strbuf_appendf(out, "max-scale is %d", rev->spec.max_scale);
        if (rev->last.rule == DECIDER_BACKLOG) {
            strbuf_append_str(out, " (");
            say_backlog(out, rev);
            strbuf_append_char(out, ')');
        }
        break;
    case PLAN_NO_ZERO:
        strbuf_append_str(out, "enable-scale-to-zero is false");
        break;
    case PLAN_RECENTLY_ACTIVE:
        strbuf_appendf(out, "it became active less than the stable window of %u s ago",
                       rev->spec.stable_window_s);
        break;
    case PLAN_RETENTION:
        strbuf_append_str(out, "scale-to-zero-pod-retention-period keeps the last replica");
        break;
    case PLAN_GRACE:
        strbuf_append_str(out, "the activators came into the path just now "
                               "(scale-to-zero-grace-period)");
        break;
    case PLAN_STARTING:
        strbuf_append_str(out, "it is starting; replicas that are on their way are left alone");
        break;
    case PLAN_GAVE_UP:
        strbuf_append_str(out, "no replica became ready within the progress deadline");
        break;
    case PLAN_HISTOGRAM:
        strbuf_append_str(out,
                          "policy histogram expects traffic, from how long it was idle before");
        break;
    case PLAN_ANNOUNCED:
        strbuf_append_str(out, "warm-at has announced traffic");
        break;
    }
    say_duration(out, ", for ", p->until_ms, now_ms);
}

static void say_next(struct strbuf *out, const struct revision *rev, const struct forecast *f,
                     uint64_t now_ms)
{
    char text[NUM_DURATION_MAX];
    struct revision_warm warm = revision_warm(rev, now_ms);
    if (rev->replicas == 0) {
        strbuf_append_str(out, "The next request starts a replica.");
        if (warm.next_ms > 0) {
            strbuf_appendf(out, " Without one it is started in %s (%s).",
                           seconds_text(warm.next_ms - now_ms, text, sizeof(text)),
                           plan_rule_text(warm.next_rule));
        }
        return;
    }
    if (!f->changes) {
        strbuf_append_str(out, "Without further traffic nothing changes.");
        return;
    }
    strbuf_appendf(out, "Without further traffic it goes to %d in %s", f->to,
                   seconds_text(f->in_ms, text, sizeof(text)));
    if (f->zero && f->to != 0) {
        strbuf_appendf(out, " and to 0 in %s", seconds_text(f->zero_ms, text, sizeof(text)));
    }
    strbuf_append_char(out, '.');
}

static void say_reason(struct strbuf *out, const struct revision *rev, enum hold hold)
{
    switch (hold) {
    case HOLD_IN_FLIGHT: {
        double count = revision_in_flight(rev);
        strbuf_appendf(out, "%.3g %s in flight", count, count == 1 ? "request is" : "requests are");
        break;
    }
    case HOLD_TRAFFIC:
        strbuf_appendf(out, "the stable window of %u s has traffic in it",
                       rev->spec.stable_window_s);
        break;
    case HOLD_WAITING:
        strbuf_append_str(out, "requests wait for replicas");
        break;
    case HOLD_EVENTS:
        strbuf_appendf(out, "%.0f %s", rev->backlog, events_wait(rev->backlog));
        break;
    case HOLD_BACKLOG:
        strbuf_appendf(out, "events waited within the last %u s", rev->spec.stable_window_s);
        break;
    case HOLD_BACKLOG_UNKNOWN:
        strbuf_append_str(out, "how many events wait is not known: lull-broker does not tell");
        break;
    case HOLD_PANIC:
        strbuf_append_str(out, "panic mode keeps what a burst reached");
        break;
    case HOLD_DELAY:
        strbuf_appendf(out, "scale-down-delay is %u s", rev->spec.scale_down_delay_s);
        break;
    case HOLD_RATE:
        strbuf_appendf(out, "max-scale-down-rate is %g: one step goes to a %gth part",
                       rev->spec.max_scale_down_rate, rev->spec.max_scale_down_rate);
        break;
    case HOLD_ACTIVATION:
        strbuf_appendf(out, "activation-scale is %d", rev->spec.activation_scale);
        break;
    case HOLD_MIN:
        strbuf_appendf(out, "min-scale is %d", rev->spec.min_scale);
        break;
    case HOLD_INITIAL:
        strbuf_appendf(out, "initial-scale is %d and was not reached yet", rev->spec.initial_scale);
        break;
    case HOLD_NO_ZERO:
        strbuf_append_str(out, "enable-scale-to-zero is false");
        break;
    case HOLD_RECENT:
        strbuf_appendf(out, "it became active less than the stable window of %u s ago",
                       rev->spec.stable_window_s);
        break;
    case HOLD_RETENTION:
        strbuf_appendf(out, "scale-to-zero-pod-retention-period is %g s",
                       (double)rev->spec.retention_ms / 1000);
        break;
    case HOLD_GRACE:
        strbuf_appendf(out, "scale-to-zero-grace-period is %g s and the activators came just now",
                       (double)rev->spec.grace_ms / 1000);
        break;
    case HOLD_STARTING:
        strbuf_append_str(out, "it is starting");
        break;
    case HOLD_HISTOGRAM:
        strbuf_append_str(out,
                          "policy histogram expects traffic, from how long it was idle before");
        break;
    case HOLD_ANNOUNCED:
        strbuf_append_str(out, "warm-at has announced traffic");
        break;
    case HOLD_REPORTS:
        strbuf_append_str(out, "the activators' reports are not complete for a stable window yet");
        break;
    case HOLD_N:
        break;
    }
}

static void say_hold(struct strbuf *out, const struct revision *rev, const struct holding *h,
                     uint64_t now_ms)
{
    char text[NUM_DURATION_MAX];
    say_reason(out, rev, h->hold);
    say_duration(out, "; lasts ", h->until_ms, now_ms);
    if (h->without.changes) {
        strbuf_appendf(out, "; without it to %d in %s", h->without.to,
                       seconds_text(h->without.in_ms, text, sizeof(text)));
    }
    if (h->without.zero && h->without.to != 0) {
        strbuf_appendf(out, " and to 0 in %s",
                       seconds_text(h->without.zero_ms, text, sizeof(text)));
    }
}

static void say_scale(struct strbuf *out, const struct revision *rev)
{
    if (rev->replicas < 0) {
        strbuf_appendf(out, "%s has no Deployment yet", rev->name);
    } else if (rev->replicas == 0) {
        strbuf_appendf(out, "%s is scaled to zero", rev->name);
    } else {
        strbuf_appendf(out, "%s is at %d replica%s, %d ready", rev->name, rev->replicas,
                       rev->replicas == 1 ? "" : "s", rev->ready);
    }
    if (rev->goal >= 0 && rev->goal != rev->replicas) {
        strbuf_appendf(out, ", on its way to %d", rev->goal);
    }
}

/* --- JSON ---------------------------------------------------------------------------------- */

static void add_settings(struct jbuild *b, const struct revision *rev)
{
    const struct scaling_spec *s = &rev->spec;
    jbuild_str(b, "settings.metric", scaling_metric_text(s->metric));
    jbuild_double(b, "settings.target", s->target);
    if (s->metric == SCALING_BACKLOG) {
        jbuild_double(b, "settings.backlogTarget", s->backlog_target);
    }
    jbuild_i64(b, "settings.stableWindowSeconds", s->stable_window_s);
    jbuild_i64(b, "settings.panicWindowSeconds", s->panic_window_s);
    jbuild_i64(b, "settings.minScale", s->min_scale);
    jbuild_i64(b, "settings.maxScale", s->max_scale);
    jbuild_i64(b, "settings.initialScale", s->initial_scale);
    jbuild_i64(b, "settings.scaleDownDelaySeconds", s->scale_down_delay_s);
    jbuild_double(b, "settings.retentionSeconds", (double)s->retention_ms / 1000);
    jbuild_bool(b, "settings.scaleToZero", s->scale_to_zero);
    jbuild_bool(b, "settings.reachable", rev->reachable);
}

static void add_why(struct jbuild *b, const struct revision *rev, const char *text, uint64_t now_ms)
{
    bool decided = rev->plan.rule == PLAN_AS_DECIDED;
    uint64_t until_ms = decided ? rev->last.until_ms : rev->plan.until_ms;
    jbuild_str(b, "why.rule",
               decided ? decider_rule_text(rev->last.rule) : plan_rule_text(rev->plan.rule));
    jbuild_str(b, "why.text", text);
    if (until_ms > now_ms) {
        jbuild_double(b, "why.lastsSeconds", (double)(until_ms - now_ms) / 1000);
    }
    jbuild_double(b, "why.stable", rev->last.stable);
    jbuild_double(b, "why.panic", rev->last.panic);
    jbuild_bool(b, "why.panicMode", rev->decider.panicking);
    jbuild_double(b, "why.inFlight", revision_in_flight(rev));
    if (rev->spec.metric == SCALING_BACKLOG && rev->backlog >= 0) {
        jbuild_double(b, "why.backlog", rev->backlog);
    } else if (rev->others > 0) {
        jbuild_double(b, "why.backlog", rev->others);
    }
    jbuild_i64(b, "why.excessBurstCapacity", rev->last.excess_burst);
}

static void add_forecast(struct jbuild *b, const char *where, const struct forecast *f)
{
    static const char *const names[] = {"scale", "inSeconds", "zeroInSeconds"};
    char path[64];
    jbuild_obj(b, where);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s.%s", where, names[i]);
        if (i == 0 && f->changes) {
            jbuild_i64(b, path, f->to);
        } else if (i == 1 && f->changes) {
            jbuild_double(b, path, (double)f->in_ms / 1000);
        } else if (i == 2 && f->zero) {
            jbuild_double(b, path, (double)f->zero_ms / 1000);
        }
    }
}

static void add_holds(struct jbuild *b, const struct revision *rev, const struct reports *reports,
                      uint64_t now_ms)
{
    struct holding holds[HOLD_N];
    size_t count = forecast_holds(rev, reports, now_ms, holds);
    jbuild_arr(b, "holds");
    for (size_t i = 0; i < count; i++) {
        CLEANUP(strbuf_fini) struct strbuf text;
        strbuf_init(&text, TEXT_MAX);
        say_hold(&text, rev, &holds[i], now_ms);
        jbuild_str(b, "holds[+].reason", hold_text(holds[i].hold));
        jbuild_slice(b, "holds[-1].text", strbuf_slice(&text));
        if (holds[i].until_ms > now_ms) {
            jbuild_double(b, "holds[-1].lastsSeconds", (double)(holds[i].until_ms - now_ms) / 1000);
        }
        add_forecast(b, "holds[-1].without", &holds[i].without);
    }
}

/* What the policy histogram has learned, and when it would start a replica ahead of traffic. */
static void add_idle(struct jbuild *b, const struct revision *rev, uint64_t now_ms)
{
    struct revision_warm warm = revision_warm(rev, now_ms);
    if (warm.next_ms > 0) {
        jbuild_double(b, "prewarm.inSeconds", (double)(warm.next_ms - now_ms) / 1000);
        jbuild_str(b, "prewarm.reason", plan_rule_text(warm.next_rule));
    }
    if (rev->idle == NULL) {
        return;
    }
    struct idle_window window = idle_window(rev->idle);
    jbuild_str(b, "histogram.verdict", idle_verdict_text(window.verdict));
    jbuild_i64(b, "histogram.idleTimes", (int64_t)rev->idle->total + rev->idle->beyond);
    jbuild_i64(b, "histogram.beyond", rev->idle->beyond);
    jbuild_double(b, "histogram.binSeconds", (double)rev->idle->bin_ms / 1000);
    if (window.verdict == IDLE_PREDICTED) {
        jbuild_double(b, "histogram.warmFromSeconds", (double)rev->idle->head_ms / 1000);
        jbuild_double(b, "histogram.warmUntilSeconds", (double)rev->idle->tail_ms / 1000);
    }
}

json_t *explain_json(const struct revision *rev, const struct reports *reports, uint64_t now_ms,
                     int64_t wall_ns, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf why;
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&why, TEXT_MAX);
    strbuf_init(&text, 3 * TEXT_MAX);
    struct forecast forecast = forecast_run(rev, reports, now_ms);
    bool failing;
    const char *trouble = revision_trouble(rev, &failing);
    say_plan(&why, rev, reports, now_ms);
    say_scale(&text, rev);
    strbuf_appendf(&text, ": %s. ", why.ptr);
    if (rev->others > 0) {
        strbuf_appendf(&text, "%.0f %s for it, which does not decide: its metric is %s. ",
                       rev->others, events_wait(rev->others),
                       scaling_metric_text(rev->spec.metric));
    }
    if (trouble != NULL) {
        strbuf_appendf(&text, "Its replicas have trouble: %s. ", trouble);
    }
    say_next(&text, rev, &forecast, now_ms);

    char time[CLOCK_RFC3339_MAX];
    struct jbuild b;
    jbuild_init(&b);
    jbuild_str(&b, "namespace", rev->ns);
    jbuild_str(&b, "name", rev->name);
    jbuild_str(&b, "time", clock_format_rfc3339(wall_ns, 3, time, sizeof(time)));
    jbuild_slice(&b, "text", strbuf_slice(&text));
    jbuild_i64(&b, "scale.replicas", rev->replicas);
    jbuild_i64(&b, "scale.ready", rev->ready);
    jbuild_i64(&b, "scale.desired", rev->plan.want);
    add_why(&b, rev, why.ptr, now_ms);
    add_forecast(&b, "next", &forecast);
    add_holds(&b, rev, reports, now_ms);
    if (trouble != NULL) {
        jbuild_str(&b, "trouble", trouble);
    }
    jbuild_json(&b, "changes", history_to_json(&rev->history));
    add_settings(&b, rev);
    add_idle(&b, rev, now_ms);
    jbuild_bool(&b, "reports.fresh", reports->fresh);
    jbuild_bool(&b, "reports.current", reports->current);
    jbuild_i64(&b, "reports.activators", (int64_t)reports_connected(reports));
    json_t *json = NULL;
    return jbuild_take(&b, &json, err) < 0 ? NULL : json;
}

json_t *explain_replay(const struct revision *rev)
{
    json_t *all = history_to_json(&rev->history);
    for (size_t i = 0; i < rev->history.count; i++) {
        const struct change *c = &rev->history.changes[i];
        json_t *json = json_array_get(all, i);
        const char *rule;
        int32_t to;
        if (json != NULL && change_recompute(c, &rev->spec, &to, &rule)) {
            json_object_set_new(json, "recomputed",
                                json_pack("{s:i, s:s}", "to", to, "rule", rule));
            json_object_set_new(json, "same",
                                json_boolean(to == c->to && strcmp(rule, change_rule(c)) == 0));
        }
    }
    return all;
}
