// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: forward a granted request and deal with how that ends.
 *
 *   answered                              slot free, request over
 *   refused by the replica                back to its place in the queue (that is no retry)
 *   no connection                         the same; the replica is set aside
 *   no descriptor for a connection        the same; nothing is let go for a moment
 *   the replica had closed a kept
 *   connection before any byte came       the same, without blame for the replica
 *   anything else                         502; without a word from the replica: it is set aside
 *
 * The body is kept (bounded) until the answer begins, so that a request can go back after some of
 * it was sent; when more had passed than was kept it cannot, and gets 503.
 */
#include "activator/request.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "activator/headers.h"
#include "activator/overdue.h"
#include "activator/sharing.h"
#include "activator/upstream.h"

#define STALE_RETRIES_MAX 3
#define SPARE_MAX         1024

static void on_exchange_close(struct http_exchange *ex, enum http_close how, void *arg);

static const struct http_exchange_events exchange_events = {.on_close = on_exchange_close};

struct request *request_new(struct handler *h, struct http_exchange *ex,
                            enum route_listener listener)
{
    struct list *node = list_pop_front(&h->spare);
    struct request *rq =
        node != NULL ? LIST_ENTRY(node, struct request, link) : NEW(struct request);
    if (node != NULL) {
        h->spare_count--;
    }
    *rq = (struct request){.h = h, .ex = ex, .listener = (uint8_t)listener};
    list_init(&rq->link);
    http_exchange_listen(ex, &exchange_events, rq);
    return rq;
}

void request_free(struct request *rq)
{
    REQUIRE(rq->ticket.state == TICKET_IDLE);
    if (rq->h->spare_count >= SPARE_MAX) {
        free(rq);
        return;
    }
    rq->h->spare_count++;
    list_push_front(&rq->h->spare, &rq->link);
}

void request_count(struct request *rq, struct revision *r, int status)
{
    numbers_record(&rq->h->throttler.numbers, r, status,
                   loop_now_ns(rq->h->loop) - rq->ticket.enter_ns);
}

/* The exchange is over: answered by us, or its client is gone while it waited. */
static void on_exchange_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct request *rq = arg;
    struct handler *h = rq->h;
    if (rq->ticket.state != TICKET_IDLE) {
        h->counters.client_gone++;
        request_count(rq, rq->ticket.revision, 0);
        slot_cancel(h, &rq->ticket);
    }
    request_free(rq);
    handler_pump(h);
}

/* --- the forwarder's hooks ------------------------------------------------------------------ */

static int on_request(struct http_forward *f, const struct http_head *in, struct http_head *out,
                      void *arg)
{
    struct request *rq = arg;
    struct headers_context ctx = {
        .peer = http_exchange_peer(rq->ex),
        .tls = http_exchange_is_tls(rq->ex),
        .trust_forwarded = rq->listener == ROUTE_LOCAL || rq->h->config->trust_forwarded,
        .host = in->authority,
        .path_name = slice_sub(in->target, 0, rq->path_skip),
        .hops = rq->hops,
        .revision = slice_str(rq->ticket.revision->key),
    };
    out->target = headers_inner_target(SLICE_EMPTY, in->target, rq->path_skip, &rq->h->target);
    return headers_to_replica(out, &ctx, &rq->h->scratch, NULL);
}

/* A refusal of the queue-proxy, which came before anything reached the function. */
static bool is_refusal(struct request *rq, const struct http_head *in)
{
    const struct http_header *refused =
        in->status == 503 ? http_head_find_id(in, HTTP_H_K_LULL_REFUSED) : NULL;
    if (refused == NULL) {
        return false;
    }
    rq->refused = true;
    rq->refusal = slice_eq_str(refused->value, "draining") ? GIVE_BACK_DRAINING : GIVE_BACK_FULL;
    return true;
}

static void add_timing(struct request *rq, struct http_head *out)
{
    struct phases phases;
    const struct ticket *tk = &rq->ticket;
    phases_of(&tk->revision->cold, tk->enter_ns, tk->granted_ns, loop_now_ns(rq->h->loop), &phases);
    numbers_record_cold(&rq->h->throttler.numbers, &phases);
    phases_text(&phases, rq->timing, sizeof(rq->timing));
    /* no room for one more header: the answer matters more than its timing */
    (void)!http_head_add(out, SLICE_LIT("Server-Timing"), slice_str(rq->timing));
}

static bool on_response(struct http_forward *f, const struct http_head *in, struct http_head *out,
                        void *arg)
{
    struct request *rq = arg;
    if (is_refusal(rq, in)) {
        return false;
    }
    headers_to_client(out);
    rq->upgraded = in->body == HTTP_BODY_TUNNEL;
    if (rq->was_held) {
        add_timing(rq, out);
    }
    return true;
}

/* Back to its place in the queue, if it can be sent again. */
static void give_back(struct request *rq, enum give_back why, bool body_intact)
{
    struct handler *h = rq->h;
    if (why == GIVE_BACK_DRAINING) {
        upstream_flush(rq->ticket.replica);
    }
    if (body_intact) {
        h->counters.given_back++;
        rq->was_held = true;
        rq->refused = false;
        slot_give_back(h, &rq->ticket, why);
        return;
    }
    request_count(rq, rq->ticket.revision, 503);
    slot_done(h, &rq->ticket, false);
    answer_text(rq->ex, 503, 1,
                "the replica could not take the request, and its body is too large to be sent "
                "again by us: try again\n");
}

static void failed(struct request *rq, const struct http_forward_result *result)
{
    struct handler *h = rq->h;
    switch (result->stage) {
    case HTTP_STAGE_NOT_SENT:
        if (result->err.code == ERR_OVERLOAD) { /* its listener's backlog is full */
            give_back(rq, GIVE_BACK_FULL, result->body_intact);
            return;
        }
        upstream_flush(rq->ticket.replica);
        give_back(rq, GIVE_BACK_UNREACHABLE, result->body_intact);
        return;
    case HTTP_STAGE_UNSEEN:
        if (rq->stale_retries < STALE_RETRIES_MAX) {
            rq->stale_retries++;
            upstream_flush(rq->ticket.replica);
            give_back(rq, GIVE_BACK_STALE, result->body_intact);
            return;
        }
        break;
    case HTTP_STAGE_REUSED: /* a queue-proxy never closes first: it may have run */
    case HTTP_STAGE_SENT:
    case HTTP_STAGE_ANSWERED:
        break;
    }
    int status = result->err.code == ERR_TIMEOUT ? 504 : 502;
    request_count(rq, rq->ticket.revision, status);
    bool silent = result->stage != HTTP_STAGE_ANSWERED && result->err.code != ERR_TIMEOUT &&
                  result->err.code != ERR_PROTOCOL; /* who answers badly is there */
    h->counters.upstream_errors++;
    LOG_WARN("a replica failed a request", LOG_STR("revision", rq->ticket.revision->key),
             LOG_STR("pod", rq->ticket.replica->name), LOG_ERR(&result->err));
    if (silent) { /* is anybody there? */
        upstream_flush(rq->ticket.replica);
        slot_broken(h, &rq->ticket);
    } else {
        slot_done(h, &rq->ticket, false);
    }
    answer_text(rq->ex, status, 0, "the function broke the request off: %s\n", result->err.msg);
}

static void on_done(struct http_forward *f, const struct http_forward_result *result, void *arg)
{
    struct request *rq = arg;
    struct handler *h = rq->h;
    overdue_forget(rq);
    if (result->answered) {
        bool ok = result->outcome == HTTP_OUTCOME_OK;
        h->counters.forwarded += ok ? 1 : 0;
        h->counters.client_gone += result->outcome == HTTP_OUTCOME_CLIENT_GONE ? 1 : 0;
        if (rq->ticket.replica->terminating || rq->ticket.replica->draining) {
            upstream_flush(rq->ticket.replica); /* its queue-proxy waits for that */
        }
        request_count(rq, rq->ticket.revision, ok ? result->status : 0);
        slot_done(h, &rq->ticket, ok);
        request_free(rq);
        handler_pump(h);
        return;
    }
    http_exchange_listen(rq->ex, &exchange_events, rq);
    if (result->outcome == HTTP_OUTCOME_TAKEN_BACK) {
        give_back(rq, rq->refusal, result->body_intact);
    } else {
        failed(rq, result);
    }
    handler_pump(h);
}

static const struct http_forward_hooks hooks = {
    .on_request = on_request, .on_response = on_response, .on_done = on_done, .ask_first = true};

/* A replica could take it now, which is all that it wants. */
static void awake(struct request *rq)
{
    struct handler *h = rq->h;
    h->counters.wakes++;
    request_count(rq, rq->ticket.revision, 204);
    slot_done(h, &rq->ticket, true);
    http_exchange_respond(rq->ex, 204, NULL, SLICE_EMPTY);
}

void request_forward(struct request *rq)
{
    struct handler *h = rq->h;
    if (rq->wake) {
        awake(rq);
        return;
    }
    struct replica *p = rq->ticket.replica;
    UNINITIALIZED struct error err; /* only read when something fails */
    struct http_pool *pool;
    int rc = upstream_pool(h, p, &pool, &err);
    if (rc == 0) {
        rc = http_forward_start(&rq->forward, rq->ex, pool, &hooks, rq, &err);
    }
    if (rc == 0) {
        overdue_watch(rq);
        return;
    }
    if (rc == ERR_OVERLOAD) { /* no descriptor left: in a moment others have ended */
        give_back(rq, GIVE_BACK_LOCAL, true);
        handler_pump(h);
        return;
    }
    if (rc != ERR_UNSUPPORTED) { /* that is the client's doing */
        LOG_WARN("cannot forward a request", LOG_STR("revision", rq->ticket.revision->key),
                 LOG_STR("address", p->address), LOG_ERR(&err));
        h->counters.upstream_errors++;
    }
    int status = rc == ERR_TOO_BIG ? 431 : rc == ERR_UNSUPPORTED ? 501 : 502;
    request_count(rq, rq->ticket.revision, status);
    slot_done(h, &rq->ticket, false);
    answer_text(rq->ex, status, 0, "cannot forward the request: %s\n", err.msg);
}

void request_overdue(struct request *rq)
{
    struct handler *h = rq->h;
    overdue_forget(rq);
    h->counters.upstream_errors++;
    LOG_WARN("a request ran for too long", LOG_STR("revision", rq->ticket.revision->key),
             LOG_STR("pod", rq->ticket.replica->name));
    bool begun = http_forward_cancel(&rq->forward, SLICE_LIT(OVERDUE_TEXT));
    slot_done(h, &rq->ticket, false);
    if (begun) {
        request_free(rq);
        return;
    }
    http_exchange_listen(rq->ex, &exchange_events, rq);
    answer_text(rq->ex, 504, 0, OVERDUE_TEXT);
}
