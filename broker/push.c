// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a try, its answer, perhaps a wait and the next try; when the last has failed the same for
 * the dead letter sink, with the three attributes that say why. An answer's body is not read: a
 * source has nobody who would want a reply.
 */
#include "broker/push.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/random.h"
#include "broker/retry.h"
#include "broker/streams.h"

#define NO_SINK_MS 1000

static uint64_t now_of(const struct push *p)
{
    return loop_now_ms(p->route->sender->loop);
}

static void wait_ms(struct push *p, uint64_t ms)
{
    p->state = PUSH_WAITING;
    p->due_ms = now_of(p) + ms;
}

/* What the dead letter tells of the subscriber. */
static int add_errors(struct push *p)
{
    struct error *err = &p->why;
    int rc =
        event_set(&p->event, SLICE_LIT("knativeerrordest"), slice_str(p->route->common->sink), err);
    rc = rc < 0 || p->code == 0
             ? rc
             : event_set_i64(&p->event, SLICE_LIT("knativeerrorcode"), p->code, err);
    return rc < 0 || p->said == NULL
               ? rc
               : event_set(&p->event, SLICE_LIT("knativeerrordata"), slice_str(p->said), err);
}

static void remove_errors(struct push *p)
{
    (void)event_remove(&p->event, SLICE_LIT("knativeerrordest"));
    (void)event_remove(&p->event, SLICE_LIT("knativeerrorcode"));
    (void)event_remove(&p->event, SLICE_LIT("knativeerrordata"));
}

static void keep_answer(struct push *p, int code, struct slice said)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 2 * STREAM_ERROR_DATA_MAX);
    base64_append(&text, slice_sub(said, 0, STREAM_ERROR_DATA_MAX));
    p->code = code;
    free(p->said);
    p->said = text.len == 0 ? NULL : slice_dup(strbuf_slice(&text));
}

static void failed(struct push *p, int code, struct slice said, uint64_t after_ms)
{
    const struct source_common *c = p->route->common;
    p->route->on_try(p->route->arg, &p->why);
    if (!p->dead_letter) {
        keep_answer(p, code, said);
    }
    if (retry_wanted(code) && p->attempt < c->policy.retries) {
        double jitter = (double)(random_u64() >> 11) / (double)(1ull << 53);
        wait_ms(p, retry_delay_ms(&c->policy, p->attempt++, after_ms, jitter));
    } else if (!p->dead_letter && c->dead_letter != NULL && add_errors(p) == 0) {
        p->dead_letter = true;
        p->attempt = 0;
        wait_ms(p, 0);
    } else {
        p->state = PUSH_OVER;
    }
}

static void on_sent(struct send *s, const struct send_answer *a)
{
    struct push *p = CONTAINER_OF(s, struct push, send);
    if (a->status >= 200 && a->status <= 299) {
        send_fini(s);
        p->state = PUSH_IDLE;
        if (!p->dead_letter) {
            p->route->on_try(p->route->arg, NULL);
        }
        p->cb(p, p->dead_letter ? PUSH_DEAD_LETTER : PUSH_TAKEN);
        return;
    }
    if (a->status == 0) {
        error_copy(&p->why, a->err);
    } else {
        error_set(&p->why, ERR_UNAVAILABLE, "the sink answered %d", a->status);
    }
    failed(p, a->status, a->body, a->retry_after_ms);
    send_fini(s);
}

static void try_now(struct push *p)
{
    const struct source_common *c = p->route->common;
    const char *url = p->dead_letter ? c->dead_letter : c->sink;
    struct send_message message = {
        .ns = p->route->ns, .event = &p->event, .structured = c->policy.structured};
    if (url == NULL) {
        error_set(&p->why, ERR_NOT_FOUND, "the address of the sink is not known yet");
        wait_ms(p, NO_SINK_MS);
        return;
    }
    p->state = PUSH_SENDING;
    p->begun_ms = now_of(p);
    int rc = target_parse(slice_str(url), &message.target, &p->why);
    rc = rc < 0 ? rc : send_start(p->route->sender, &p->send, &message, on_sent, &p->why);
    if (rc < 0) {
        send_fini(&p->send);
        failed(p, 0, SLICE_EMPTY, 0);
    }
}

void push_start(struct push *p, const struct push_route *route, struct event *event, push_cb cb)
{
    *p = (struct push){.route = route, .event = *event, .cb = cb};
    event_init(event);
    try_now(p);
}

void push_pause(struct push *p)
{
    if (p->state == PUSH_SENDING) {
        send_cancel(&p->send);
        send_fini(&p->send);
        wait_ms(p, 0);
    }
}

void push_tick(struct push *p, uint64_t now_ms)
{
    const struct retry_policy *policy = &p->route->common->policy;
    uint64_t limit_ms = policy->timeout_ms != 0 ? policy->timeout_ms : p->route->timeout_ms;
    if (p->state == PUSH_SENDING && now_ms - p->begun_ms >= limit_ms) {
        send_cancel(&p->send);
        send_fini(&p->send);
        error_set(&p->why, ERR_TIMEOUT, "the sink did not answer in time");
        failed(p, 0, SLICE_EMPTY, 0);
    }
    if (p->state == PUSH_WAITING && now_ms >= p->due_ms) {
        try_now(p);
    }
    if (p->state == PUSH_OVER) {
        p->state = PUSH_IDLE;
        if (p->dead_letter) {
            remove_errors(p);
        }
        p->cb(p, PUSH_REFUSED);
    }
}

void push_fini(struct push *p)
{
    if (p->state == PUSH_SENDING) {
        send_cancel(&p->send);
        send_fini(&p->send);
    }
    p->state = PUSH_IDLE;
    free(p->said);
    p->said = NULL;
    event_fini(&p->event);
}
