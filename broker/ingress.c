// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. POST /NAMESPACE/BROKER: the message becomes one event or several, each is sent to Redis
 * with XADD; commands of one turn leave together, so Redis writes (and syncs) them together. The
 * answer is 202 when Redis has answered all of them, and only then.
 *
 * Refusals: 400 no event, 404 no such broker, 405, 413, 415; 429 the broker is full; 503 Redis or
 * the API is not there, or too much is on its way. The last two say when to come again. A client
 * that goes away changes nothing: what was sent stays.
 */
#include "broker/ingress.h"

#include <stdlib.h>

#include "base/mem.h"
#include "broker/async.h"
#include "broker/sources.h"
#include "events/event_http.h"

#define HEADERS_MAX     HTTP_MAX_HEADERS
#define CONNECTIONS_MAX 10000
#define AWAY_S          "2"
#define FULL_S          "5"

struct arrival {
    struct worker *worker;
    struct broker *broker;          /* a count */
    struct http_simple_request *rq; /* NULL: the client has gone */
    size_t bytes;
    size_t due; /* answers of Redis */
    size_t events;
    bool answering; /* all were sent */
    struct error err;
};

/* --- answers ------------------------------------------------------------------------------- */

static void answer_head(struct http_simple_request *rq, int status, const char *retry_after,
                        const char *allow, const char *text)
{
    struct http_header room[4];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = status;
    int rc = http_head_add(&head, SLICE_LIT("Content-Type"), SLICE_LIT("text/plain"));
    if (rc == 0 && retry_after != NULL) {
        rc = http_head_add(&head, SLICE_LIT("Retry-After"), slice_str(retry_after));
    }
    if (rc == 0 && allow != NULL) {
        rc = http_head_add(&head, SLICE_LIT("Allow"), slice_str(allow));
    }
    REQUIRE(rc == 0);
    http_simple_respond_head(rq, &head, slice_str(text));
}

/* The web hook handshake: anybody may send, as fast as they like. */
static void answer_handshake(struct http_simple_request *rq)
{
    struct http_header room[4];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = 200;
    int rc = http_head_add(&head, SLICE_LIT("Allow"), SLICE_LIT("POST, OPTIONS"));
    rc = rc < 0 ? rc : http_head_add(&head, SLICE_LIT("WebHook-Allowed-Origin"), SLICE_LIT("*"));
    rc = rc < 0 ? rc : http_head_add(&head, SLICE_LIT("WebHook-Allowed-Rate"), SLICE_LIT("*"));
    REQUIRE(rc == 0);
    http_simple_respond_head(rq, &head, SLICE_EMPTY);
}

void ingress_refuse(struct worker *w, struct http_simple_request *rq, const struct error *err)
{
    CLEANUP(cleanup_free) char *text = xasprintf("%s\n", err->msg);
    struct counters *c = &w->counters;
    bool full = err->code == ERR_OVERLOAD;
    bool wrong = err->code == ERR_INVALID || err->code == ERR_TOO_BIG ||
                 err->code == ERR_UNSUPPORTED || err->code == ERR_NOT_FOUND ||
                 err->code == ERR_UNAUTHORIZED;
    int status = full                           ? 429
                 : err->code == ERR_UNSUPPORTED ? 415
                 : wrong                        ? error_http_status((int)err->code)
                                                : 503;
    uint64_t *count = full ? &c->refused_full : wrong ? &c->refused_invalid : &c->refused_away;
    (*count)++;
    answer_head(rq, status, full ? FULL_S : wrong ? NULL : AWAY_S, NULL, text);
}

void ingress_refuse_method(struct worker *w, struct http_simple_request *rq, const char *allow)
{
    CLEANUP(cleanup_free) char *text = xasprintf("only %s is answered here\n", allow);
    w->counters.refused_invalid++;
    answer_head(rq, 405, NULL, allow, text);
}

/* --- events on their way to Redis ---------------------------------------------------------- */

static void finish(struct arrival *a)
{
    struct worker *w = a->worker;
    struct http_simple_request *rq = a->rq;
    w->in_bytes -= a->bytes;
    if (rq != NULL) {
        rq->on_close = NULL;
        if (a->err.code != ERR_OK) {
            ingress_refuse(w, rq, &a->err);
        } else {
            http_simple_respond(rq, 202, NULL, SLICE_EMPTY);
        }
    }
    broker_unref(a->broker);
    free(a);
}

static void on_added(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct arrival *a = arg;
    struct broker *b = a->broker;
    if (err != NULL) {
        if (a->err.code == ERR_OK) {
            a->err = *err;
        }
        a->worker->counters.redis_errors++;
        /* OOM: Redis is full; the rest: it is not there. */
        a->err.code = err->code == ERR_OVERLOAD ? ERR_OVERLOAD : ERR_UNAVAILABLE;
    } else if (redis_reply_is_nil(reply)) {
        error_set(&a->err, ERR_UNAVAILABLE, "the broker's stream is being made");
        upkeep_broker(b);
    } else if (!redis_reply_is_text(reply)) {
        a->worker->counters.repeated++;
    } else {
        a->worker->counters.accepted++;
        b->accepted++;
        b->length++;
        b->reading.more = true;
        b->touched = true;
        broker_dispatch(b);
    }
    if (--a->due == 0 && a->answering) {
        finish(a);
    }
}

/* The time to live with which it goes on; 0: it has none left. */
static int64_t ttl_for(const struct event *ev)
{
    const struct event_attr *ttl = event_extension(ev, SLICE_LIT(EXTENSION_TTL));
    return ttl == NULL ? TTL_FIRST : event_ttl(ev) - 1;
}

/* Whether it can be taken at all: of a batch all or none. */
static int check_event(const struct worker *w, const struct event *ev, struct error *err)
{
    if (ttl_for(ev) <= 0) {
        return error_set(err, ERR_INVALID,
                         "the event has been through brokers too often (" EXTENSION_TTL ")");
    }
    if (ev->data.len > w->config->event_bytes_max) {
        return error_set(err, ERR_TOO_BIG,
                         "the event has %zu bytes of data, at most %llu are taken", ev->data.len,
                         (unsigned long long)w->config->event_bytes_max);
    }
    return 0;
}

static int add_event(struct arrival *a, struct event *ev, const struct broker_once *once,
                     struct error *err)
{
    int rc = broker_add(a->broker, a->worker->in, ev, ttl_for(ev), once, on_added, a, err);
    if (rc == ERR_OVERLOAD) {
        rc = error_set(err, ERR_UNAVAILABLE, "too many events are on their way");
    }
    a->due += rc == 0;
    return rc;
}

/* Whether there is room for so many more. */
static int check_room(struct broker *b, size_t bytes, struct error *err)
{
    struct worker *w = b->worker;
    if (!redis_conn_is_up(w->in)) {
        return error_set(err, ERR_UNAVAILABLE, "redis is not reachable: %s",
                         redis_conn_trouble(w->in));
    }
    if (w->in_bytes + bytes > w->config->memory_bytes_max) {
        return error_set(err, ERR_UNAVAILABLE, "too many events are on their way");
    }
    if (broker_is_full(b, 0)) {
        return error_set(err, ERR_OVERLOAD, "the broker %s is full: it holds %llu events", b->path,
                         (unsigned long long)b->length);
    }
    return 0;
}

static void on_client_gone(struct http_simple_request *rq, void *data)
{
    ((struct arrival *)data)->rq = NULL;
}

static struct arrival *begin(struct broker *b, struct http_simple_request *rq)
{
    struct arrival *a = NEW(struct arrival);
    a->worker = b->worker;
    a->broker = b;
    broker_ref(b);
    a->rq = rq;
    a->bytes = rq->body.len;
    a->worker->in_bytes += a->bytes;
    rq->data = a;
    rq->on_close = on_client_gone;
    return a;
}

static void all_sent(struct arrival *a)
{
    a->answering = true;
    if (a->due == 0) {
        finish(a); /* an empty batch, or the first could not be sent */
    }
}

static void take(struct broker *b, struct http_simple_request *rq)
{
    struct worker *w = b->worker;
    UNINITIALIZED struct event_header headers[HEADERS_MAX];
    struct event_batch batch = {0};
    struct error err = {0};
    for (size_t i = 0; i < rq->head->n_headers && i < HEADERS_MAX; i++) {
        headers[i] = (struct event_header){rq->head->headers[i].name, rq->head->headers[i].value};
    }
    int rc = check_room(b, rq->body.len, &err);
    rc = rc < 0 ? rc : event_http_read(headers, rq->head->n_headers, rq->body, &batch, &err);
    for (size_t i = 0; rc == 0 && i < batch.len; i++) {
        rc = check_event(w, &batch.items[i], &err);
    }
    if (rc < 0) {
        event_batch_fini(&batch);
        ingress_refuse(w, rq, &err);
        return;
    }
    struct arrival *a = begin(b, rq);
    for (size_t i = 0; i < batch.len && a->err.code == ERR_OK; i++) {
        rc = add_event(a, &batch.items[i], NULL, &a->err);
    }
    event_batch_fini(&batch);
    all_sent(a);
}

void ingress_put(struct broker *b, struct http_simple_request *rq, struct event *ev,
                 const struct broker_once *once)
{
    struct error err = {0};
    int rc = check_room(b, rq->body.len, &err);
    rc = rc < 0 ? rc : check_event(b->worker, ev, &err);
    if (rc < 0) {
        ingress_refuse(b->worker, rq, &err);
        return;
    }
    struct arrival *a = begin(b, rq);
    rc = add_event(a, ev, once, &a->err);
    (void)rc; /* err has it */
    all_sent(a);
}

/* --- requests ------------------------------------------------------------------------------ */

static void answer_nothing_here(struct worker *w, struct http_simple_request *rq)
{
    http_simple_respondf(rq, 404, "nothing is at %.*s\n", SLICE_FMT(slice_sub(rq->path, 0, 256)));
}

/* Paths that are no broker's: the first row whose prefix fits answers. */
static const struct {
    struct slice prefix;
    void (*handle)(struct worker *w, struct http_simple_request *rq);
} others[] = {
    {SLICE_LIT(SOURCES_HOOKS), sources_hook},
    {SLICE_LIT("/_lull/async"), async_handle},
    {SLICE_LIT("/_lull/"), answer_nothing_here},
};

static bool is_other(struct worker *w, struct http_simple_request *rq)
{
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (slice_starts_with(rq->path, others[i].prefix)) {
            others[i].handle(w, rq);
            return true;
        }
    }
    return false;
}

static void handle(struct http_simple_request *rq, void *arg)
{
    struct worker *w = arg;
    struct slice path = slice_sub(rq->path, 1, rq->path.len);
    struct error err = {0};
    ptrdiff_t slash = slice_find(path, '/');
    if (is_other(w, rq)) {
        return;
    }
    if (slice_empty(path)) {
        error_set(&err, ERR_NOT_FOUND, "POST events to /NAMESPACE/BROKER");
    } else if (slash <= 0 || (size_t)slash + 1 == path.len ||
               slice_find(slice_sub(path, (size_t)slash + 1, path.len), '/') >= 0) {
        error_set(&err, ERR_INVALID, "the path must be /NAMESPACE/BROKER");
    } else if (rq->head->method_id == HTTP_METHOD_OPTIONS) {
        answer_handshake(rq);
        return;
    } else if (rq->head->method_id != HTTP_METHOD_POST) {
        ingress_refuse_method(w, rq, "POST, OPTIONS");
        return;
    } else if (!w->synced) {
        error_set(&err, ERR_UNAVAILABLE, "the list of brokers is not loaded yet");
    } else if (w->stopping) {
        error_set(&err, ERR_UNAVAILABLE, "shutting down");
    } else {
        struct broker *b = worker_broker(w, path);
        if (b != NULL) {
            take(b, rq);
            return;
        }
        error_set(&err, ERR_NOT_FOUND, "there is no broker %.*s", SLICE_FMT(path));
    }
    ingress_refuse(w, rq, &err);
}

int ingress_start(struct worker *w, struct error *err)
{
    struct http_simple_options options = http_simple_options_default(handle, w);
    options.limits.max_body_bytes = w->config->body_bytes_max;
    options.limits.max_connections = CONNECTIONS_MAX;
    options.limits.max_head_bytes = 64 * 1024; /* attributes are headers */
    options.limits.max_headers = HEADERS_MAX;
    w->front = http_simple_new(w->loop, &options);
    return http_server_listen_list(http_simple_server(w->front), w->config->listen, err);
}
