// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The functions that were ever called asynchronously, by their tags: from the requests that
 * come here, and from the list in Redis, which is read when the connection comes up and now and
 * then, since other workers write it too. Each is looked at when it is due: at once after a call
 * came or ended, when its next retry is due, and every few seconds for what other workers left.
 *
 * Failure: Redis is away: nothing is claimed, what is being made goes on and is settled when it is
 * back, before leases that ended meanwhile are looked at.
 */
#include "broker/async.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "http/simple.h"
#include "metric/metric.h"
#include "metric/rows.h"

#define SAID_MS      60000u
#define POLL_MS      2000u  /* a function that was called lately */
#define POLL_IDLE_MS 10000u /* the others */
#define LATELY_MS    300000u
#define LIST_TICKS   20u
#define QUIET_MS     3600000 /* nobody called it for so long, and nothing of it is kept: forgotten */
#define SCRATCH_MAX  (1u << 20)

/* --- functions ------------------------------------------------------------------------------ */

struct async_function *async_function_of(const struct async *a, struct slice id)
{
    return map_get(&a->functions, slice_sub(id, 0, ASYNC_TAG_LEN));
}

struct async_function *async_function(struct async *a, struct slice tag, struct slice ns,
                                      struct slice name)
{
    struct async_function *fn = map_get(&a->functions, tag);
    if (fn != NULL) {
        return fn;
    }
    fn = NEW(struct async_function);
    fn->async = a;
    (void)slice_copy(tag, fn->tag, sizeof(fn->tag));
    fn->ns = slice_dup(ns);
    fn->name = slice_dup(name);
    async_key(tag, "waiting", fn->waiting_key);
    async_key(tag, "running", fn->running_key);
    async_key(tag, "results", fn->results_key);
    list_init(&fn->calls);
    map_set(&a->functions, slice_str(fn->tag), fn);
    return fn;
}

int async_function_used(struct async_function *fn, struct error *err)
{
    struct worker *w = fn->async->worker;
    uint64_t now_ms = loop_now_ms(w->loop);
    char score[24];
    fn->used_ms = now_ms;
    if (fn->said_ms != 0 && now_ms < fn->said_ms + SAID_MS) {
        return 0;
    }
    CLEANUP(cleanup_free) char *member = xasprintf("%s %s/%s", fn->tag, fn->ns, fn->name);
    snprintf(score, sizeof(score), "%lld", (long long)(clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS));
    const struct slice args[] = {SLICE_LIT("ZADD"), SLICE_LIT(ASYNC_FUNCTIONS), slice_str(score),
                                 slice_str(member)};
    /* On the connection that the call takes, before it: whoever finds the call finds this. */
    int rc = redis_conn_send(w->in, args, ARRAY_LEN(args), NULL, NULL, err);
    if (rc == 0) {
        fn->said_ms = now_ms;
    }
    return rc;
}

/* --- the list in Redis ---------------------------------------------------------------------- */

/* One that may be forgotten. */
struct candidate {
    struct async *async;
    char *member;
    char *score;
};

static void candidate_free(struct candidate *c)
{
    free(c->member);
    free(c->score);
    free(c);
}

static void on_quiet(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct candidate *c = arg;
    if (err == NULL && redis_reply_int(reply, 0) == 1 && !c->async->stopping) {
        const struct slice args[] = {SLICE_LIT("EVAL"),    slice_str(async_script_forget),
                                     SLICE_LIT("1"),       SLICE_LIT(ASYNC_FUNCTIONS),
                                     slice_str(c->member), slice_str(c->score)};
        (void)worker_ask(c->async->worker, args, ARRAY_LEN(args), NULL, NULL);
    }
    candidate_free(c);
}

static void forget_if_quiet(struct async_function *fn, struct slice member, struct slice score)
{
    const struct slice args[] = {
        SLICE_LIT("EVAL"),          slice_str(async_script_quiet), SLICE_LIT("3"),
        slice_str(fn->waiting_key), slice_str(fn->running_key),    slice_str(fn->results_key)};
    struct candidate *c = NEW(struct candidate);
    *c = (struct candidate){
        .async = fn->async, .member = slice_dup(member), .score = slice_dup(score)};
    if (worker_ask(fn->async->worker, args, ARRAY_LEN(args), on_quiet, c) < 0) {
        candidate_free(c);
    }
}

static void take_member(struct async *a, struct slice member, struct slice score)
{
    struct slice rest = member;
    struct slice tag, ns;
    int64_t now_ms = clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS;
    bool good = slice_split(&rest, ' ', &tag) && tag.len == ASYNC_TAG_LEN &&
                slice_split(&rest, '/', &ns) && rest.ptr != NULL && rest.len <= ASYNC_CALLEE_MAX &&
                ns.len <= ASYNC_CALLEE_MAX;
    if (!good || map_len(&a->functions) >= ASYNC_FUNCTIONS_MAX) {
        return;
    }
    struct async_function *fn = async_function(a, tag, ns, rest);
    int64_t last_ms;
    if (num_parse_i64(score, 0, INT64_MAX, &last_ms, NULL) == 0 && last_ms < now_ms - QUIET_MS &&
        fn->waiting + fn->running + fn->results == 0) {
        forget_if_quiet(fn, member, score);
    }
}

static void on_list(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct async *a = arg;
    a->listing = false;
    for (size_t i = 0; !a->stopping && i + 1 < redis_reply_len(reply); i += 2) {
        take_member(a, redis_reply_text(redis_reply_at(reply, i)),
                    redis_reply_text(redis_reply_at(reply, i + 1)));
    }
}

static void read_list(struct async *a)
{
    const struct slice args[] = {SLICE_LIT("ZRANGE"), SLICE_LIT(ASYNC_FUNCTIONS), SLICE_LIT("0"),
                                 SLICE_LIT("-1"), SLICE_LIT("WITHSCORES")};
    if (!a->listing && !a->stopping) {
        a->listing = worker_ask(a->worker, args, ARRAY_LEN(args), on_list, a) == 0;
    }
}

/* --- the tick ------------------------------------------------------------------------------- */

void async_up(struct async *a)
{
    read_list(a);
    map_foreach (it, &a->functions) {
        struct async_function *fn = it.value;
        fn->said_ms = 0; /* this Redis may be another one */
        async_check(fn, true);
        async_settle_again(fn);
        async_claim(fn);
    }
    async_answer_waiters(a, NULL);
}

static void tick_function(struct async_function *fn, uint64_t now_ms, bool second, bool up)
{
    async_check(fn, second && up);
    if (!up || now_ms < fn->due_ms) {
        return;
    }
    bool lately = fn->waiting + fn->running > 0 || now_ms < fn->used_ms + LATELY_MS;
    uint64_t poll_ms = lately ? POLL_MS : POLL_IDLE_MS;
    /* Not all at once. */
    fn->due_ms = now_ms + poll_ms / 2 + (uintptr_t)fn / 64 % (poll_ms / 2);
    async_claim(fn);
}

void async_tick(struct async *a, bool second)
{
    struct worker *w = a->worker;
    uint64_t now_ms = loop_now_ms(w->loop);
    bool up = redis_conn_is_up(w->db);
    if (up && w->ticks % LIST_TICKS == 0) {
        read_list(a);
    }
    map_foreach (it, &a->functions) {
        tick_function(it.value, now_ms, second, up);
    }
    async_answer_waiters(a, NULL);
}

/* --- numbers -------------------------------------------------------------------------------- */

static const struct metric_row rows[] = {
    METRIC_COUNTER(struct async_counters, accepted, "lull_broker_async_accepted_total",
                   "Asynchronous calls that Redis has."),
    METRIC_COUNTER(struct async_counters, repeated, "lull_broker_async_repeated_total",
                   "Asynchronous calls whose Idempotency-Key was known."),
    METRIC_COUNTER(struct async_counters, refused, "lull_broker_async_refused_total",
                   "Asynchronous calls that cannot be taken as they are (4xx)."),
    METRIC_COUNTER(struct async_counters, refused_full, "lull_broker_async_refused_full_total",
                   "Asynchronous calls refused because too many are kept (429)."),
    METRIC_COUNTER(struct async_counters, refused_away, "lull_broker_async_refused_away_total",
                   "Asynchronous calls refused because Redis is away (503)."),
    METRIC_COUNTER(struct async_counters, tries, "lull_broker_async_tries_total",
                   "Times that a function was called for an asynchronous call."),
    METRIC_COUNTER(struct async_counters, retried, "lull_broker_async_retried_total",
                   "Tries after which the call is made again later."),
    METRIC_COUNTER(struct async_counters, done, "lull_broker_async_done_total",
                   "Asynchronous calls that have their result."),
    METRIC_COUNTER(struct async_counters, failed, "lull_broker_async_failed_total",
                   "Asynchronous calls that were given up without an answer."),
    METRIC_COUNTER(struct async_counters, callbacks, "lull_broker_async_callbacks_total",
                   "Results that were called back."),
    METRIC_COUNTER(struct async_counters, callbacks_failed,
                   "lull_broker_async_callbacks_failed_total",
                   "Results that could not be called back."),
    METRIC_COUNTER(struct async_counters, taken_over, "lull_broker_async_taken_over_total",
                   "Calls whose worker did not end them in its lease."),
    METRIC_COUNTER(struct async_counters, late, "lull_broker_async_late_total",
                   "Answers that came after somebody else had taken the call."),
    METRIC_COUNTER(struct async_counters, fetched, "lull_broker_async_fetched_total",
                   "Results that were fetched."),
};

static void write_gauge(const struct async *a, const char *name, const char *help, size_t offset,
                        struct strbuf *out)
{
    metric_write_head(out, "gauge", name, help);
    map_foreach (it, &a->functions) {
        const struct async_function *fn = it.value;
        uint64_t value;
        memcpy(&value, (const char *)fn + offset, sizeof(value));
        if (fn->waiting + fn->running + fn->results > 0) {
            CLEANUP(strbuf_fini) struct strbuf labels;
            strbuf_init(&labels, 4096);
            metric_write_label(&labels, true, "namespace", slice_str(fn->ns));
            metric_write_label(&labels, false, "function", slice_str(fn->name));
            strbuf_appendf(out, "%s{%s} %llu\n", name, labels.ptr, (unsigned long long)value);
        }
    }
}

void async_write_metrics(const struct async *a, struct strbuf *out)
{
    metric_rows_write(rows, ARRAY_LEN(rows), &a->counters, out);
    write_gauge(a, "lull_broker_async_waiting", "Asynchronous calls that wait to be made.",
                offsetof(struct async_function, waiting), out);
    write_gauge(a, "lull_broker_async_running", "Asynchronous calls that are being made.",
                offsetof(struct async_function, running), out);
    write_gauge(a, "lull_broker_async_results", "Results that are kept.",
                offsetof(struct async_function, results), out);
}

/* --- life ----------------------------------------------------------------------------------- */

struct async *async_new(struct worker *w)
{
    struct async *a = NEW(struct async);
    a->worker = w;
    map_init(&a->functions, MAP_BORROW_KEYS);
    list_init(&a->waiters);
    strbuf_init(&a->scratch, SCRATCH_MAX);
    return a;
}

bool async_busy(const struct async *a)
{
    map_foreach (it, &a->functions) {
        if (((struct async_function *)it.value)->n_calls > 0) {
            return true;
        }
    }
    return false;
}

void async_stop(struct async *a)
{
    a->stopping = true;
    map_foreach (it, &a->functions) {
        async_drop_calls(it.value);
    }
}

void async_free(struct async *a)
{
    if (a == NULL) {
        return;
    }
    map_foreach (it, &a->functions) {
        struct async_function *fn = it.value;
        free(fn->ns);
        free(fn->name);
        free(fn);
    }
    map_fini(&a->functions);
    strbuf_fini(&a->scratch);
    free(a);
}
