// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Calls that are due are claimed for a lease, as many as the function and our memory have
 * room for; each is sent like any request, and async_settle.c sees to what came back. A call with a
 * callback is due once more when it has its result: that is what is sent then.
 *
 * Failure: what takes too long is broken off. A worker that dies: its leases end.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "redis/command.h"
#include "broker/async_call.h"
#include "broker/capacity.h"

#define BATCH_MAX    16u
#define LEASE_MIN_MS 3000u
#define CLAIM_BYTES  (32u << 20)

static const char *const fields[] = {"h", "m", "u", "H", "b", "B", "o", "n",
                                     "N", "s", "r", "R", "d", "e", "t"};
_Static_assert(ARRAY_LEN(fields) == F_N, "a name for each field");

/* --- making it ------------------------------------------------------------------------------ */

static void add_header(struct async_call *call, const char *name, struct slice value)
{
    if (call->raw.n < ASYNC_CALL_HEADERS_MAX) {
        call->headers[call->raw.n++] = (struct event_header){slice_str(name), value};
    }
}

static void add_headers(struct async_call *call, struct slice packed)
{
    struct slice name, value;
    while (call->raw.n < ASYNC_CALL_HEADERS_MAX && async_headers_next(&packed, &name, &value)) {
        call->headers[call->raw.n++] = (struct event_header){name, value};
    }
}

static void make_call(struct async_call *call)
{
    call->url = xasprintf("http://%.*s%.*s", SLICE_FMT(call->field[F_CALLEE]),
                          SLICE_FMT(call->field[F_TARGET]));
    call->raw.method = call->field[F_METHOD];
    call->raw.body = call->field[F_BODY];
    call->raw.answer_max = call->fn->async->worker->config->async_result_max;
    snprintf(call->tries_text, sizeof(call->tries_text), "%llu",
             (unsigned long long)async_call_number(call, F_TRIES) + 1);
    add_header(call, "Lull-Async-Id", slice_str(call->id));
    add_header(call, "Lull-Async-Attempt", slice_str(call->tries_text));
    add_headers(call, call->field[F_HEADERS]);
}

static void make_callback(struct async_call *call)
{
    struct slice packed = call->field[F_RESULT_HEADERS];
    struct slice name, value;
    struct slice type = SLICE_EMPTY;
    bool failed = slice_eq_str(call->field[F_STATUS], "0");
    call->url = slice_dup(call->field[F_CALLBACK]);
    call->raw.method = SLICE_LIT("POST");
    call->raw.body = failed ? call->field[F_WORDS] : call->field[F_RESULT_BODY];
    while (async_headers_next(&packed, &name, &value)) {
        type = http_header_id(name) == HTTP_H_CONTENT_TYPE ? value : type;
    }
    if (!slice_empty(type) || failed) {
        add_header(call, "Content-Type", failed ? SLICE_LIT("text/plain; charset=utf-8") : type);
    }
    add_header(call, "User-Agent", SLICE_LIT("lull/" LULL_VERSION));
    add_header(call, "Lull-Async-Id", slice_str(call->id));
    add_header(call, "Lull-Async-Status", call->field[F_STATUS]);
    add_header(call, "Lull-Async-Attempts", call->field[F_TRIES]);
}

static void on_answer(struct send *s, const struct send_answer *answer)
{
    async_call_answered(CONTAINER_OF(s, struct async_call, send), answer);
}

static void send_call(struct async_call *call)
{
    struct worker *w = call->fn->async->worker;
    struct send_message message = {.ns = call->fn->ns, .raw = &call->raw};
    struct error err = {0};
    call->raw.headers = call->headers;
    if (call->callback) {
        make_callback(call);
        message.outside = !slice_eq_str(call->field[F_ORIGIN], "local");
    } else {
        make_call(call);
    }
    call->begun_ms = loop_now_ms(w->loop);
    call->fn->async->counters.tries += call->callback ? 0 : 1;
    int rc = target_parse(slice_str(call->url), &message.target, &err);
    rc = rc < 0 ? rc : send_start(&w->sender, &call->send, &message, on_answer, &err);
    if (rc < 0) {
        async_call_failed(call, &err);
    }
}

/* Breaks off what takes too long. */
static void check_call(struct async_call *call)
{
    const struct config *c = call->fn->async->worker->config;
    uint64_t now_ms = loop_now_ms(call->fn->async->worker->loop);
    uint64_t most_ms = call->callback ? c->delivery_timeout_ms : c->async_timeout_ms;
    struct error err;
    if (call->state == CALL_SENDING && now_ms >= call->begun_ms + most_ms) {
        error_set(&err, ERR_TIMEOUT, "no whole answer came within %llu ms",
                  (unsigned long long)most_ms);
        send_cancel(&call->send);
        async_call_failed(call, &err);
    }
}

/* --- leases --------------------------------------------------------------------------------- */

static uint64_t lease_ms(const struct worker *w)
{
    uint64_t ms = w->config->worker_silence_ms;
    return ms < LEASE_MIN_MS ? LEASE_MIN_MS : ms;
}

static void renew(struct async_function *fn)
{
    struct worker *w = fn->async->worker;
    struct error err;
    if (fn->n_calls == 0) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, ASYNC_COMMAND_MAX);
    redis_command_begin(&out, 5 + fn->n_calls);
    redis_command_arg(&out, SLICE_LIT("EVAL"));
    redis_command_arg(&out, slice_str(async_script_renew));
    redis_command_arg(&out, SLICE_LIT("1"));
    redis_command_arg(&out, slice_str(fn->running_key));
    redis_command_u64(&out, lease_ms(w));
    list_foreach (node, &fn->calls) {
        redis_command_arg(&out, slice_str(LIST_ENTRY(node, struct async_call, link)->id));
    }
    /* Lost: the next one is sent in a second. */
    (void)!redis_conn_send_made(w->db, strbuf_slice(&out), NULL, NULL, &err);
}

void async_check(struct async_function *fn, bool renewing)
{
    list_foreach_safe (node, &fn->calls) {
        check_call(LIST_ENTRY(node, struct async_call, link));
    }
    if (renewing) {
        renew(fn);
        async_settle_again(fn);
    }
}

/* --- claiming ------------------------------------------------------------------------------- */

/* NULL: it is not ours yet. */
static struct async_call *held_call(const struct async_function *fn, struct slice id)
{
    list_foreach (node, &fn->calls) {
        struct async_call *call = LIST_ENTRY(node, struct async_call, link);
        if (slice_eq_str(id, call->id)) {
            return call;
        }
    }
    return NULL;
}

/* One claimed call; malformed ones are left to their lease and to whoever knows better. */
static void take_call(struct async_function *fn, const struct redisReply *reply)
{
    struct slice id = redis_reply_text(redis_reply_at(reply, 0));
    struct async_call *call = held_call(fn, id);
    if (call != NULL) { /* we were stopped for longer than the lease, and are still at it */
        call->claim = redis_reply_int(redis_reply_at(reply, 1), 0);
        return;
    }
    if (!async_id_valid(id) || redis_reply_len(reply) < 2 + F_N) {
        fn->async->worker->counters.poison++;
        return;
    }
    call = NEW(struct async_call);
    size_t bytes = 0;
    for (size_t i = 0; i < F_N; i++) {
        bytes += redis_reply_text(redis_reply_at(reply, 2 + i)).len;
    }
    call->fn = fn;
    call->claim = redis_reply_int(redis_reply_at(reply, 1), 0);
    call->block = xmalloc(bytes + 1);
    call->bytes = bytes + sizeof(*call);
    (void)slice_copy(id, call->id, sizeof(call->id));
    char *at = call->block;
    for (size_t i = 0; i < F_N; i++) {
        struct slice text = redis_reply_text(redis_reply_at(reply, 2 + i));
        call->field[i] = slice_of(at, text.len);
        if (text.len > 0) {
            memcpy(at, text.ptr, text.len);
        }
        at += text.len;
    }
    call->callback = slice_eq_str(call->field[F_STATE], "done");
    strbuf_init(&call->command, ASYNC_COMMAND_MAX);
    list_init(&call->send.link);
    list_push_back(&fn->calls, &call->link);
    fn->n_calls++;
    fn->async->bytes += call->bytes;
    send_call(call);
}

static void on_claimed(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct async_function *fn = arg;
    struct async *a = fn->async;
    fn->claims--;
    if (err != NULL || a->stopping) {
        return;
    }
    const struct redisReply *calls = redis_reply_at(reply, 5);
    int64_t wait_ms = redis_reply_int(redis_reply_at(reply, 4), -1);
    a->counters.taken_over += (uint64_t)redis_reply_int(redis_reply_at(reply, 0), 0);
    fn->waiting = (uint64_t)redis_reply_int(redis_reply_at(reply, 1), 0);
    fn->running = (uint64_t)redis_reply_int(redis_reply_at(reply, 2), 0);
    fn->results = (uint64_t)redis_reply_int(redis_reply_at(reply, 3), 0);
    fn->due = (uint64_t)redis_reply_int(redis_reply_at(reply, 6), 0);
    if (wait_ms > 0) {
        uint64_t due_ms = loop_now_ms(a->worker->loop) + (uint64_t)wait_ms;
        fn->due_ms = due_ms < fn->due_ms ? due_ms : fn->due_ms;
    }
    for (size_t i = 0; i < redis_reply_len(calls); i++) {
        take_call(fn, redis_reply_at(calls, i));
    }
    if (fn->more || wait_ms == 0) {
        async_claim(fn);
    }
}

/* One answer of Redis must have room for all of them. */
static uint64_t batch_max(const struct config *c)
{
    uint64_t largest =
        c->async_body_max > c->async_result_max ? c->async_body_max : c->async_result_max;
    uint64_t n = CLAIM_BYTES / (largest + (64u << 10));
    return n > BATCH_MAX ? BATCH_MAX : n == 0 ? 1 : n;
}

void async_claim(struct async_function *fn)
{
    struct async *a = fn->async;
    struct worker *w = a->worker;
    struct error err;
    char start[ASYNC_KEY_MAX];
    char most[16];
    char lease[24];
    uint64_t room = (uint64_t)w->config->async_parallelism;
    uint64_t takes = capacity_limit(w, slice_str(fn->ns), slice_str(fn->name));
    room = room < takes ? room : takes;
    room = room > fn->n_calls ? room - fn->n_calls : 0;
    if (room == 0 || a->bytes > w->config->memory_bytes_max || a->stopping || w->stopping ||
        !redis_conn_is_up(w->db)) {
        return; /* an end of a call, or the tick, comes here again */
    }
    fn->more = fn->claims > 0;
    if (fn->more) {
        return;
    }
    room = room < batch_max(w->config) ? room : batch_max(w->config);
    snprintf(most, sizeof(most), "%llu", (unsigned long long)room);
    snprintf(lease, sizeof(lease), "%llu", (unsigned long long)lease_ms(w));
    struct slice args[9 + F_N] = {SLICE_LIT("EVAL"),
                                  slice_str(async_script_claim),
                                  SLICE_LIT("3"),
                                  slice_str(fn->waiting_key),
                                  slice_str(fn->running_key),
                                  slice_str(fn->results_key),
                                  slice_str(async_key(slice_str(fn->tag), "call:", start)),
                                  slice_str(most),
                                  slice_str(lease)};
    for (size_t i = 0; i < F_N; i++) {
        args[9 + i] = slice_str(fields[i]);
    }
    fn->claims++;
    if (redis_conn_send(w->db, args, ARRAY_LEN(args), on_claimed, fn, &err) < 0) {
        fn->claims--;
    }
}
