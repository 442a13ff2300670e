// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Active comes from the plan's state, ScaleTargetInitialized from whether the initial scale
 * was reached, Ready from both, with Knative's reasons and sentences. Conditions are sorted by
 * type, as Knative's are.
 */
#include "autoscaler/status.h"

#include "base/clock.h"
#include "json/jbuild.h"
#include "autoscaler/idle_json.h"

struct condition {
    const char *status; /* True, False, Unknown */
    const char *reason;
    const char *message;
    uint64_t wall_ns;
};

static struct condition active_condition(const struct revision *rev)
{
    struct condition c = {.wall_ns = rev->active_wall_ns};
    bool failing = false;
    switch (rev->state.active) {
    case PLAN_ACTIVE:
        c.status = "True";
        break;
    case PLAN_ACTIVATING: {
        const char *trouble = revision_trouble(rev, &failing);
        c.status = "Unknown";
        c.reason = "Queued";
        c.message = trouble != NULL ? trouble
                                    : "Requests to the target are being buffered as resources are "
                                      "provisioned.";
        break;
    }
    case PLAN_INACTIVE:
        c.status = "False";
        c.reason = "NoTraffic";
        c.message = "The target is not receiving traffic.";
        break;
    case PLAN_TIMED_OUT:
        c.status = "False";
        c.reason = "TimedOut";
        c.message = "The target could not be activated.";
        break;
    }
    return c;
}

static struct condition ready_condition(const struct condition *active,
                                        const struct condition *initialized)
{
    bool active_true = strcmp(active->status, "True") == 0;
    bool active_false = strcmp(active->status, "False") == 0;
    uint64_t later =
        active->wall_ns > initialized->wall_ns ? active->wall_ns : initialized->wall_ns;
    if (active_false || !active_true) {
        struct condition ready = *active;
        ready.wall_ns = later;
        return ready;
    }
    return (struct condition){.status = initialized->status, .wall_ns = later};
}

static void add_condition(struct jbuild *b, const char *type, const struct condition *c)
{
    char time[CLOCK_RFC3339_MAX];
    jbuild_str(b, "status.conditions[+].type", type);
    jbuild_str(b, "status.conditions[-1].status", c->status);
    if (c->reason != NULL) {
        jbuild_str(b, "status.conditions[-1].reason", c->reason);
        jbuild_str(b, "status.conditions[-1].message", c->message);
    }
    if (c->wall_ns > 0) {
        jbuild_str(b, "status.conditions[-1].lastTransitionTime",
                   clock_format_rfc3339((int64_t)c->wall_ns, 0, time, sizeof(time)));
    }
}

json_t *status_patch_json(const struct revision *rev, struct error *err)
{
    struct condition active = active_condition(rev);
    struct condition initialized = {.status = rev->state.initialized ? "True" : "Unknown",
                                    .wall_ns = rev->initialized_wall_ns};
    struct condition ready = ready_condition(&active, &initialized);
    struct jbuild b;
    jbuild_init(&b);
    jbuild_i64(&b, "status.observedGeneration", rev->generation);
    if (rev->want >= 0) {
        jbuild_i64(&b, "status.desiredScale", rev->want);
    }
    jbuild_i64(&b, "status.actualScale", rev->ready);
    add_condition(&b, "Active", &active);
    add_condition(&b, "Ready", &ready);
    add_condition(&b, "ScaleTargetInitialized", &initialized);
    if (rev->history.count > 0) {
        jbuild_json(&b, "status.lullDecisions", history_to_json(&rev->history));
    }
    if (rev->idle != NULL && rev->idle->total + rev->idle->beyond > 0) {
        jbuild_json(&b, "status.lullIdle", idle_to_json(rev->idle));
    }
    json_t *patch = NULL;
    return jbuild_take(&b, &patch, err) < 0 ? NULL : patch;
}

int status_note_json(const struct revision *rev, const char *phase, const char *message,
                     struct strbuf *out, struct error *err)
{
    strbuf_clear(out);
    strbuf_append_str(out, "{\"namespace\":");
    strbuf_append_json(out, slice_str(rev->ns));
    strbuf_append_str(out, ",\"name\":");
    strbuf_append_json(out, slice_str(rev->name));
    strbuf_append_str(out, ",\"phase\":");
    strbuf_append_json(out, slice_str(phase));
    strbuf_append_str(out, ",\"message\":");
    strbuf_append_json(out, slice_str(message));
    strbuf_append_char(out, '}');
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "the note does not fit");
}
