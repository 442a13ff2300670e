// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. What came back settles the call with one script: its result, or the time of its next try. A
 * call with a callback is due once more when it has its result.
 *
 * Failure: no connection at all: tried again without being counted, until the call is too old. Any
 * other failure, 408, 429 and 5xx: tried again with back-off; the last answer is the result.
 * Redis does not answer: settled again when it is back; whether the call is still ours the script
 * knows.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/random.h"
#include "redis/command.h"
#include "broker/async_call.h"
#include "broker/retry.h"

#define RETRY_AFTER_MS 3600000u
#define NOBODY_MIN_MS  1000u /* nobody listens: before it is tried again, by the call's age */
#define NOBODY_MAX_MS  60000u

static void send_settlement(struct async_call *call);

uint64_t async_call_number(const struct async_call *call, enum async_field f)
{
    uint64_t n = 0;
    return num_parse_u64(call->field[f], 0, UINT64_MAX, &n, NULL) < 0 ? 0 : n;
}

/* --- life of a call ------------------------------------------------------------------------- */

void async_call_free(struct async_call *call)
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
            async_call_free(call);
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
        async_call_free(call);
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
    async_call_free(call);
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
    uint64_t then_ms = async_call_number(call, F_TIME);
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
    uint64_t tries = async_call_number(call, F_TRIES);
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
    uint64_t tries = async_call_number(call, F_CALLBACK_TRIES);
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

void async_call_answered(struct async_call *call, const struct send_answer *answer)
{
    if (call->callback) {
        answered_callback(call, answer);
    } else {
        answered_call(call, answer);
    }
}

void async_call_failed(struct async_call *call, const struct error *err)
{
    async_call_answered(call, &(struct send_answer){.err = err});
}
