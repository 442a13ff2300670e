// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A peer per host and port: its address, looked up again now and then, and the pool that goes
 * there. A call waits at its peer until there is a pool, then writes head and body at once. Of the
 * answer status, Retry-After and the headers of an event are kept, and a bounded body.
 *
 * Failure: no address, refused by rule, not connected: an answer of status 0. A kept connection
 * that had ended is no failure: the call is made once more. A body that goes beyond its bound
 * breaks the call off; of an answer that is no 2xx the first bytes are enough.
 */
#include "broker/sender.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/resolve.h"
#include "loop/tls.h"
#include "broker/retry.h"
#include "broker/streams.h"
#include "events/carried.h"

#define PEERS_MAX         16384
#define PEER_CONNECTIONS  4096
#define RESOLVE_AGAIN_MS  30000
#define RESOLVE_FAILED_MS 1000
#define PEER_IDLE_MS      120000
#define CONNECT_MS        5000
#define KEPT_HEAD_MAX     (64u * 1024)
#define OWN_HEADERS       (8 + EVENT_CARRIED_MAX)
#define STRUCTURED_MAX    (32u << 20)
#define RAW_HEADERS_MAX   128

_Static_assert(RAW_HEADERS_MAX >= EVENT_HEADERS_MAX, "room for the headers of every answer");

struct sender_peer {
    struct sender *sender;
    char *key; /* "host:port" */
    char *host;
    uint16_t port;
    bool gateway; /* ours: no rule counts */
    bool outside; /* named by strangers: nothing but public addresses */
    bool tls;
    struct addr addr;
    struct http_pool *pool; /* NULL: no address yet */
    uint64_t resolved_ms;   /* when that was; 0: never */
    struct resolve *resolve;
    struct list waiting; /* struct send */
    struct error trouble;
    uint64_t used_ms;
    unsigned calls; /* that name it: under way, also in a pool that was given up, or waiting */
};

struct retired {
    struct list link;
    struct http_pool *pool;
};

/* --- answers ------------------------------------------------------------------------------- */

static void let_go(struct send *s)
{
    s->peer->calls--;
    s->peer = NULL;
}

static void answer(struct send *s, const struct error *err)
{
    UNINITIALIZED struct event_header headers[RAW_HEADERS_MAX];
    const char *p = s->head.ptr;
    for (size_t i = 0; i < s->n_headers; i++) {
        headers[i].name = slice_str(p);
        p += headers[i].name.len + 1;
        headers[i].value = slice_str(p);
        p += headers[i].value.len + 1;
    }
    struct send_answer a = {
        .status = err == NULL ? s->status : 0,
        .retry_after_ms = s->retry_after_ms,
        .too_big = s->too_big,
        .headers = headers,
        .n_headers = s->n_headers,
        .body = strbuf_slice(&s->body),
        .err = err,
    };
    let_go(s);
    s->cb(s, &a);
}

static bool is_success(int status)
{
    return status >= 200 && status <= 299;
}

static void keep_header(struct send *s, struct slice name, struct slice value)
{
    if (s->n_headers < RAW_HEADERS_MAX && strbuf_append(&s->head, name.ptr, name.len) == 0 &&
        strbuf_append_char(&s->head, 0) == 0 &&
        strbuf_append(&s->head, value.ptr, value.len) == 0 &&
        strbuf_append_char(&s->head, 0) == 0) {
        s->n_headers++;
    }
}

static void on_head(struct http_call *call, const struct http_head *head, void *arg)
{
    struct send *s = arg;
    s->status = head->status;
    if (head->status == 429 || head->status == 503) {
        s->retry_after_ms =
            retry_after_ms(http_head_get(head, SLICE_LIT("retry-after")), clock_wall_ns());
    }
    const struct send_raw *raw = s->message.raw;
    for (size_t i = 0; (raw != NULL || is_success(head->status)) && i < head->n_headers; i++) {
        const struct http_header *h = &head->headers[i];
        if (raw != NULL || h->id == HTTP_H_CONTENT_TYPE || event_carries(h->name) ||
            (h->name.len > 3 && slice_eq_nocase(slice_sub(h->name, 0, 3), SLICE_LIT("ce-")))) {
            keep_header(s, h->name, h->value);
        }
    }
    strbuf_init(&s->body, raw != NULL                ? raw->answer_max
                          : is_success(head->status) ? s->sender->options.reply_max
                                                     : STREAM_ERROR_DATA_MAX);
}

static void on_body(struct http_call *call, struct slice chunk, void *arg)
{
    struct send *s = arg;
    if (s->over) {
        return;
    }
    size_t room = s->body.max - s->body.len;
    if (chunk.len > room) {
        s->over = true;
        s->too_big = is_success(s->status) || s->message.raw != NULL;
        chunk = slice_sub(chunk, 0, s->too_big ? 0 : room);
    }
    strbuf_append_slice(&s->body, chunk);
}

static void on_flush(struct http_call *call, void *arg)
{
    struct send *s = arg;
    if (s->over) {
        http_call_cancel(call);
        answer(s, NULL);
    }
}

static void on_end(struct http_call *call, void *arg)
{
    answer(arg, NULL);
}

static int post(struct send *s, struct error *err);

static void on_fail(struct http_call *call, enum http_stage stage, const struct error *err,
                    void *arg)
{
    struct send *s = arg;
    struct error why = *err;
    struct sender_peer *peer = s->peer;
    if (s->over) {
        answer(s, NULL);
        return;
    }
    if (stage == HTTP_STAGE_NOT_SENT) {
        peer->resolved_ms = 0; /* perhaps the address has changed */
    }
    /* Without a pool its address may not be called any more. */
    bool again = (stage == HTTP_STAGE_UNSEEN || stage == HTTP_STAGE_REUSED) && !s->again &&
                 peer->pool != NULL;
    s->again = true;
    if (again && post(s, &why) == 0) {
        return;
    }
    answer(s, &why);
}

static const struct http_call_events call_events = {.on_head = on_head,
                                                    .on_body = on_body,
                                                    .on_flush = on_flush,
                                                    .on_end = on_end,
                                                    .on_fail = on_fail};

/* --- one POST ------------------------------------------------------------------------------ */

/* Its place in a trace: of the request that brought it, else where the event itself has one. */
static int add_trace(struct http_head *head, const struct event *ev)
{
    static const char *const names[] = {"traceparent", "tracestate"};
    struct slice values[ARRAY_LEN(names)] = {SLICE_EMPTY};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (unsigned j = 0; j < ev->n_carried; j++) {
            if (slice_eq_str(ev->carried[j].name, names[i])) {
                values[i] = ev->carried[j].value;
            }
        }
    }
    if (!http_traceparent_valid(values[0])) {
        const struct event_attr *parent = event_extension(ev, SLICE_LIT("traceparent"));
        const struct event_attr *state = event_extension(ev, SLICE_LIT("tracestate"));
        values[0] = parent == NULL ? SLICE_EMPTY : parent->value;
        values[1] = state == NULL ? SLICE_EMPTY : state->value;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(names) && http_traceparent_valid(values[0]); i++) {
        rc = slice_empty(values[i]) ? 0 : http_head_add(head, slice_str(names[i]), values[i]);
    }
    return rc;
}

/* The headers that go with it. */
static int add_carried(struct http_head *head, const struct event *ev)
{
    int rc = add_trace(head, ev);
    for (unsigned i = 0; rc == 0 && i < ev->n_carried; i++) {
        struct slice name = ev->carried[i].name;
        if (!slice_starts_with(name, SLICE_LIT("trace"))) {
            rc = http_head_add(head, name, ev->carried[i].value);
        }
    }
    return rc;
}

static void head_begin(struct send *s, struct http_head *head, struct http_header *room, size_t cap)
{
    http_head_init(head, room, cap);
    head->version = 11;
    head->target = s->message.target.path;
    head->authority = s->message.target.authority;
}

static int start(struct send *s, const struct http_head *head, struct slice body, struct error *err)
{
    int rc = http_call_start(s->peer->pool, &s->call, head, &call_events, s, err);
    if (rc == 0) {
        if (body.len > 0) {
            (void)http_call_write(&s->call, body);
        }
        http_call_end(&s->call);
    }
    return rc;
}

static int post_raw(struct send *s, const struct send_raw *raw, struct error *err)
{
    UNINITIALIZED struct http_header room[RAW_HEADERS_MAX];
    struct http_head head;
    int rc = 0;
    head_begin(s, &head, room, ARRAY_LEN(room));
    head.method = raw->method;
    head.method_id = http_method_id(raw->method);
    bool none = slice_empty(raw->body) && http_method_idempotent(head.method_id);
    head.body = none ? HTTP_BODY_NONE : HTTP_BODY_LENGTH;
    head.content_length = raw->body.len;
    for (size_t i = 0; rc == 0 && i < raw->n; i++) {
        rc = http_head_add(&head, raw->headers[i].name, raw->headers[i].value);
    }
    return rc < 0 ? error_set(err, ERR_TOO_BIG, "the request has more than %d headers",
                              RAW_HEADERS_MAX)
                  : start(s, &head, raw->body, err);
}

static int post_with(struct send *s, const struct event_header *headers, size_t n,
                     struct slice body, struct error *err)
{
    UNINITIALIZED struct http_header room[EVENT_HEADERS_MAX + OWN_HEADERS];
    struct http_head head;
    head_begin(s, &head, room, ARRAY_LEN(room));
    head.method = SLICE_LIT("POST");
    head.method_id = HTTP_METHOD_POST;
    head.body = HTTP_BODY_LENGTH;
    head.content_length = body.len;
    int rc = http_head_add(&head, SLICE_LIT("Prefer"), SLICE_LIT("reply"));
    rc = rc < 0 ? rc : http_head_add(&head, SLICE_LIT("Kn-Namespace"), slice_str(s->message.ns));
    rc = rc < 0 ? rc
                : http_head_add(&head, SLICE_LIT("User-Agent"), SLICE_LIT("lull/" LULL_VERSION));
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = http_head_add(&head, headers[i].name, headers[i].value);
    }
    rc = rc < 0 ? rc : add_carried(&head, s->message.event);
    if (rc < 0) {
        return error_set(err, ERR_TOO_BIG, "the event has too many attributes for HTTP");
    }
    return start(s, &head, body, err);
}

/* The activator answers it itself. */
static int post_wake(struct send *s, struct error *err)
{
    struct http_header room[4];
    struct http_head head;
    head_begin(s, &head, room, ARRAY_LEN(room));
    head.method = SLICE_LIT("GET");
    head.method_id = HTTP_METHOD_GET;
    head.body = HTTP_BODY_NONE;
    int rc = http_head_add(&head, SLICE_LIT("Lull-Wake"), SLICE_LIT("1"));
    rc = rc < 0 ? rc
                : http_head_add(&head, SLICE_LIT("User-Agent"), SLICE_LIT("lull/" LULL_VERSION));
    REQUIRE(rc == 0);
    return start(s, &head, SLICE_EMPTY, err);
}

/* In binary mode an event whose data is an event would be taken for that one. */
static bool must_be_structured(const struct event *ev)
{
    const struct event_header type = {SLICE_LIT("content-type"), ev->known[EVENT_DATACONTENTTYPE]};
    return event_http_mode(&type, 1) != EVENT_MODE_NONE;
}

static int post(struct send *s, struct error *err)
{
    int rc;
    s->peer->used_ms = loop_now_ms(s->sender->loop);
    if (s->message.wake) {
        return post_wake(s, err);
    }
    if (s->message.raw != NULL) {
        return post_raw(s, s->message.raw, err);
    }
    if (s->message.structured || must_be_structured(s->message.event)) {
        CLEANUP(strbuf_fini) struct strbuf text;
        strbuf_init(&text, STRUCTURED_MAX);
        struct event_header type = {SLICE_LIT("content-type"),
                                    SLICE_LIT(EVENT_TYPE_STRUCTURED "; charset=utf-8")};
        rc = event_http_structured(s->message.event, &text, err);
        return rc < 0 ? rc : post_with(s, &type, 1, strbuf_slice(&text), err);
    }
    UNINITIALIZED struct event_headers headers;
    rc = event_http_binary(s->message.event, &headers, err);
    if (rc == 0) {
        rc = post_with(s, headers.items, headers.n, s->message.event->data, err);
        event_headers_fini(&headers);
    }
    return rc;
}

/* --- peers --------------------------------------------------------------------------------- */

/* Each waiting call goes on or fails; callbacks may start others, which find the new state. */
static void release_waiting(struct sender_peer *peer)
{
    struct list now;
    list_init(&now);
    list_splice_back(&now, &peer->waiting);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;) {
        struct send *s = LIST_ENTRY(node, struct send, link);
        struct error err = peer->trouble;
        if (peer->pool == NULL || post(s, &err) < 0) {
            answer(s, &err);
        }
    }
}

static void on_pool_closed(void *arg)
{
    closer_drop(&((struct sender *)arg)->closer);
}

static void pool_close(struct sender *sender, struct http_pool *pool)
{
    http_pool_close(pool, on_pool_closed, sender);
}

static void retire_pool(struct sender_peer *peer)
{
    if (peer->pool == NULL) {
        return;
    }
    struct retired *r = NEW(struct retired);
    r->pool = peer->pool;
    list_push_back(&peer->sender->retiring, &r->link);
    peer->pool = NULL;
}

static int secure(void *arg, struct stream *stream, struct error *err)
{
    struct sender_peer *peer = arg;
    return tls_secure_client(peer->sender->tls, stream, peer->host, err);
}

static int use_addr(struct sender_peer *peer, const struct addr *addr, struct error *err)
{
    struct sender *s = peer->sender;
    char text[ADDR_TEXT_MAX];
    if (!peer->gateway) {
        int rc = target_check(addr, peer->outside ? 0 : s->options.rules, s->options.own_ports,
                              s->options.n_own, err);
        if (rc < 0) {
            s->refused++;
            retire_pool(peer);
            return rc;
        }
    }
    if (peer->pool != NULL && addr_eq(addr, &peer->addr)) {
        return 0;
    }
    retire_pool(peer);
    if (peer->tls && s->tls == NULL) {
        int rc = tls_client_new(&(struct tls_options){.ca_file = s->options.ca_file}, &s->tls, err);
        if (rc < 0) {
            return rc;
        }
    }
    struct http_pool_options options = http_pool_options_default();
    options.max_connections = PEER_CONNECTIONS;
    options.connect_ms = CONNECT_MS;
    options.max_idle = 256;
    /* An event is written whole, also before the connection is there; base64 makes it larger. */
    options.limits.out_high_bytes += (uint32_t)(2 * s->options.event_max);
    options.secure = peer->tls ? secure : NULL;
    options.secure_data = peer;
    int rc =
        http_pool_new(s->loop, addr_format(addr, text, sizeof(text)), &options, &peer->pool, err);
    if (rc == 0) {
        closer_hold(&s->closer);
        peer->addr = *addr;
    }
    return rc;
}

static void on_resolved(void *arg, const struct addr *addr, const struct error *err)
{
    struct sender_peer *peer = arg;
    peer->resolve = NULL;
    peer->resolved_ms = loop_now_ms(peer->sender->loop);
    if (addr == NULL) {
        peer->trouble = *err;
        /* The address that was good stays; a name server may be away for a while. */
        peer->resolved_ms -= peer->pool == NULL ? RESOLVE_AGAIN_MS - RESOLVE_FAILED_MS : 0;
    } else {
        peer->trouble = (struct error){0};
        int rc = use_addr(peer, addr, &peer->trouble);
        if (rc < 0) {
            peer->resolved_ms -= RESOLVE_AGAIN_MS - RESOLVE_FAILED_MS;
        }
    }
    release_waiting(peer);
}

/* Sees to it that there is a pool, or will be, or trouble says why not. */
static void prepare(struct sender_peer *peer)
{
    struct addr addr;
    uint64_t now_ms = loop_now_ms(peer->sender->loop);
    bool fresh = peer->resolved_ms != 0 && now_ms < peer->resolved_ms + RESOLVE_AGAIN_MS;
    if (fresh || peer->resolve != NULL) {
        return;
    }
    if (peer->gateway || addr_from_ip(slice_str(peer->host), peer->port, &addr, NULL) == 0) {
        if (peer->pool == NULL) {
            peer->trouble = (struct error){0};
            int rc = peer->gateway ? addr_parse(slice_str(peer->host), &addr, &peer->trouble) : 0;
            rc = rc < 0 ? rc : use_addr(peer, &addr, &peer->trouble);
            (void)rc; /* trouble has it */
        }
        peer->resolved_ms = now_ms;
        return;
    }
    int rc = resolve_start(peer->sender->loop, slice_str(peer->host), peer->port, on_resolved, peer,
                           &peer->resolve, &peer->trouble);
    (void)rc; /* as above */
}

static struct sender_peer *find_peer(struct sender *s, const struct send_message *m,
                                     struct error *err)
{
    const struct target *t = &m->target;
    char key[300];
    bool gateway = t->local && s->options.gateway[0] != '\0' && !m->outside;
    bool tls = t->tls && !gateway;
    snprintf(key, sizeof(key), gateway ? "gateway" : "%s%s%.*s:%u", m->outside ? "outside " : "",
             tls ? "tls " : "", SLICE_FMT(t->host), t->port);
    struct sender_peer *peer = map_get(&s->peers, slice_str(key));
    if (peer != NULL) {
        return peer;
    }
    if (map_len(&s->peers) >= PEERS_MAX) {
        error_set(err, ERR_OVERLOAD, "events go to %d hosts already", PEERS_MAX);
        return NULL;
    }
    peer = NEW(struct sender_peer);
    peer->sender = s;
    peer->key = xstrdup(key);
    peer->gateway = gateway;
    peer->outside = m->outside;
    peer->tls = tls;
    peer->host = gateway ? xstrdup(s->options.gateway) : slice_dup(t->host);
    peer->port = t->port;
    list_init(&peer->waiting);
    map_set(&s->peers, slice_str(peer->key), peer);
    return peer;
}

int send_start(struct sender *sender, struct send *s, const struct send_message *message,
               send_cb cb, struct error *err)
{
    struct sender_peer *peer = find_peer(sender, message, err);
    if (peer == NULL) {
        return ERR_OVERLOAD;
    }
    s->sender = sender;
    s->peer = peer;
    s->message = *message;
    s->cb = cb;
    s->status = 0;
    s->retry_after_ms = 0;
    s->too_big = s->again = s->over = false;
    s->n_headers = 0;
    list_init(&s->link);
    strbuf_init(&s->head, KEPT_HEAD_MAX);
    strbuf_init(&s->body, STREAM_ERROR_DATA_MAX);
    peer->used_ms = loop_now_ms(sender->loop);
    peer->calls++;
    prepare(peer);
    if (peer->pool == NULL && peer->resolve != NULL) {
        list_push_back(&peer->waiting, &s->link);
        return 0;
    }
    int rc = peer->pool != NULL ? post(s, err)
                                : error_set(err, peer->trouble.code, "%s", peer->trouble.msg);
    if (rc < 0) {
        let_go(s);
    }
    return rc;
}

void send_cancel(struct send *s)
{
    if (s->peer == NULL) {
        return;
    }
    list_remove(&s->link);
    http_call_cancel(&s->call);
    let_go(s);
}

void send_fini(struct send *s)
{
    strbuf_fini(&s->head);
    strbuf_fini(&s->body);
}

/* --- life ---------------------------------------------------------------------------------- */

void sender_init(struct sender *s, struct loop *loop, const struct sender_options *options)
{
    *s = (struct sender){.loop = loop, .options = *options};
    map_init(&s->peers, MAP_BORROW_KEYS);
    list_init(&s->retiring);
    closer_init(&s->closer);
}

static void close_retired(struct sender *s, bool all)
{
    list_foreach_safe (node, &s->retiring) {
        struct retired *r = LIST_ENTRY(node, struct retired, link);
        if (all || http_pool_active(r->pool) == 0) {
            list_remove(node);
            pool_close(s, r->pool);
            free(r);
        }
    }
}

static void peer_free(struct sender_peer *peer)
{
    map_remove(&peer->sender->peers, slice_str(peer->key));
    if (peer->resolve != NULL) {
        resolve_cancel(peer->resolve);
    }
    if (peer->pool != NULL) {
        pool_close(peer->sender, peer->pool);
    }
    free(peer->key);
    free(peer->host);
    free(peer);
}

void sender_tidy(struct sender *s)
{
    uint64_t now_ms = loop_now_ms(s->loop);
    close_retired(s, false);
    map_foreach (it, &s->peers) {
        struct sender_peer *peer = it.value;
        bool busy = peer->calls > 0 || peer->resolve != NULL ||
                    (peer->pool != NULL && http_pool_active(peer->pool) > 0);
        if (!busy && now_ms > peer->used_ms + PEER_IDLE_MS) {
            peer_free(peer);
        }
    }
}

static void on_closed(void *data)
{
    struct sender *s = data;
    map_fini(&s->peers);
    tls_context_free(s->tls);
    if (s->close_cb != NULL) {
        s->close_cb(s->close_arg);
    }
}

void sender_close(struct sender *s, void (*cb)(void *arg), void *arg)
{
    s->close_cb = cb;
    s->close_arg = arg;
    close_retired(s, true);
    map_foreach (it, &s->peers) {
        peer_free(it.value);
    }
    closer_close(&s->closer, s->loop, on_closed, s);
}
