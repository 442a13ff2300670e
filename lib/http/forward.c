// SPDX-License-Identifier: Apache-2.0
/*
 * The forwarder.
 *
 * Happy path: the exchange's head is copied without hop-by-hop headers, edited by the hook and
 * written to a call; body bytes follow as they come; one flush per batch sends head and first bytes
 * together. The answer takes the same way back. HTTP_FULL on one side pauses the other.
 *
 * Failure: before anything of an answer was passed on, the exchange goes back to the caller, with
 * its body where hold_body_bytes sufficed to keep it; afterwards it is broken off, so that the
 * client sees a truncated answer. The client's going away cancels the call, or with hooks.outlive
 * leaves it to its end: f->exchange is NULL from then on.
 */

#include "http/forward.h"

#define ROOM (HTTP_MAX_HEADERS + 16) /* headers of a copy with what hooks add */

/* A head for http_head_copy to fill, with room for its headers: nothing of it is read before, so
   the compiler need not clear 11 KiB twice for each request. */
#define HEAD_TO_FILL(name)                              \
    UNINITIALIZED struct http_header name##_room[ROOM]; \
    UNINITIALIZED struct http_head name;                \
    name.headers = name##_room;                         \
    name.cap_headers = ROOM

static const struct http_exchange_events exchange_events;
static const struct http_call_events call_events;

/* The last statement of its callers: on_done may free f. */
static void done(struct http_forward *f, enum http_outcome outcome, bool answered, bool intact,
                 enum http_stage stage, const struct error *err)
{
    UNINITIALIZED struct http_forward_result result;
    result.outcome = outcome;
    result.answered = answered;
    result.body_intact = intact;
    result.stage = stage;
    result.status = f->status;
    result.bytes_in = f->bytes_in;
    result.bytes_out = f->bytes_out;
    result.err.code = ERR_OK;
    result.err.msg[0] = '\0';
    if (err != NULL) {
        error_copy(&result.err, err);
    }
    f->running = false;
    f->exchange = NULL;
    f->hooks->on_done(f, &result, f->arg);
}

/* Gives the exchange back to the caller; whether its body can be sent again. */
static bool give_back(struct http_forward *f)
{
    struct http_exchange *ex = f->exchange;
    http_exchange_listen(ex, NULL, NULL);
    bool intact = http_exchange_rewind(ex) == 0;
    return intact;
}

/* ---- request: exchange → call ---- */

static void on_request_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    struct http_forward *f = arg;
    f->bytes_in += chunk.len;
    if (http_call_write(&f->call, chunk) == HTTP_FULL) {
        http_exchange_pause(ex);
    }
}

/* Apart, so that requests without trailers do not pay for the room. */
static __attribute__((noinline)) void pass_request_trailers(struct http_forward *f)
{
    HEAD_TO_FILL(out);
    if (http_head_copy(http_exchange_request_trailers(f->exchange), &out) == 0) {
        http_call_trailers(&f->call, &out);
    }
}

static void on_request_end(struct http_exchange *ex, void *arg)
{
    struct http_forward *f = arg;
    f->request_ended = true;
    if (http_exchange_request_trailers(ex) != NULL) {
        pass_request_trailers(f);
    }
    http_call_end(&f->call);
}

static void on_request_flush(struct http_exchange *ex, void *arg)
{
    struct http_forward *f = arg;
    if (!f->request_ended && http_call_flush(&f->call) == HTTP_FULL) {
        http_exchange_pause(ex);
    }
}

static void on_answer_room(struct http_exchange *ex, void *arg)
{
    struct http_forward *f = arg;
    http_call_resume(&f->call);
}

/* Lets the call go on without its client; false: it is to be cancelled. */
static bool leave(struct http_forward *f)
{
    if (!f->hooks->outlive || !http_call_reached(&f->call)) {
        return false;
    }
    f->left = true;
    f->exchange = NULL;
    if (f->tunnel) {
        http_call_end(&f->call);
    } else if (!f->request_ended) {
        http_call_cut(&f->call);
    }
    http_call_resume(&f->call);
    return true;
}

static void on_exchange_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct http_forward *f = arg;
    f->exchange = NULL;
    if (how == HTTP_CLOSE_DONE && http_call_running(&f->call)) {
        return; /* a tunnel whose client has all; the last bytes for the upstream are on their way
                 */
    }
    if (leave(f)) {
        return;
    }
    http_call_cancel(&f->call);
    done(f, HTTP_OUTCOME_CLIENT_GONE, true, false, HTTP_STAGE_SENT, NULL);
}

static const struct http_exchange_events exchange_events = {
    .on_body = on_request_body,
    .on_end = on_request_end,
    .on_flush = on_request_flush,
    .on_writable = on_answer_room,
    .on_close = on_exchange_close,
};

/* ---- answer: call → exchange ---- */

static void on_inform(struct http_call *call, const struct http_head *head, void *arg)
{
    struct http_forward *f = arg;
    HEAD_TO_FILL(out);
    if (f->left) {
        return;
    }
    if (head->status == 100 && f->asking) { /* the answer to our own question */
        f->asking = false;
        http_exchange_resume(f->exchange);
        return;
    }
    if (http_head_copy(head, &out) == 0) {
        http_exchange_inform(f->exchange, &out);
    }
}

static void on_answer_head(struct http_call *call, const struct http_head *head, void *arg)
{
    struct http_forward *f = arg;
    HEAD_TO_FILL(out);
    if (f->left) {
        f->status = head->status;
        f->tunnel = head->body == HTTP_BODY_TUNNEL;
        if (f->tunnel) {
            http_call_end(call);
        }
        return;
    }
    int rc = http_head_copy(head, &out);
    if (rc == 0 && f->hooks->on_response != NULL && !f->hooks->on_response(f, head, &out, f->arg)) {
        http_call_cancel(call);
        bool intact = give_back(f);
        f->status = head->status;
        done(f, HTTP_OUTCOME_TAKEN_BACK, false, intact, HTTP_STAGE_ANSWERED, NULL);
        return;
    }
    f->status = head->status;
    f->answering = true;
    http_exchange_keep(f->exchange, false);
    http_exchange_cork(f->exchange);
    if (head->body == HTTP_BODY_TUNNEL) {
        f->tunnel = true;
        f->request_ended = false;
    }
    http_exchange_start(f->exchange, &out);
    if (f->tunnel) { /* what the client sends from now on is delivered raw */
        http_exchange_uncork(f->exchange);
        http_exchange_resume(f->exchange);
    }
}

static void on_answer_body(struct http_call *call, struct slice chunk, void *arg)
{
    struct http_forward *f = arg;
    f->bytes_out += chunk.len;
    if (f->left) {
        return;
    }
    if (http_exchange_write(f->exchange, chunk) == HTTP_FULL) {
        http_call_pause(call);
    }
}

static void on_answer_trailers(struct http_call *call, const struct http_head *trailers, void *arg)
{
    struct http_forward *f = arg;
    HEAD_TO_FILL(out);
    if (f->exchange != NULL && http_head_copy(trailers, &out) == 0) {
        http_exchange_trailers(f->exchange, &out);
    }
}

static void on_answer_flush(struct http_call *call, void *arg)
{
    struct http_forward *f = arg;
    if (f->answering && !f->left && http_exchange_flush(f->exchange) == HTTP_FULL) {
        http_call_pause(call);
    }
}

static void on_request_room(struct http_call *call, void *arg)
{
    struct http_forward *f = arg;
    if (f->exchange != NULL) {
        http_exchange_resume(f->exchange);
    }
}

/* A tunnel's upstream has said its last; the client may go on. */
static void on_answer_half(struct http_call *call, void *arg)
{
    struct http_forward *f = arg;
    if (f->exchange != NULL) {
        http_exchange_end(f->exchange);
    }
}

static void on_answer_end(struct http_call *call, void *arg)
{
    struct http_forward *f = arg;
    struct http_exchange *ex = f->exchange;
    if (f->left) {
        done(f, HTTP_OUTCOME_CLIENT_GONE, true, false, HTTP_STAGE_ANSWERED, NULL);
        return;
    }
    if (ex != NULL) {
        http_exchange_listen(ex, NULL, NULL);
        http_exchange_end(ex);
    }
    done(f, HTTP_OUTCOME_OK, true, false, HTTP_STAGE_ANSWERED, NULL);
}

static void on_answer_fail(struct http_call *call, enum http_stage stage, const struct error *err,
                           void *arg)
{
    struct http_forward *f = arg;
    if (f->left) {
        done(f, HTTP_OUTCOME_CLIENT_GONE, true, false, stage, err);
        return;
    }
    if (!f->answering) {
        bool intact = give_back(f);
        done(f, HTTP_OUTCOME_FAILED, false, intact, stage, err);
        return;
    }
    if (f->exchange != NULL) {
        http_exchange_flush(f->exchange);
        http_exchange_listen(f->exchange, NULL, NULL);
        http_exchange_abort(f->exchange);
    }
    done(f, HTTP_OUTCOME_FAILED, true, false, stage, err);
}

static const struct http_call_events call_events = {
    .on_inform = on_inform,
    .on_head = on_answer_head,
    .on_body = on_answer_body,
    .on_trailers = on_answer_trailers,
    .on_flush = on_answer_flush,
    .on_writable = on_request_room,
    .on_half = on_answer_half,
    .on_end = on_answer_end,
    .on_fail = on_answer_fail,
};

/* ---- control ---- */

/* Whether the body may not fit into what is kept; one that has arrived whole does. */
static bool may_be_large(const struct http_exchange *ex, const struct http_head *head)
{
    return !http_exchange_request_complete(ex) &&
           (head->body == HTTP_BODY_STREAM ||
            (head->body == HTTP_BODY_LENGTH && head->content_length > http_exchange_hold(ex)));
}

int http_forward_start(struct http_forward *f, struct http_exchange *ex, struct http_pool *pool,
                       const struct http_forward_hooks *hooks, void *arg, struct error *err)
{
    HEAD_TO_FILL(out);
    const struct http_head *in = http_exchange_request(ex);
    *f = (struct http_forward){.exchange = ex, .hooks = hooks, .arg = arg};
    int rc = http_head_copy(in, &out);
    if (rc == 0 && hooks->on_request != NULL) {
        rc = hooks->on_request(f, in, &out, arg);
    }
    f->asking = hooks->ask_first && may_be_large(ex, &out);
    if (rc == 0 && f->asking) {
        rc = http_head_add(&out, SLICE_LIT("Expect"), SLICE_LIT("100-continue"));
    }
    if (rc < 0) {
        return error_set(err, (enum err_code)rc, "the request's headers cannot be passed on");
    }
    rc = http_call_start(pool, &f->call, &out, &call_events, f, err);
    if (rc < 0) {
        return rc;
    }
    f->running = true;
    http_exchange_listen(ex, &exchange_events, f);
    http_exchange_keep(ex, true);
    if (f->asking) {
        (void)http_call_flush(&f->call);
        return 0;
    }
    if (out.body == HTTP_BODY_NONE) {
        /* The whole request is its head: it can leave now, whatever the rest of this read holds. */
        f->request_ended = true;
        http_call_end(&f->call);
    }
    http_exchange_resume(ex);
    return 0;
}

bool http_forward_cancel(struct http_forward *f, struct slice text)
{
    if (!f->running) {
        return false;
    }
    struct http_exchange *ex = f->exchange;
    http_call_cancel(&f->call);
    f->running = false;
    f->exchange = NULL;
    if (ex == NULL) {
        return true;
    }
    if (!f->answering) {
        http_exchange_listen(ex, NULL, NULL);
        (void)!http_exchange_rewind(ex);
        return false;
    }
    http_exchange_listen(ex, NULL, NULL);
    http_exchange_cut(ex, text);
    return true;
}

bool http_forward_leave(struct http_forward *f, struct slice text)
{
    struct http_exchange *ex = f->exchange;
    if (!f->running || f->left || ex == NULL || !leave(f)) {
        return http_forward_cancel(f, text);
    }
    http_exchange_listen(ex, NULL, NULL);
    if (f->answering) {
        http_exchange_cut(ex, text);
        return true;
    }
    (void)!http_exchange_rewind(ex);
    return false;
}

bool http_forward_left(const struct http_forward *f)
{
    return f->running && f->left;
}

bool http_forward_running(const struct http_forward *f)
{
    return f->running;
}
