// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a question is a request that waits for Redis. Whoever goes away first, the client or
 * Redis, the rest goes on without it; the last one frees it. Errors become a status and a sentence.
 */
#include "broker/query.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jparse.h"
#include "broker/outlet.h"
#include "events/event_http.h"

#define PARAM_MAX 16384
#define NS_PER_MS 1000000
#define JSON_TYPE "application/json"
#define TIME_MAX  9000000000000ull /* ms; what is beyond has no date */

/* --- life ---------------------------------------------------------------------------------- */

static void on_gone(struct http_simple_request *rq, void *data)
{
    struct query *q = data;
    q->rq = NULL;
    query_let_go(q);
}

struct query *query_new(struct http_simple_request *rq, struct worker *w, size_t size)
{
    struct query *q = xcalloc(1, size);
    q->worker = w;
    q->rq = rq;
    strbuf_init(&q->out, QUERY_ANSWER_MAX);
    rq->data = q;
    rq->on_close = on_gone;
    return q;
}

void query_let_go(struct query *q)
{
    if (q->rq != NULL || q->asked > 0) {
        return;
    }
    if (q->fini != NULL) {
        q->fini(q);
    }
    if (q->trigger != NULL) {
        trigger_unref(q->trigger);
    }
    if (q->broker != NULL) {
        broker_unref(q->broker);
    }
    strbuf_fini(&q->out);
    free(q);
}

void query_answered(struct query *q)
{
    q->asked--;
}

static int status_of(const struct error *err)
{
    bool ours = err->code == ERR_NOT_FOUND || err->code == ERR_INVALID ||
                err->code == ERR_OVERLOAD || err->code == ERR_TOO_BIG;
    return ours ? error_http_status((int)err->code) : 503;
}

void query_answer(struct query *q, const struct error *err)
{
    struct http_simple_request *rq = q->rq;
    if (rq != NULL) {
        q->rq = NULL;
        rq->on_close = NULL;
        if (err != NULL) {
            http_simple_respondf(rq, status_of(err), "%s\n", err->msg);
        } else if (!strbuf_ok(&q->out)) {
            http_simple_respondf(rq, 500, "the answer is too long, ask for less\n");
        } else {
            http_simple_respond(rq, 200, JSON_TYPE, strbuf_slice(&q->out));
        }
    }
    query_let_go(q);
}

/* --- parameters ---------------------------------------------------------------------------- */

struct slice query_param(const struct query *q, const char *name, struct strbuf *out)
{
    strbuf_init(out, PARAM_MAX);
    return http_query_get(q->rq->query, name, out) ? strbuf_slice(out) : SLICE_EMPTY;
}

int query_id(const struct query *q, const char *name, const char * or,
             char out[static PAYLOAD_ID_MAX], struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf room;
    struct slice text = query_param(q, name, &room);
    uint64_t ms;
    bool good = stream_id_valid(text) || num_parse_u64(text, 0, UINT64_MAX, &ms, NULL) == 0;
    if (slice_empty(text)) {
        text = slice_str(or);
        good = true;
    }
    if (!good || !slice_copy(text, out, PAYLOAD_ID_MAX)) {
        return error_set(err, ERR_INVALID, "%s must be an id like 1700000000000-0, is \"%.60s\"",
                         name, room.ptr);
    }
    return 0;
}

int query_count(const struct query *q, const char *name, uint64_t or, uint64_t max, uint64_t *out,
                struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf room;
    struct slice text = query_param(q, name, &room);
    *out = or ;
    if (slice_empty(text)) {
        return 0;
    }
    int rc = num_parse_u64(text, 0, max, out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", name) : 0;
}

static int check_synced(const struct query *q, struct error *err)
{
    return q->worker->synced ? 0
                             : error_set(err, ERR_UNAVAILABLE,
                                         "the lists of brokers and triggers are not loaded");
}

static int find_path(const struct query *q, const char *name, struct strbuf *path,
                     struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf ns;
    CLEANUP(strbuf_fini) struct strbuf room;
    struct slice text = query_param(q, "namespace", &ns);
    struct slice what = query_param(q, name, &room);
    strbuf_init(path, 2 * PARAM_MAX + 1);
    if (slice_empty(text) || slice_empty(what)) {
        return error_set(err, ERR_INVALID, "the parameters namespace and %s are needed", name);
    }
    if (slice_find(text, '/') >= 0 || slice_find(what, '/') >= 0) {
        return error_set(err, ERR_INVALID, "a / cannot stand in namespace or %s", name);
    }
    strbuf_appendf(path, "%.*s/%.*s", SLICE_FMT(text), SLICE_FMT(what));
    return check_synced(q, err);
}

static void take_trigger(struct query *q, struct trigger *t)
{
    trigger_ref(t);
    broker_ref(t->broker);
    q->trigger = t;
    q->broker = t->broker;
}

int query_find_trigger(struct query *q, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;
    int rc = find_path(q, "trigger", &path, err);
    if (rc < 0) {
        return rc;
    }
    struct trigger *t = map_get(&q->worker->triggers, strbuf_slice(&path));
    if (t == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no trigger %s of ours", path.ptr);
    }
    take_trigger(q, t);
    return 0;
}

int query_find_dead(struct query *q, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf source;
    CLEANUP(strbuf_fini) struct strbuf ns;
    CLEANUP(strbuf_fini) struct strbuf path;
    strbuf_init(&path, 2 * PARAM_MAX + 1);
    struct slice name = query_param(q, "source", &source), kind;
    struct slice text = query_param(q, "namespace", &ns);
    if (slice_empty(name)) {
        return query_find_trigger(q, err);
    }
    if (!slice_split(&name, '/', &kind) || slice_empty(name) || slice_empty(text) ||
        slice_find(name, '/') >= 0 || slice_find(text, '/') >= 0) {
        return error_set(err, ERR_INVALID, "namespace and source (as KIND/NAME) are needed");
    }
    strbuf_appendf(&path, OUTLET_ROOT "%.*s/%.*s/%.*s", SLICE_FMT(kind), SLICE_FMT(text),
                   SLICE_FMT(name));
    int rc = check_synced(q, err);
    if (rc < 0) {
        return rc;
    }
    struct trigger *t = map_get(&q->worker->triggers, strbuf_slice(&path));
    if (t == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no source %s of ours in namespace %.*s",
                         source.ptr, SLICE_FMT(text));
    }
    take_trigger(q, t);
    return 0;
}

int query_find_broker(struct query *q, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;
    int rc = find_path(q, "broker", &path, err);
    if (rc < 0) {
        return rc;
    }
    q->broker = worker_broker(q->worker, strbuf_slice(&path));
    if (q->broker == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no broker %s of ours", path.ptr);
    }
    broker_ref(q->broker);
    return 0;
}

int query_filter(const struct query *q, struct filter **out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf room;
    CLEANUP(jfree) json_t *filters = NULL;
    CLEANUP(jfree) json_t *spec = NULL;
    struct slice text = query_param(q, "filters", &room);
    *out = NULL;
    if (slice_empty(text)) {
        return 0;
    }
    int rc = jparse(text, PARAM_MAX, &filters, err);
    if (rc == 0) {
        spec = json_pack("{s:O}", "filters", filters);
        rc = filter_compile(spec, out, err);
    }
    return rc < 0 ? error_prefix(err, rc, "filters") : 0;
}

/* --- Redis --------------------------------------------------------------------------------- */

int query_eval(struct query *q, const char *script, const char *const *keys, size_t n_keys,
               const struct slice *args, size_t n_args, redis_conn_cb cb, struct error *err)
{
    char n[24];
    size_t count = 0;
    struct slice *all = xcalloc(3 + n_keys + n_args, sizeof(*all));
    snprintf(n, sizeof(n), "%zu", n_keys);
    all[count++] = SLICE_LIT("EVAL");
    all[count++] = slice_str(script);
    all[count++] = slice_str(n);
    for (size_t i = 0; i < n_keys; i++) {
        all[count++] = slice_str(keys[i]);
    }
    for (size_t i = 0; i < n_args; i++) {
        all[count++] = args[i];
    }
    int rc = redis_conn_send(q->worker->db, all, count, cb, q, err);
    free(all);
    if (rc == 0) {
        q->asked++;
    }
    return rc < 0 ? error_prefix(err, rc, "redis") : 0;
}

/* --- events -------------------------------------------------------------------------------- */

int query_read_event(const struct redisReply *entry, struct query_event *out, struct error *err)
{
    struct slice packed = redis_reply_text(redis_reply_at(entry, 1));
    struct slice data = redis_reply_text(redis_reply_at(entry, 5));
    *out = (struct query_event){
        .id = redis_reply_text(redis_reply_at(entry, 0)),
        .why = redis_reply_text(redis_reply_at(entry, 2)),
        .only = redis_reply_text(redis_reply_at(entry, 3)),
        .stuck = !slice_empty(redis_reply_text(redis_reply_at(entry, 6))),
        .data_bytes = redis_reply_int(redis_reply_at(entry, 4), -1),
    };
    out->whole = out->data_bytes < 0 || (size_t)out->data_bytes == data.len;
    if (out->data_bytes < 0 || !out->whole) {
        data = (struct slice){0};
    }
    return event_unpack(packed, data, &out->event, err);
}

void query_event_fini(struct query_event *ev)
{
    event_fini(&ev->event);
}

void query_put_time(struct slice id, struct strbuf *out)
{
    char text[CLOCK_RFC3339_MAX];
    uint64_t ms;
    if (num_parse_u64(stream_id_ms(id), 0, TIME_MAX, &ms, NULL) < 0) {
        strbuf_append_str(out, "null");
        return;
    }
    clock_format_rfc3339((int64_t)ms * NS_PER_MS, 3, text, sizeof(text));
    strbuf_appendf(out, "\"%s\"", text);
}

/* The trigger's name; its UID when it is none of these. */
static struct slice trigger_name(const struct broker *b, struct slice uid)
{
    list_foreach (node, &b->triggers) {
        const struct trigger *t = LIST_ENTRY(node, struct trigger, link);
        if (slice_eq_str(uid, t->uid)) {
            return slice_str(t->name);
        }
    }
    return uid;
}

int query_put_event(const struct broker *b, const struct query_event *ev, struct strbuf *out,
                    struct error *err)
{
    strbuf_appendf(out, "\"id\": \"%.*s\", \"time\": ", SLICE_FMT(ev->id));
    query_put_time(ev->id, out);
    strbuf_appendf(out, ", \"dataBytes\": %lld, ",
                   ev->data_bytes < 0 ? 0 : (long long)ev->data_bytes);
    if (!slice_empty(ev->only)) {
        strbuf_append_str(out, "\"only\": ");
        (void)strbuf_append_json(out, trigger_name(b, ev->only));
        strbuf_append_str(out, ", ");
    }
    strbuf_append_str(out, "\"event\": ");
    return event_http_structured(&ev->event, out, err);
}
