// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. forecast: copy decider, state and windows; step two seconds at a time with silence until
 * the scale has changed and zero is reached, as if replicas followed at once. why: the rule that
 * holds the scale now, as a sentence with the time it lasts. Everything else is reading out.
 * Failure modes: no decision yet, missing reports: said in words; the forecast then has nothing.
 */
#include "autoscaler/explain.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jbuild.h"

#define FORECAST_MS 7200000u
#define TEXT_MAX    1024

/* --- forecast ------------------------------------------------------------------------------ */

static struct window window_copy(const struct window *w)
{
    struct window copy = *w;
    if (w->buckets != NULL) {
        copy.buckets = xcalloc(w->seconds, sizeof(*copy.buckets));
        memcpy(copy.buckets, w->buckets, w->seconds * sizeof(*copy.buckets));
    }
    return copy;
}

static struct window_max max_copy(const struct window_max *m)
{
    struct window_max copy = *m;
    if (m->count > 0) {
        copy.values = xcalloc(m->count, sizeof(*copy.values));
        copy.steps = xcalloc(m->count, sizeof(*copy.steps));
        memcpy(copy.values, m->values, m->count * sizeof(*copy.values));
        memcpy(copy.steps, m->steps, m->count * sizeof(*copy.steps));
    }
    return copy;
}

/* The parts of a revision that decisions read and write; nothing else is touched. */
static struct revision shadow_of(const struct revision *rev)
{
    struct revision shadow = *rev;
    shadow.concurrency_stable = window_copy(&rev->concurrency_stable);
    shadow.concurrency_panic = window_copy(&rev->concurrency_panic);
    shadow.rps_stable = window_copy(&rev->rps_stable);
    shadow.rps_panic = window_copy(&rev->rps_panic);
    shadow.decider.delay = max_copy(&rev->decider.delay);
    return shadow;
}

static void shadow_fini(struct revision *shadow)
{
    window_fini(&shadow->concurrency_stable);
    window_fini(&shadow->concurrency_panic);
    window_fini(&shadow->rps_stable);
    window_fini(&shadow->rps_panic);
    decider_fini(&shadow->decider);
}

struct forecast explain_forecast(const struct revision *rev, const struct reports *reports,
                                 uint64_t now_ms)
{
    struct forecast out = {0};
    if (!reports->current || rev->replicas <= 0) {
        return out;
    }
    struct revision shadow = shadow_of(rev);
    struct reports silence = *reports;
    for (uint64_t t = DECIDER_TICK_MS; t <= FORECAST_MS && !out.zero; t += DECIDER_TICK_MS) {
        silence.last_ms = now_ms + t;
        struct plan plan = revision_decide(&shadow, &silence, false, now_ms + t);
        if (!plan.write) {
            continue;
        }
        if (!out.changes) {
            out.changes = true;
            out.to = plan.want;
            out.in_ms = t;
        }
        shadow.replicas = plan.want;
        shadow.ready = plan.want < shadow.ready ? plan.want : shadow.ready;
        if (plan.want == 0) {
            out.zero = true;
            out.zero_ms = t;
        }
    }
    shadow_fini(&shadow);
    return out;
}

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
    case PLAN_MIN_SCALE:
        strbuf_appendf(out, "min-scale is %d", rev->spec.min_scale);
        break;
    case PLAN_INITIAL_SCALE:
        strbuf_appendf(out, "initial-scale is %d and was not reached yet", rev->spec.initial_scale);
        break;
    case PLAN_MAX_SCALE:
        strbuf_appendf(out, "max-scale is %d", rev->spec.max_scale);
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
    }
    say_duration(out, ", for ", p->until_ms, now_ms);
}

static void say_next(struct strbuf *out, const struct revision *rev, const struct forecast *f)
{
    char text[NUM_DURATION_MAX];
    if (rev->replicas == 0) {
        strbuf_append_str(out, "The next request starts a replica.");
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
    jbuild_str(b, "settings.metric", s->metric == SCALING_RPS ? "rps" : "concurrency");
    jbuild_double(b, "settings.target", s->target);
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
}

static void add_next(struct jbuild *b, const struct forecast *f)
{
    jbuild_obj(b, "next");
    if (f->changes) {
        jbuild_i64(b, "next.scale", f->to);
        jbuild_double(b, "next.inSeconds", (double)f->in_ms / 1000);
    }
    if (f->zero) {
        jbuild_double(b, "next.zeroInSeconds", (double)f->zero_ms / 1000);
    }
}

json_t *explain_json(const struct revision *rev, const struct reports *reports, uint64_t now_ms,
                     int64_t wall_ns, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf why;
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&why, TEXT_MAX);
    strbuf_init(&text, 3 * TEXT_MAX);
    struct forecast forecast = explain_forecast(rev, reports, now_ms);
    bool failing;
    const char *trouble = revision_trouble(rev, &failing);
    say_plan(&why, rev, reports, now_ms);
    say_scale(&text, rev);
    strbuf_appendf(&text, ": %s. ", why.ptr);
    if (trouble != NULL) {
        strbuf_appendf(&text, "Its replicas have trouble: %s. ", trouble);
    }
    say_next(&text, rev, &forecast);

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
    add_next(&b, &forecast);
    if (trouble != NULL) {
        jbuild_str(&b, "trouble", trouble);
    }
    jbuild_json(&b, "changes", history_to_json(&rev->history));
    add_settings(&b, rev);
    jbuild_bool(&b, "reports.fresh", reports->fresh);
    jbuild_i64(&b, "reports.activators", (int64_t)reports_connected(reports));
    json_t *json = NULL;
    return jbuild_take(&b, &json, err) < 0 ? NULL : json;
}
