// SPDX-License-Identifier: Apache-2.0
/*
 * The list of operations. Failure mode: a body that could not be built, or one operation too many,
 * fails the plan as a whole.
 */
#include "controller/plan.h"

#include <stdarg.h>

#include "json/jedit.h"
#include "json/jget.h"

void plan_init(struct plan *plan)
{
    *plan = (struct plan){.n_ops = 0};
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        json_decref(plan->ops[i].body);
    }
    plan->n_ops = 0;
}

static struct plan_op *plan_add(struct plan *plan, enum plan_verb verb, enum kind_id kind,
                                const char *name, json_t *body)
{
    if (body == NULL || plan->n_ops == PLAN_OPS_MAX ||
        !slice_copy(slice_str(name), plan->ops[plan->n_ops].name, OBJECT_BUF)) {
        json_decref(body);
        error_set(&plan->err, ERR_INVALID, "%s %s cannot be built", kind_row(kind)->kind, name);
        return NULL;
    }
    struct plan_op *op = &plan->ops[plan->n_ops++];
    op->verb = verb;
    op->kind = kind;
    op->ns = plan->ns;
    op->minor = false;
    op->body = body;
    return op;
}

void plan_in(struct plan *plan, const char *ns)
{
    plan->ns = ns;
}

void plan_create(struct plan *plan, enum kind_id kind, const char *name, json_t *body)
{
    (void)plan_add(plan, PLAN_CREATE, kind, name, body);
}

void plan_patch(struct plan *plan, enum kind_id kind, const char *name, json_t *body)
{
    (void)plan_add(plan, PLAN_PATCH, kind, name, body);
}

void plan_patch_lists(struct plan *plan, enum kind_id kind, const char *name, json_t *body)
{
    (void)plan_add(plan, PLAN_PATCH_LISTS, kind, name, body);
}

void plan_delete(struct plan *plan, enum kind_id kind, const char *name, const char *uid)
{
    (void)plan_add(plan, PLAN_DELETE, kind, name,
                   json_pack("{s:s,s:s,s:{s:s}}", "kind", "DeleteOptions", "apiVersion", "v1",
                             "preconditions", "uid", uid));
}

size_t plan_room(const struct plan *plan)
{
    return PLAN_OPS_MAX - plan->n_ops;
}

/* The status of condition Ready; "Unknown" where there is none. */
static struct slice readiness(const json_t *status)
{
    const json_t *ready = jpeek_row(status, "conditions", "type", SLICE_LIT("Ready"));
    return ready == NULL ? SLICE_LIT("Unknown") : jpeek_str(ready, "status");
}

/*
 * Nobody acts on it: work that still goes on, or a Revision that stays as ready as it was, whose
 * replica counts and activity follow each start and must not be in its way.
 */
static bool unimportant(enum kind_id kind, const json_t *old, const json_t *status)
{
    struct slice now = readiness(status);
    return slice_eq(readiness(old), now) && (kind == KIND_REVISION || slice_eq_str(now, "Unknown"));
}

void plan_status(struct plan *plan, enum kind_id kind, const json_t *object, json_t *status)
{
    json_t *old = json_object_get(object, "status");
    json_t *none = json_object();
    if (status == NULL) {
        (void)plan_add(plan, PLAN_PATCH_STATUS, kind, jpeek_cstr(object, "metadata.name"), NULL);
    } else if (!jequal(old == NULL ? none : old, status)) {
        json_t *diff = jmerge_diff(old == NULL ? none : old, status);
        struct plan_op *op =
            plan_add(plan, PLAN_PATCH_STATUS, kind, jpeek_cstr(object, "metadata.name"),
                     json_pack("{s:o}", "status", diff));
        if (op != NULL) {
            op->minor = unimportant(kind, old, status);
        }
    }
    json_decref(none);
    json_decref(status);
}

/* Puts the difference of one part, if there is any, into patch[key]. */
static bool diff_part(json_t *patch, const char *key, const json_t *actual, const json_t *wanted)
{
    json_t *none = json_object();
    const json_t *from = json_is_object(actual) ? actual : none;
    const json_t *to = json_is_object(wanted) ? wanted : none;
    bool differs = !jequal(from, to);
    if (differs) {
        json_object_set_new(patch, key, jmerge_diff(from, to));
    }
    json_decref(none);
    return differs;
}

bool plan_sync(struct plan *plan, enum kind_id kind, const json_t *actual, const json_t *wanted)
{
    json_t *meta = json_object();
    json_t *patch = json_object();
    bool differs =
        diff_part(meta, "labels", jget(actual, "metadata.labels"), jget(wanted, "metadata.labels"));
    differs |= diff_part(meta, "annotations", jget(actual, "metadata.annotations"),
                         jget(wanted, "metadata.annotations"));
    if (differs) {
        json_object_set(patch, "metadata", meta);
    }
    differs |= diff_part(patch, "spec", jget(actual, "spec"), jget(wanted, "spec"));
    json_decref(meta);
    if (differs) {
        plan_patch(plan, kind, jpeek_cstr(actual, "metadata.name"), patch);
    } else {
        json_decref(patch);
    }
    return differs;
}

void plan_again(struct plan *plan, uint64_t delay_ms)
{
    if (plan->again_ms == 0 || delay_ms < plan->again_ms) {
        plan->again_ms = delay_ms == 0 ? 1 : delay_ms;
    }
}

void plan_event(struct plan *plan, bool warning, const char *reason, const char *fmt, ...)
{
    if (plan->n_events == PLAN_EVENTS_MAX) {
        return;
    }
    struct plan_event *event = &plan->events[plan->n_events++];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(event->message, sizeof(event->message), fmt, ap);
    va_end(ap);
    event->warning = warning;
    snprintf(event->reason, sizeof event->reason, "%s", reason);
}
