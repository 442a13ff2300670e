// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Calls that are due are claimed for a lease, as many as the function and our memory have
 * room for; each is sent like any request, and what came back settles it with one script: its
 * result, or the time of its next try. A call with a callback is due once more when it has its
 * result: that is what is sent then.
 *
 * Failure: no connection at all: tried again without being counted, until the call is too old. Any
 * other failure, 408, 429 and 5xx: tried again with back-off; the last answer is the result.
 * Redis does not answer: settled again when it is back; whether the call is still ours the script
 * knows. A worker that dies: its leases end.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/random.h"
#include "redis/command.h"
#include "broker/async.h"
#include "broker/capacity.h"
#include "broker/retry.h"

#define BATCH_MAX      16u
#define LEASE_MIN_MS   3000u
#define HEADERS_MAX    128u
#define COMMAND_MAX    (160u << 20)
#define RETRY_AFTER_MS 3600000u
#define NOBODY_MIN_MS  1000u /* nobody listens: before it is tried again, by the call's age */
#define NOBODY_MAX_MS  60000u
#define CLAIM_BYTES    (32u << 20)

static const char *const fields[] = {"h", "m", "u", "H", "b", "B", "o", "n",
                                     "N", "s", "r", "R", "d", "e", "t"};
enum field {
    F_CALLEE,
    F_METHOD,
    F_TARGET,
    F_HEADERS,
    F_BODY,
    F_CALLBACK,
    F_ORIGIN,
    F_TRIES,
    F_CALLBACK_TRIES,
    F_STATE,
    F_STATUS,
    F_RESULT_HEADERS,
    F_RESULT_BODY,
    F_WORDS,
    F_TIME,
    F_N
};
_Static_assert(ARRAY_LEN(fields) == F_N, "a name for each field");

enum call_state { CALL_SENDING, CALL_SETTLING, CALL_UNSETTLED };

struct async_call {
    struct list link;
    struct async_function *fn;
    char id[ASYNC_ID_LEN + 1];
    int64_t claim;
    enum call_state state;
    bool orphan;   /* we are closing: free it when Redis has answered */
    bool callback; /* its result is to be told, not the function to be called */
    bool ends;     /* settling: it is done */
    char *block;   /* owned: the bytes of all fields */
    size_t bytes;
    struct slice field[F_N]; /* into block */
    char *url;               /* owned */
    char tries_text[24];
    struct event_header headers[HEADERS_MAX];
    struct send_raw raw;
    struct send send;
    uint64_t begun_ms;
    struct strbuf command; /* that settles it */
};

static void send_settlement(struct async_call *call);

static uint64_t field_number(const struct async_call *call, enum field f)
{
    uint64_t n = 0;
    return num_parse_u64(call->field[f], 0, UINT64_MAX, &n, NULL) < 0 ? 0 : n;
}

/* --- life of a call ------------------------------------------------------------------------- */

static void call_free(struct async_call *call)
{
    struct async_function *fn = call->fn;
    list_remove(&call->link);
    fn->n_calls--;
    fn->async->bytes -= call->bytes;
    send_cancel(&call->send);
    send_fini(&call->send);
    strbuf_fini(&call->command);
    free(call->block);
    free(call->url);
    free(call);
}

void async_drop_calls(struct async_function *fn)
{
    list_foreach_safe (node, &fn->calls) {
        struct async_call *call = LIST_ENTRY(node, struct async_call, link);
        send_cancel(&call->send);
        if (call->state == CALL_SETTLING) {
            call->orphan = true;
        } else {
            call_free(call);
        }
    }
}

/* --- settling ------------------------------------------------------------------------------- */

static void on_settled(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct async_call *call = arg;
    struct async_function *fn = call->fn;
    struct async *a = fn->async;
    if (call->orphan) {
        call_free(call);
        return;
    }
    if (err != NULL) {
        a->worker->counters.redis_errors++;
        call->state = CALL_UNSETTLED;
        return;
    }
    a->counters.late += redis_reply_int(reply, 0) == 0 ? 1 : 0;
    if (call->ends) {
        async_answer_waiters(a, call->id);
    }
    call_free(call);
    async_claim(fn);
}

static void send_settlement(struct async_call *call)
{
    struct error err;
    call->state = CALL_SETTLING;
    if (redis_conn_send_made(call->fn->async->worker->db, strbuf_slice(&call->command), on_settled,
                             call, &err) < 0) {
        call->state = CALL_UNSETTLED;
    }
}

void async_settle_again(struct async_function *fn)
{
    list_foreach_safe (node, &fn->calls) {
        struct async_call *call = LIST_ENTRY(node, struct async_call, link);
        if (call->state == CALL_UNSETTLED) {
            send_settlement(call);
        }
    }
}

/* How it goes on, and what is written down. */
struct settlement {
    bool again;
    uint64_t ms; /* again: until then; else: how long the result is kept */
    struct {
        const char *name;
        struct slice value;
    } fields[8];
    size_t n;
};

static void put(struct settlement *st, const char *name, struct slice value)
{
    st->fields[st->n].name = name;
    st->fields[st->n++].value = value;
}

static void settle(struct async_call *call, const struct settlement *st)
{
    struct async_function *fn = call->fn;
    struct strbuf *out = &call->command;
    char key[ASYNC_KEY_MAX];
    send_cancel(&call->send);
    strbuf_clear(out);
    redis_command_begin(out, 11 + 2 * st->n);
    redis_command_arg(out, SLICE_LIT("EVAL"));
    redis_command_arg(out, slice_str(async_script_settle));
    redis_command_arg(out, SLICE_LIT("4"));
    redis_command_arg(out, slice_str(fn->waiting_key));
    redis_command_arg(out, slice_str(fn->running_key));
    redis_command_arg(out, slice_str(fn->results_key));
    redis_command_arg(out, slice_str(async_call_key(slice_str(call->id), key)));
    redis_command_arg(out, slice_str(call->id));
    redis_command_u64(out, (uint64_t)call->claim);
    redis_command_arg(out, st->again ? SLICE_LIT("again") : SLICE_LIT("end"));
    redis_command_u64(out, st->ms);
    for (size_t i = 0; i < st->n; i++) {
        redis_command_arg(out, slice_str(st->fields[i].name));
        redis_command_arg(out, st->fields[i].value);
    }
    send_settlement(call);
}

/* --- what an answer means ------------------------------------------------------------------- */

/* Nothing reached anybody: the gateway is being restarted, or a name server is away. */
static bool is_nobody_there(const struct error *err)
{
    return err != NULL && (err->code == ERR_REFUSED || err->code == ERR_NOT_FOUND ||
                           err->code == ERR_OVERLOAD || err->code == ERR_UNAVAILABLE);
}

/* Trying again would not help. */
static bool is_hopeless(const struct error *err)
{
    return err != NULL &&
           (err->code == ERR_DENIED || err->code == ERR_INVALID || err->code == ERR_TOO_BIG);
}

static uint64_t age_ms(const struct async_call *call)
{
    uint64_t now_ms = (uint64_t)(clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS);
    uint64_t then_ms = field_number(call, F_TIME);
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static uint64_t nobody_delay_ms(const struct async_call *call)
{
    uint64_t ms = age_ms(call) / 10;
    return ms < NOBODY_MIN_MS ? NOBODY_MIN_MS : ms > NOBODY_MAX_MS ? NOBODY_MAX_MS : ms;
}

/* Whether it is tried again, and when; *tries is counted up. */
static bool try_again(const struct async_call *call, const struct send_answer *answer, bool wanted,
                      uint64_t *tries, uint64_t *out_ms)
{
    const struct config *c = call->fn->async->worker->config;
    struct retry_policy policy = {.retries = (uint32_t)c->async_retries,
                                  .backoff = RETRY_EXPONENTIAL,
                                  .delay_ms = c->async_retry_delay_ms,
                                  .retry_after_max_ms = RETRY_AFTER_MS};
    bool nobody = answer->status == 0 && is_nobody_there(answer->err);
    if (nobody) {
        *out_ms = nobody_delay_ms(call);
    } else {
        (*tries)++;
        *out_ms = retry_delay_ms(&policy, (uint32_t)(*tries - 1), answer->retry_after_ms,
                                 (double)(random_u64() % 1000) / 1000);
    }
    return wanted && !is_hopeless(answer->err) && age_ms(call) < c->async_lifetime_ms &&
           (nobody || *tries <= policy.retries);
}

static struct slice pack_headers(struct strbuf *out, const struct send_answer *answer)
{
    strbuf_clear(out);
    for (size_t i = 0; i < answer->n_headers; i++) {
        if (async_keeps_header(answer->headers[i].name)) {
            async_headers_add(out, answer->headers[i].name, answer->headers[i].value);
        }
    }
    return strbuf_ok(out) ? strbuf_slice(out) : SLICE_EMPTY;
}

static void settle_result(struct async_call *call, const struct send_answer *answer, uint64_t tries)
{
    struct async *a = call->fn->async;
    const struct config *c = a->worker->config;
    char n[24];
    char status[16];
    bool called_back = call->field[F_CALLBACK].len > 0;
    struct settlement st = {.again = called_back, .ms = called_back ? 0 : c->async_result_ttl_ms};
    snprintf(n, sizeof(n), "%llu", (unsigned long long)tries);
    snprintf(status, sizeof(status), "%d", answer->status);
    put(&st, "s", SLICE_LIT("done"));
    put(&st, "n", slice_str(n));
    put(&st, "r", slice_str(status));
    if (answer->status == 0) {
        put(&st, "e", slice_str(answer->err == NULL ? "" : answer->err->msg));
        a->counters.failed++;
    } else if (answer->too_big) {
        put(&st, "x", SLICE_LIT("1"));
    } else {
        put(&st, "R", pack_headers(&a->scratch, answer));
        put(&st, "d", answer->body);
    }
    a->counters.done++;
    call->ends = true;
    settle(call, &st);
}

static void answered_call(struct async_call *call, const struct send_answer *answer)
{
    struct async *a = call->fn->async;
    uint64_t tries = field_number(call, F_TRIES);
    char n[24];
    char words[64];
    struct settlement st = {.again = true};
    if (!try_again(call, answer, async_retry_wanted(answer->status), &tries, &st.ms)) {
        settle_result(call, answer, tries);
        return;
    }
    a->counters.retried++;
    snprintf(n, sizeof(n), "%llu", (unsigned long long)tries);
    snprintf(words, sizeof(words), "the function answered %d", answer->status);
    put(&st, "s", SLICE_LIT("waiting"));
    put(&st, "n", slice_str(n));
    put(&st, "e", answer->err != NULL ? slice_str(answer->err->msg) : slice_str(words));
    settle(call, &st);
}

static void answered_callback(struct async_call *call, const struct send_answer *answer)
{
    struct async *a = call->fn->async;
    uint64_t tries = field_number(call, F_CALLBACK_TRIES);
    char n[24];
    char words[200];
    struct settlement st = {.again = true};
    bool taken = answer->status >= 200 && answer->status <= 299;
    if (taken || !try_again(call, answer, retry_wanted(answer->status), &tries, &st.ms)) {
        st.again = false;
        st.ms = a->worker->config->async_result_ttl_ms;
        a->counters.callbacks += taken ? 1 : 0;
        a->counters.callbacks_failed += taken ? 0 : 1;
    }
    snprintf(n, sizeof(n), "%llu", (unsigned long long)tries);
    if (answer->status != 0) {
        snprintf(words, sizeof(words), "%d", answer->status);
    } else {
        snprintf(words, sizeof(words), "%.190s", answer->err == NULL ? "" : answer->err->msg);
    }
    put(&st, "N", slice_str(n));
    put(&st, "z", slice_str(words));
    settle(call, &st);
}

static void answered(struct async_call *call, const struct send_answer *answer)
{
    if (call->callback) {
        answered_callback(call, answer);
    } else {
        answered_call(call, answer);
    }
}

static void on_answer(struct send *s, const struct send_answer *answer)
{
    answered(CONTAINER_OF(s, struct async_call, send), answer);
}

static void failed(struct async_call *call, const struct error *err)
{
    answered(call, &(struct send_answer){.err = err});
}

/* --- making it ------------------------------------------------------------------------------ */

static void add_header(struct async_call *call, const char *name, struct slice value)
{
    if (call->raw.n < HEADERS_MAX) {
        call->headers[call->raw.n++] = (struct event_header){slice_str(name), value};
    }
}

static void add_headers(struct async_call *call, struct slice packed)
{
    struct slice name, value;
    while (call->raw.n < HEADERS_MAX && async_headers_next(&packed, &name, &value)) {
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
             (unsigned long long)field_number(call, F_TRIES) + 1);
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
        failed(call, &err);
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
        failed(call, &err);
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
    strbuf_init(&out, COMMAND_MAX);
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
    strbuf_init(&call->command, COMMAND_MAX);
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
