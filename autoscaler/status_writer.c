// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A revision whose status may have changed is put on a list with a time: at once when a
 * deployment waits for it (the initial scale was reached), else a second later and at most every
 * five seconds, so that a wake-up costs no write on its way; sooner and each second when events
 * count for it, because lull-broker sends as many at once as the status has ready replicas for. An
 * unchanged status is not written. Many that are due follow each other, so many at a time; while a
 * scale is being written only the tick starts some, so that a wake-up does not wait behind them.
 * Failure modes: a failed write is tried again with the next period; the newest state is written.
 */
#include "base/mem.h"
#include "json/jparse.h"
#include "serving/kinds.h"
#include "autoscaler/engine.h"
#include "autoscaler/status.h"

#define STATUS_SETTLE_MS   1000u
#define STATUS_PERIOD_MS   5000u
#define BACKLOG_SETTLE_MS  250u
#define BACKLOG_PERIOD_MS  1000u
#define STATUS_TIMEOUT_MS  10000u
#define STATUS_RUNNING_MAX 8u

struct status_write {
    struct engine *e;
    struct revision *rev;
    uint64_t sum; /* of what is being written */
};

static void write_status(struct engine *e, struct revision *rev, uint64_t now_ms);

static void on_written(void *arg, json_t *object, const struct error *err)
{
    struct status_write *write = arg;
    struct engine *e = write->e;
    struct revision *rev = write->rev;
    e->status_running--;
    rev->status_patch = NULL;
    if (err == NULL && rev->has_pa) {
        e->counters.status_writes++;
        rev->status_sum = write->sum;
    }
    free(write);
    if (e->closing) {
        return;
    }
    if (err != NULL && rev->has_pa && err->code != ERR_NOT_FOUND) {
        e->counters.status_failures++;
        LOG_DEBUG("cannot write a status", LOG_STR("revision", rev->key), LOG_ERR(err));
        status_mark(e, rev, false);
    }
    engine_release(e, rev);
    if (e->status_waiting && e->scale_running == 0) {
        status_write_due(e, loop_now_ms(e->loop));
    }
}

void status_mark(struct engine *e, struct revision *rev, bool urgent)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    if (!rev->has_pa || (list_linked(&rev->status_link) && !urgent)) {
        return;
    }
    bool events = list_linked(&rev->backlog_link);
    uint64_t next_ms = rev->status_written_ms + (events ? BACKLOG_PERIOD_MS : STATUS_PERIOD_MS);
    rev->status_due_ms = now_ms + (events ? BACKLOG_SETTLE_MS : STATUS_SETTLE_MS);
    if (rev->status_written_ms > 0 && next_ms > rev->status_due_ms) {
        rev->status_due_ms = next_ms;
    }
    if (!list_linked(&rev->status_link)) {
        list_push_back(&e->status_due, &rev->status_link);
    }
    if (urgent) {
        rev->status_due_ms = now_ms;
        if (rev->status_patch == NULL && e->status_running < STATUS_RUNNING_MAX) {
            write_status(e, rev, now_ms);
        }
    }
}

static void write_status(struct engine *e, struct revision *rev, uint64_t now_ms)
{
    list_remove(&rev->status_link);
    struct error err;
    json_t *patch = status_patch_json(rev, &err);
    if (patch == NULL) {
        LOG_ERROR("cannot make a status", LOG_STR("revision", rev->key), LOG_ERR(&err));
        return;
    }
    CLEANUP(cleanup_free) char *text = jdump_str(patch);
    static const uint64_t seed[2] = {0}; /* it is our own text */
    uint64_t sum = map_hash(seed, slice_str(text)) | 1;
    if (rev->status_sum == sum) {
        json_decref(patch);
        return;
    }
    struct status_write *write = NEW(struct status_write);
    *write = (struct status_write){e, rev, sum};
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_PODAUTOSCALER)),
        .ns = rev->ns,
        .name = rev->name,
        .subresource = "status",
        .body = patch,
        .timeout_ms = STATUS_TIMEOUT_MS,
        .cb = on_written,
        .arg = write,
    };
    int rc = kube_patch(e->status_client, &call, &rev->status_patch, &err);
    json_decref(patch);
    rev->status_written_ms = now_ms;
    if (rev->idle != NULL) {
        rev->idle->saved = rev->idle->revised;
    }
    if (rc < 0) {
        rev->status_patch = NULL;
        free(write);
        status_mark(e, rev, false);
        return;
    }
    e->status_running++;
}

void status_write_due(struct engine *e, uint64_t now_ms)
{
    e->status_waiting = false;
    list_foreach_safe (node, &e->status_due) {
        struct revision *rev = LIST_ENTRY(node, struct revision, status_link);
        if (e->status_running >= STATUS_RUNNING_MAX) {
            e->status_waiting = true;
            return;
        }
        if (rev->status_patch == NULL && now_ms >= rev->status_due_ms) {
            write_status(e, rev, now_ms);
        }
    }
}
