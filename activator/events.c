// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a request becomes a passage. Is lull-broker known, it is forwarded there, streaming both
 * ways; is it not, it waits, and the address is looked for every 100 ms: a name is asked of DNS, a
 * file is read and the supervisor told that somebody waits.
 *
 * Failure modes: nobody there within 30 s, or the supervisor says that it cannot: 503. Refused
 * connections and kept ones that had ended: back to waiting, nothing has happened. Broken off after
 * something was sent: 502, and the sentence says that it may have been taken. An answer that does
 * not come within the longest wait that lull-broker knows: 504.
 */
#include "activator/events.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "loop/notify.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "http/forward.h"
#include "activator/headers.h"
#include "activator/request.h"

#define LOOK_MS         100u
#define TICK_MS         1000u
#define WAIT_MS         30000u  /* for lull-broker to be there */
#define FAILED_MS       3000u   /* the same, when the supervisor has said that it cannot */
#define ANSWER_MS       150000u /* lull-broker answers within 60 s, however long it is asked to */
#define RESOLVE_MS      30000u
#define PASSAGES_MAX    1000u
#define STATE_MAX       4096u
#define STALE_MAX       3
#define HEADER_CALLEE   "Lull-Async-Host"
#define HEADER_ORIGIN   "Lull-Async-Origin"
#define TARGET_MAX      (64u << 10)
#define HTTP_PORT       80
#define RETRY_SOON_S    1
#define RETRY_STARTED_S 5

struct passage {
    struct list link; /* events.waiting or events.running */
    struct events *e;
    struct http_exchange *ex;
    struct http_forward forward;
    uint64_t since_ms;
    uint64_t sent_ms;
    char *callee; /* owned; EVENTS_CALL: the private name of the function */
    uint32_t path_skip;
    uint8_t kind; /* enum events_kind */
    uint8_t listener;
    uint8_t hops;
    uint8_t stale; /* kept connections that had died under it */
};

/* --- which requests ------------------------------------------------------------------------- */

/* "respond-async; x=y" and "respond-async=z" → "respond-async" */
static struct slice preference_name(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ';' || text.ptr[i] == '=') {
            return slice_trim(slice_sub(text, 0, i));
        }
    }
    return slice_trim(text);
}

/* A Prefer header has this preference (RFC 7240). */
static bool prefers(const struct http_head *head, struct slice name)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        struct slice rest = head->headers[i].value;
        struct slice part;
        while (head->headers[i].id == HTTP_H_PREFER && slice_split(&rest, ',', &part)) {
            if (slice_eq_nocase(preference_name(part), name)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_grpc(const struct http_head *head)
{
    const struct http_header *type = http_head_find_id(head, HTTP_H_CONTENT_TYPE);
    return type != NULL && slice_starts_with(type->value, SLICE_LIT("application/grpc"));
}

/* "/_lull/async/ID" for "/_lull/async"; not "/_lull/asynchronous/x". */
static bool is_below(struct slice path, struct slice prefix)
{
    return slice_starts_with(path, prefix) && path.len > prefix.len && path.ptr[prefix.len] == '/';
}

enum events_kind events_kind(const struct http_head *head, const struct route_match *match)
{
    if (match->path_skip > 0) {
        if (is_below(head->target, SLICE_LIT(EVENTS_PATH_ASYNC))) {
            return EVENTS_RESULT;
        }
        if (is_below(head->target, SLICE_LIT(EVENTS_PATH_HOOKS))) {
            return EVENTS_HOOK;
        }
    }
    if (!http_head_may_have(head, HTTP_ID_BIT(HTTP_H_PREFER)) || slice_empty(match->route) ||
        match->async_off || !prefers(head, SLICE_LIT("respond-async")) ||
        prefers(head, SLICE_LIT("respond-sync")) || is_grpc(head)) {
        return EVENTS_NONE;
    }
    return slice_empty(head->upgrade) ? EVENTS_CALL : EVENTS_STREAM;
}

/* --- one passage ---------------------------------------------------------------------------- */

static void look(struct events *e);
static void arm(struct events *e);
static void go(struct passage *p);

static void on_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct passage *p = arg;
    list_remove(&p->link);
    p->e->count--;
    free(p->callee);
    free(p);
}

static const struct http_exchange_events passage_events = {.on_close = on_close};

static void wait_for_it(struct passage *p)
{
    list_remove(&p->link);
    list_push_back(&p->e->waiting, &p->link);
    arm(p->e);
}

static int on_request(struct http_forward *f, const struct http_head *in, struct http_head *out,
                      void *arg)
{
    struct passage *p = arg;
    struct headers_context ctx = {
        .peer = http_exchange_peer(p->ex),
        .tls = http_exchange_is_tls(p->ex),
        .trust_forwarded = p->listener == ROUTE_LOCAL || p->e->config->trust_forwarded,
        .host = in->authority,
        .path_name = slice_sub(in->target, 0, p->path_skip),
        .hops = p->hops,
        .revision = SLICE_EMPTY,
    };
    if (p->kind == EVENTS_CALL) {
        out->target = headers_inner_target(SLICE_LIT(EVENTS_PATH_ASYNC), in->target, p->path_skip,
                                           &p->e->target);
    }
    http_head_remove(out, SLICE_LIT(HEADER_CALLEE));
    http_head_remove(out, SLICE_LIT(HEADER_ORIGIN));
    int rc = headers_to_replica(out, &ctx, &p->e->scratch, NULL);
    if (p->kind == EVENTS_CALL && rc == 0) {
        rc = http_head_add(out, SLICE_LIT(HEADER_CALLEE), slice_str(p->callee));
        rc = rc < 0 ? rc
                    : http_head_add(out, SLICE_LIT(HEADER_ORIGIN),
                                    p->listener == ROUTE_LOCAL ? SLICE_LIT("local")
                                                               : SLICE_LIT("public"));
    }
    return rc;
}

static bool on_response(struct http_forward *f, const struct http_head *in, struct http_head *out,
                        void *arg)
{
    headers_to_client(out);
    return true;
}

static bool may_run_twice(const struct passage *p)
{
    return http_method_idempotent(http_exchange_request(p->ex)->method_id) &&
           p->kind != EVENTS_CALL;
}

/* Nothing was sent, or it is no harm to send it again. */
static bool is_unseen(struct passage *p, const struct http_forward_result *result)
{
    switch (result->stage) {
    case HTTP_STAGE_NOT_SENT:
        return true;
    case HTTP_STAGE_UNSEEN:
        return p->stale++ < STALE_MAX;
    case HTTP_STAGE_REUSED:
        return may_run_twice(p) && p->stale++ < STALE_MAX;
    case HTTP_STAGE_SENT:
    case HTTP_STAGE_ANSWERED:
        break;
    }
    return false;
}

static void on_done(struct http_forward *f, const struct http_forward_result *result, void *arg)
{
    struct passage *p = arg;
    struct events *e = p->e;
    if (result->answered) {
        e->counters.passed += result->outcome == HTTP_OUTCOME_OK ? 1 : 0;
        on_close(NULL, HTTP_CLOSE_DONE, p);
        return;
    }
    http_exchange_listen(p->ex, &passage_events, p);
    if (result->body_intact && is_unseen(p, result)) {
        e->usable = result->stage != HTTP_STAGE_NOT_SENT && e->usable;
        snprintf(e->trouble, sizeof(e->trouble), "%s", result->err.msg);
        http_pool_flush_idle(e->pool);
        wait_for_it(p);
        return;
    }
    LOG_WARN("the event broker broke a request off", LOG_ERR(&result->err));
    e->counters.failed++;
    answer_text(p->ex, 502, 0,
                "the event broker broke the request off: %s\nIt may have been taken all the same; "
                "with an Idempotency-Key it can be sent again without being taken twice.\n",
                result->err.msg);
}

static const struct http_forward_hooks hooks = {
    .on_request = on_request, .on_response = on_response, .on_done = on_done};

static void go(struct passage *p)
{
    struct events *e = p->e;
    struct error err = {0};
    list_remove(&p->link);
    list_push_back(&e->running, &p->link);
    p->sent_ms = loop_now_ms(e->loop);
    int rc = http_forward_start(&p->forward, p->ex, e->pool, &hooks, p, &err);
    if (rc < 0) {
        int status = rc == ERR_TOO_BIG ? 431 : rc == ERR_OVERLOAD ? 503 : 502;
        e->counters.refused++;
        answer_text(p->ex, status, rc == ERR_OVERLOAD ? RETRY_SOON_S : 0,
                    "cannot reach the event broker: %s\n", err.msg);
    }
    arm(e);
}

void events_pass(struct events *e, const struct events_request *rq)
{
    struct http_exchange *ex = rq->ex;
    http_exchange_listen(ex, NULL, NULL);
    if (rq->kind == EVENTS_STREAM) {
        answer_text(ex, 400, 0,
                    "a connection that is upgraded cannot be an asynchronous call: leave \"Prefer: "
                    "respond-async\" out\n");
        return;
    }
    if (!events_on(e)) {
        answer_text(ex, 501, 0,
                    "this installation takes no events and no asynchronous calls: the activator "
                    "was started without --broker\n");
        return;
    }
    if (e->count >= PASSAGES_MAX) {
        e->counters.refused++;
        answer_text(ex, 503, RETRY_SOON_S,
                    "too many requests are on their way to the event broker: try again\n");
        return;
    }
    struct passage *p = NEW(struct passage);
    *p = (struct passage){.e = e,
                          .ex = ex,
                          .since_ms = loop_now_ms(e->loop),
                          .kind = (uint8_t)rq->kind,
                          .listener = (uint8_t)rq->listener,
                          .hops = (uint8_t)rq->hops};
    if (rq->kind == EVENTS_CALL) {
        const struct route_match *m = rq->match;
        p->path_skip = (uint32_t)m->path_skip;
        p->callee =
            xasprintf("%.*s%s%.*s.%.*s.svc.%s", SLICE_FMT(m->tag), slice_empty(m->tag) ? "" : "-",
                      SLICE_FMT(m->route), SLICE_FMT(m->ns), e->config->cluster_domain);
    }
    list_init(&p->link);
    http_exchange_listen(ex, &passage_events, p);
    e->count++;
    look(e);
    if (e->usable) {
        go(p);
    } else {
        wait_for_it(p);
    }
}

/* --- where it is ---------------------------------------------------------------------------- */

static void on_pool_closed(void *arg)
{
    closer_drop(&((struct events *)arg)->closer);
}

/* Kept connections stay while the address does. */
static int use_address(struct events *e, const struct addr *addr, struct error *err)
{
    char text[ADDR_TEXT_MAX];
    if (e->pool == NULL || !addr_eq(addr, &e->addr)) {
        struct http_pool_options options = http_pool_options_default();
        struct http_pool *pool;
        options.max_connections = PASSAGES_MAX;
        int rc =
            http_pool_new(e->loop, addr_format(addr, text, sizeof(text)), &options, &pool, err);
        if (rc < 0) {
            return rc;
        }
        if (e->pool != NULL) {
            http_pool_close(e->pool, on_pool_closed, e);
        }
        closer_hold(&e->closer);
        e->pool = pool;
        e->addr = *addr;
    }
    e->usable = true;
    return 0;
}

/* "http://host:port/" → its parts; a text without a scheme is left alone. */
static int parse_url(struct slice url, struct slice *out_host, uint16_t *out_port,
                     struct error *err)
{
    uint64_t port = HTTP_PORT;
    struct slice rest = slice_sub(url, strlen("http://"), url.len);
    ptrdiff_t slash = slice_find(rest, '/');
    rest = slash < 0 ? rest : slice_sub(rest, 0, (size_t)slash);
    ptrdiff_t colon = slice_rfind(rest, ':');
    if (!slice_starts_with(url, SLICE_LIT("http://")) || slice_empty(rest)) {
        return error_set(err, ERR_INVALID, "\"%.*s\" is no http:// URL", SLICE_FMT(url));
    }
    if (colon >= 0 && slice_find(rest, ']') < colon) {
        int rc = num_parse_u64(slice_sub(rest, (size_t)colon + 1, rest.len), 1, 65535, &port, err);
        if (rc < 0) {
            return error_prefix(err, rc, "port of \"%.*s\"", SLICE_FMT(url));
        }
        rest = slice_sub(rest, 0, (size_t)colon);
    }
    if (slice_starts_with(rest, SLICE_LIT("[")) && slice_ends_with(rest, SLICE_LIT("]"))) {
        rest = slice_sub(rest, 1, rest.len - 2);
    }
    *out_host = rest;
    *out_port = (uint16_t)port;
    return 0;
}

static void on_resolved(void *arg, const struct addr *addr, const struct error *err)
{
    struct events *e = arg;
    struct error trouble = {0};
    e->resolve = NULL;
    if (addr == NULL || use_address(e, addr, &trouble) < 0) {
        snprintf(e->trouble, sizeof(e->trouble), "%s", addr == NULL ? err->msg : trouble.msg);
        e->usable = e->pool != NULL; /* the address that was good; DNS may be away for a while */
    }
    e->resolved_ms = loop_now_ms(e->loop);
}

/* A name; the answer comes with the next look. */
static void look_up(struct events *e)
{
    struct error err;
    bool fresh = e->resolved_ms != 0 && loop_now_ms(e->loop) < e->resolved_ms + RESOLVE_MS;
    if ((fresh && e->usable) || e->resolve != NULL) {
        return;
    }
    if (resolve_start(e->loop, slice_str(e->host), e->port, on_resolved, e, &e->resolve, &err) <
        0) {
        snprintf(e->trouble, sizeof(e->trouble), "%s", err.msg);
    }
}

static void ask_supervisor(struct events *e)
{
    struct error err;
    uint64_t now_ms = loop_now_ms(e->loop);
    if (now_ms < e->asked_ms + (e->failed ? TICK_MS : LOOK_MS) && e->asked_ms != 0) {
        return;
    }
    e->asked_ms = now_ms;
    if (notify_send(NOTIFY_BROKER, &err) < 0) {
        LOG_WARN("cannot ask for the event broker", LOG_ERR(&err));
    }
}

static void read_state(struct events *e)
{
    CLEANUP(strbuf_fini) struct strbuf file;
    CLEANUP(jfree) json_t *state = NULL;
    struct error err = {0};
    struct slice host;
    uint16_t port;
    struct addr addr;
    strbuf_init(&file, STATE_MAX);
    int rc = fs_read_file(e->config->broker_state, STATE_MAX, &file, NULL);
    rc = rc < 0 ? rc : jparse_object(strbuf_slice(&file), STATE_MAX, &state, &err);
    e->failed = rc == 0 && slice_eq_str(jpeek_str(state, "state"), "failed");
    if (rc == 0 && slice_eq_str(jpeek_str(state, "state"), "ready")) {
        rc = parse_url(jpeek_str(state, "url"), &host, &port, &err);
        rc = rc < 0 ? rc : addr_from_ip(host, port, &addr, &err);
        rc = rc < 0 ? rc : use_address(e, &addr, &err);
        snprintf(e->trouble, sizeof(e->trouble), "%s", rc < 0 ? err.msg : "");
        return;
    }
    snprintf(e->trouble, sizeof(e->trouble), "%s",
             e->failed ? jpeek_cstr(state, "message") : "it is being started");
    ask_supervisor(e);
}

/* Sees to it that it is usable, or will be. */
static void look(struct events *e)
{
    if (e->host != NULL) {
        look_up(e);
    } else if (!e->usable && e->config->broker[0] == '\0') {
        read_state(e);
    } else {
        e->usable = true; /* an address that was given */
    }
}

/* --- time ----------------------------------------------------------------------------------- */

static void expire_waiting(struct events *e, uint64_t now_ms)
{
    uint64_t limit_ms = e->failed ? FAILED_MS : WAIT_MS;
    list_foreach_safe (node, &e->waiting) {
        struct passage *p = LIST_ENTRY(node, struct passage, link);
        if (now_ms >= p->since_ms + limit_ms) {
            list_remove(node);
            e->counters.refused++;
            answer_text(p->ex, 503, RETRY_STARTED_S, "the event broker is not there: %s\n",
                        e->trouble);
        }
    }
}

static void expire_running(struct events *e, uint64_t now_ms)
{
    list_foreach_safe (node, &e->running) {
        struct passage *p = LIST_ENTRY(node, struct passage, link);
        if (now_ms < p->sent_ms + ANSWER_MS || !http_forward_running(&p->forward)) {
            continue;
        }
        e->counters.failed++;
        if (http_forward_cancel(&p->forward, SLICE_EMPTY)) {
            on_close(NULL, HTTP_CLOSE_ABORTED, p);
            continue;
        }
        list_remove(node);
        http_exchange_listen(p->ex, &passage_events, p);
        answer_text(p->ex, 504, 0, "the event broker does not answer\n");
    }
}

static void on_timer(struct timer *timer)
{
    struct events *e = timer->data;
    uint64_t now_ms = loop_now_ms(e->loop);
    if (!list_empty(&e->waiting)) {
        struct list now;
        look(e);
        list_init(&now);
        if (e->usable) {
            list_splice_back(&now, &e->waiting);
        }
        for (struct list *node; e->usable && (node = list_first(&now)) != NULL;) {
            go(LIST_ENTRY(node, struct passage, link));
        }
        list_splice_back(&e->waiting, &now);
        expire_waiting(e, now_ms);
    }
    expire_running(e, now_ms);
    arm(e);
}

static void arm(struct events *e)
{
    if (!list_empty(&e->waiting)) {
        if (!timer_active(&e->timer) || e->slow) {
            e->slow = false;
            timer_start(&e->timer, LOOK_MS);
        }
    } else if (!list_empty(&e->running) && !timer_active(&e->timer)) {
        e->slow = true;
        timer_start(&e->timer, TICK_MS);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

bool events_on(const struct events *e)
{
    return e->config->broker[0] != '\0' || e->config->broker_state[0] != '\0';
}

void events_init(struct events *e, struct loop *loop, const struct config *config)
{
    *e = (struct events){.loop = loop, .config = config};
    list_init(&e->waiting);
    list_init(&e->running);
    timer_init(&e->timer, loop, on_timer, e);
    strbuf_init(&e->scratch, TARGET_MAX);
    strbuf_init(&e->target, TARGET_MAX + sizeof(EVENTS_PATH_ASYNC));
    closer_init(&e->closer);
    closer_hold(&e->closer); /* the timer */
}

int events_start(struct events *e, struct error *err)
{
    struct slice text = slice_str(e->config->broker);
    struct slice host;
    struct addr addr;
    if (slice_empty(text)) {
        return 0;
    }
    if (slice_find(text, '/') > 0 && !slice_starts_with(text, SLICE_LIT("unix:"))) {
        int rc = parse_url(text, &host, &e->port, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--broker");
        }
        if (addr_from_ip(host, e->port, &addr, NULL) < 0) {
            e->host = slice_dup(host);
            return 0;
        }
    } else {
        int rc = addr_parse(text, &addr, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--broker");
        }
    }
    int rc = use_address(e, &addr, err);
    return rc < 0 ? error_prefix(err, rc, "--broker") : 0;
}

static void on_timer_closed(struct timer *timer)
{
    closer_drop(&((struct events *)timer->data)->closer);
}

static void on_closed(void *data)
{
    struct events *e = data;
    strbuf_fini(&e->scratch);
    strbuf_fini(&e->target);
    free(e->host);
    e->closed(e->closed_arg);
}

void events_close(struct events *e, void (*cb)(void *arg), void *arg)
{
    REQUIRE(e->count == 0);
    e->closed = cb;
    e->closed_arg = arg;
    if (e->resolve != NULL) {
        resolve_cancel(e->resolve);
    }
    if (e->pool != NULL) {
        http_pool_close(e->pool, on_pool_closed, e);
    }
    timer_close(&e->timer, on_timer_closed);
    (void)closer_close(&e->closer, e->loop, on_closed, e);
}
