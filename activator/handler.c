// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: on_request routes and admits; handler_pump does what the throttler says: forward what was
 * granted, answer what has expired, poke for what has no replica, and sets the timer for the next
 * look.
 *
 * Failure modes are answers: 404 unknown, 503 with a reason and Retry-After, 508 loop; see
 * activator/answer.c.
 */
#include "activator/handler.h"

#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "activator/announce.h"
#include "activator/front.h"
#include "activator/headers.h"
#include "activator/log.h"
#include "activator/overdue.h"
#include "activator/redirect.h"
#include "activator/request.h"
#include "activator/sharing.h"
#include "activator/upstream.h"

#define POOL_IDLE_MAX      1024u /* per replica; unused ones close after seconds */
#define HELD_REQUEST_BYTES 2048u /* what holding one costs beside its head and body */
#define HEADER_BYTES       64u   /* estimate per header */
#define LOOK_AGAIN_NS      (5 * CLOCK_NS_PER_MS) /* after a change; the throttler then says when */
#define TICK_MAX_NS        CLOCK_NS_PER_S
#define TICK_MIN_NS        CLOCK_NS_PER_MS
#define FDS_OF_OURS        256u /* API, autoscaler, admin port, probes, idle connections */
#define FDS_LEAST          64u  /* in flight at once, however few there are */
#define RELEASES_PER_TURN  256u /* held requests that leave in one go; then others have a turn */

static void arm(struct handler *h, uint64_t due_ns);

/* What the request costs while it is held, roughly. */
static uint32_t held_bytes(const struct handler *h, const struct http_head *head)
{
    uint64_t body = 0;
    if (head->body == HTTP_BODY_STREAM || head->body == HTTP_BODY_LENGTH) {
        body = http_limits_default().hold_body_bytes;
        body = head->has_length && head->content_length < body ? head->content_length : body;
    }
    return (uint32_t)(HELD_REQUEST_BYTES + head->n_headers * HEADER_BYTES + head->target.len +
                      body);
}

/* Each request in flight takes a descriptor beside its client's; some are kept for ourselves. */
static void set_room(struct handler *h)
{
    size_t taken = FDS_OF_OURS + h->events.count;
    for (int i = 0; i < 2; i++) {
        taken += http_server_connections(h->servers[i]);
    }
    h->throttler.max_in_flight =
        h->fd_limit > taken + FDS_LEAST ? (uint32_t)(h->fd_limit - taken) : FDS_LEAST;
    if (h->sharing != NULL) { /* what others run costs us none */
        h->throttler.max_in_flight += h->sharing->lender.lent;
    }
}

static void admit(struct request *rq, struct revision *r)
{
    struct handler *h = rq->h;
    set_room(h);
    const struct http_head *head = http_exchange_request(rq->ex);
    uint64_t now = loop_now_ns(h->loop);
    numbers_begin(&h->throttler.numbers, r);
    log_revision(h, rq->ex, r);
    if (h->sharing != NULL && r->concurrency > 0) {
        borrower_place(&h->sharing->borrower, r, now);
    }
    switch (throttler_admit(&h->throttler, r, &rq->ticket, held_bytes(h, head), now)) {
    case ADMIT_GRANTED:
        request_forward(rq);
        return;
    case ADMIT_HELD:
        rq->was_held = true;
        h->counters.held++;
        handler_pump(h);
        return;
    case ADMIT_REVISION_FULL:
        h->counters.refused_full++;
        request_count(rq, r, 503);
        answer_text(rq->ex, 503, revision_retry_after_s(r, now),
                    "pending request queue full\n%u requests are waiting for %s already\n", r->held,
                    r->key);
        return;
    case ADMIT_TOTAL_FULL:
        h->counters.refused_full++;
        request_count(rq, r, 503);
        answer_text(rq->ex, 503, revision_retry_after_s(r, now),
                    "pending request queue full\n%u requests are waiting here in all\n",
                    h->throttler.held_count);
        return;
    }
}

/* Knative-Serving-Tag, where that counts. */
static struct slice tag_of(const struct handler *h, const struct http_head *head)
{
    const struct http_header *tag =
        h->routes.tag_header ? http_head_find(head, SLICE_LIT("Knative-Serving-Tag")) : NULL;
    return tag == NULL ? SLICE_EMPTY : tag->value;
}

/* The revision of a match: looked up by name once, until any revision goes. */
static struct revision *revision_of(struct handler *h, const struct route_match *match)
{
    struct route_memo *memo = match->memo;
    if (memo->epoch != h->throttler.epoch) {
        memo->value = throttler_revision(&h->throttler, match->ns, match->revision, true);
        memo->epoch = h->throttler.epoch;
    }
    return memo->value;
}

/* A trusted proxy says that its client spoke TLS. */
static bool proxy_had_tls(const struct handler *h, const struct http_head *head)
{
    const struct http_header *proto = http_head_find_id(head, HTTP_H_X_FORWARDED_PROTO);
    return h->config->trust_forwarded && proto != NULL &&
           slice_eq_nocase(slice_trim(proto->value), SLICE_LIT("https"));
}

/* Whether the client was sent on to HTTPS: as the Route or config-network says, where its host has
 * a certificate. */
static bool redirected(struct handler *h, struct http_exchange *ex, enum route_listener listener,
                       const struct route_match *match)
{
    if (h->front == NULL) {
        return false;
    }
    const struct http_head *head = http_exchange_request(ex);
    struct redirect_question q = {
        .local = listener == ROUTE_LOCAL,
        .secure = http_exchange_is_tls(ex) || proxy_had_tls(h, head),
        .by_default = h->front->network.redirects,
        .protocol = (enum http_protocol)match->http_protocol,
        .target = head->target,
    };
    if (!redirect_wanted(&q) || !front_covers(h->front, head->authority)) {
        return false;
    }
    h->counters.redirected++;
    answer_redirect(ex, h->front->network.external_tls_port);
    return true;
}

/* Whether lull-broker answers it instead of a function. */
static bool for_broker(struct request *rq, const struct route_match *match)
{
    struct handler *h = rq->h;
    struct events_request to = {
        .ex = rq->ex,
        .kind = events_kind(http_exchange_request(rq->ex), match),
        .listener = (enum route_listener)rq->listener,
        .hops = rq->hops,
        .match = match,
    };
    if (to.kind == EVENTS_NONE || (to.kind == EVENTS_CALL && !events_on(&h->events))) {
        return false; /* who cannot comply with a preference ignores it (RFC 7240, 2) */
    }
    request_free(rq);
    events_pass(&h->events, &to);
    return true;
}

static void route(struct handler *h, struct http_exchange *ex, enum route_listener listener)
{
    const struct http_head *head = http_exchange_request(ex);
    h->counters.requests++;
    struct request *rq = request_new(h, ex, listener);
    if (answer_probe(h, ex)) {
        return;
    }
    rq->hops = (uint8_t)headers_hops(head);
    if (rq->hops >= HEADER_HOPS_MAX) {
        answer_text(ex, 508, 0, "this request went through %d functions: is it going in circles?\n",
                    HEADER_HOPS_MAX);
        return;
    }
    struct route_request wanted = {.listener = listener,
                                   .host = head->authority,
                                   .path = head->target,
                                   .tag = tag_of(h, head)};
    struct route_match match;
    enum route_result result = route_table_match(&h->routes, &wanted, &match);
    if (result != ROUTE_UNKNOWN && redirected(h, ex, listener, &match)) {
        return;
    }
    if ((match.path_skip > 0 || http_head_may_have(head, HTTP_ID_BIT(HTTP_H_PREFER))) &&
        for_broker(rq, &match)) {
        return;
    }
    switch (result) {
    case ROUTE_UNKNOWN:
        answer_unknown(rq, head->authority, head->target);
        return;
    case ROUTE_NO_TARGET:
        answer_text(ex, 503, 2, "%.*s/%.*s has no revision yet that may take requests\n",
                    SLICE_FMT(match.ns), SLICE_FMT(match.route));
        return;
    case ROUTE_FOUND:
        rq->path_skip = (uint32_t)match.path_skip;
        rq->wake = listener == ROUTE_LOCAL && http_head_find_id(head, HTTP_H_LULL_WAKE) != NULL;
        admit(rq, revision_of(h, &match));
        return;
    }
}

static void on_public_request(struct http_exchange *ex, void *arg)
{
    route(arg, ex, ROUTE_PUBLIC);
}

static void on_local_request(struct http_exchange *ex, void *arg)
{
    struct handler *h = arg;
    if (!announce_takes(h->announce, ex)) {
        route(h, ex, ROUTE_LOCAL);
    }
}

/* --- pump ----------------------------------------------------------------------------------- */

static struct request *request_of(struct ticket *tk)
{
    return CONTAINER_OF(tk, struct request, ticket);
}

static void poke(struct handler *h, const struct revision *r)
{
    h->counters.pokes++;
    if (h->poke != NULL) {
        h->poke(h->poke_arg, r);
    }
}

void handler_pump(struct handler *h)
{
    struct throttler *t = &h->throttler;
    if (throttler_idle(t) && (h->sharing == NULL || sharing_idle(h->sharing))) {
        return;
    }
    uint64_t now = loop_now_ns(h->loop);
    set_room(h);
    if (h->sharing != NULL) {
        sharing_pump(h->sharing, now);
    }
    struct ticket *tk = NULL;
    unsigned budget = RELEASES_PER_TURN;
    while (budget-- > 0 && (tk = throttler_next(t, now)) != NULL) {
        if (tk->kind == TICKET_SLOT) {
            lender_granted(&h->sharing->lender, tk);
        } else {
            request_forward(request_of(tk));
        }
    }
    enum expiry why;
    while ((tk = throttler_expired(t, now, &why)) != NULL) {
        if (tk->kind == TICKET_SLOT) {
            lender_expired(&h->sharing->lender, tk);
            continue;
        }
        if (h->sharing != NULL) {
            borrower_cancel(&h->sharing->borrower, tk);
        }
        h->counters.expired += why == EXPIRY_PUSHED ? 0 : 1;
        h->counters.pushed_out += why == EXPIRY_PUSHED ? 1 : 0;
        request_count(request_of(tk), tk->revision, 503);
        answer_expired(request_of(tk), tk->revision, why);
    }
    const struct revision *r;
    while ((r = throttler_next_poke(t, now)) != NULL) {
        poke(h, r);
    }
    struct replica *p;
    while ((p = throttler_next_probe(t, now)) != NULL) {
        upstream_probe(h, p);
    }
    if (!throttler_idle(t)) {
        arm(h, now + LOOK_AGAIN_NS);
    }
}

static void on_timer(struct timer *timer)
{
    struct handler *h = timer->data;
    uint64_t now = loop_now_ns(h->loop);
    h->due_ns = UINT64_MAX;
    uint64_t due = throttler_tick(&h->throttler, now);
    if (h->sharing != NULL) {
        uint64_t parked = borrower_tick(&h->sharing->borrower, now);
        due = parked < due ? parked : due;
    }
    handler_pump(h);
    if (!throttler_idle(&h->throttler)) {
        arm(h, due);
    }
}

/* Look again at due_ns, or earlier. */
static void arm(struct handler *h, uint64_t due_ns)
{
    uint64_t now = loop_now_ns(h->loop);
    uint64_t least = now + TICK_MIN_NS;
    uint64_t most = now + TICK_MAX_NS;
    due_ns = due_ns < least ? least : due_ns > most ? most : due_ns;
    if (due_ns < h->due_ns) {
        h->due_ns = due_ns;
        timer_start(&h->timer, (due_ns - now + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

/* The throttler lets a replica go. */
static void on_replica_release(void *ctx, struct replica *p)
{
    upstream_release(ctx, p);
}

/* How many descriptors we may have: as many as the system allows without asking anybody. */
static size_t descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit more = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        limit = setrlimit(RLIMIT_NOFILE, &more) == 0 ? more : limit;
    }
    return limit.rlim_cur > INT32_MAX ? INT32_MAX : (size_t)limit.rlim_cur;
}

void handler_init(struct handler *h, const struct handler_options *o)
{
    const struct config *c = o->config;
    *h = (struct handler){.loop = o->loop,
                          .config = c,
                          .poke = o->poke,
                          .poke_arg = o->poke_arg,
                          .fd_limit = descriptor_limit(),
                          .due_ns = UINT64_MAX};
    struct throttler_limits limits = {
        .max_held_per_revision = (uint32_t)c->max_held_per_revision,
        .max_held = (uint32_t)c->max_held,
        .max_held_bytes_per_revision = c->max_held_bytes_per_revision,
        .max_held_bytes = c->max_held_bytes,
        .hold_ms = c->hold_ms,
        .fail_grace_ms = c->fail_grace_ms,
    };
    route_table_init(&h->routes, c->cluster_domain);
    throttler_init(&h->throttler, &limits, random_u64());
    h->throttler.numbers.max = (uint32_t)c->metrics_revisions;
    throttler_set_release(&h->throttler, on_replica_release, h);
    h->pool_options = http_pool_options_default();
    h->pool_options.max_idle = POOL_IDLE_MAX;
    timer_init(&h->timer, h->loop, on_timer, h);
    overdue_init(h);
    events_init(&h->events, h->loop, c);
    list_init(&h->spare);
    strbuf_init(&h->scratch, 64 * 1024);
    strbuf_init(&h->target, 64 * 1024);
    closer_init(&h->closer);
    closer_hold(&h->closer); /* the timer */
    closer_hold(&h->closer); /* the clock of overdue.c */
    closer_hold(&h->closer); /* events */
    struct http_limits of_clients = http_limits_default();
    of_clients.idle_ms = (uint32_t)c->client_idle_ms;
    of_clients.head_ms = (uint32_t)c->client_head_ms;
    of_clients.body_ms = (uint32_t)c->client_body_ms;
    of_clients.write_ms = (uint32_t)c->client_write_ms;
    for (int i = 0; i < 2; i++) {
        struct http_server_options so = {
            .limits = of_clients,
            .h2c = o->config->h2c,
            .on_request = i == ROUTE_PUBLIC ? on_public_request : on_local_request,
            .on_over = c->request_log ? log_request : NULL,
            .arg = h,
        };
        h->servers[i] = http_server_new(h->loop, &so);
        h->servers_open++;
        closer_hold(&h->closer);
    }
}

/* The same requests as in the clear, so the same server. */
static int listen_tls(struct handler *h, int inherited, struct error *err)
{
    const char *addr = h->config->tls_listen;
    if (h->front == NULL) {
        return 0;
    }
    struct listen_options lo = {.inherited = inherited >= 0,
                                .fd = inherited,
                                .secure = tls_secure,
                                .secure_data = front_context(h->front)};
    int rc = http_server_listen_text(h->servers[ROUTE_PUBLIC], addr, &lo, err);
    return rc < 0 ? error_prefix(err, rc, "listen with TLS on %s", addr) : 0;
}

int handler_listen(struct handler *h, const int inherited[PORT_COUNT], struct error *err)
{
    const char *addrs[2] = {h->config->public_listen, h->config->local_listen};
    for (int i = 0; i < 2; i++) {
        struct listen_options lo = {.inherited = inherited[i] >= 0, .fd = inherited[i]};
        int rc = http_server_listen_text(h->servers[i], addrs[i], &lo, err);
        if (rc < 0) {
            return error_prefix(err, rc, "listen on %s", addrs[i]);
        }
    }
    return listen_tls(h, inherited[PORT_TLS], err);
}

uint16_t handler_port(const struct handler *h, enum route_listener listener)
{
    return http_server_port(h->servers[listener]);
}

void handler_learned(struct handler *h, struct revision *r)
{
    if (h->sharing != NULL) {
        borrower_place(&h->sharing->borrower, r, loop_now_ns(h->loop));
    }
}

static void on_drained(void *arg)
{
    struct handler *h = arg;
    if (++h->drains == 2 && h->drained != NULL) {
        h->drained(h->drained_arg);
    }
}

void handler_drain(struct handler *h, void (*cb)(void *arg), void *arg)
{
    h->draining = true;
    h->drained = cb;
    h->drained_arg = arg;
    for (int i = 0; i < 2; i++) {
        http_server_drain(h->servers[i], on_drained, h);
    }
}

static void on_all_closed(void *arg)
{
    struct handler *h = arg;
    struct list *node;
    while ((node = list_pop_front(&h->spare)) != NULL) {
        free(LIST_ENTRY(node, struct request, link));
    }
    strbuf_fini(&h->scratch);
    strbuf_fini(&h->target);
    route_table_fini(&h->routes);
    h->closed(h->closed_arg);
}

static void on_timer_closed(struct timer *timer)
{
    struct handler *h = timer->data;
    closer_drop(&h->closer);
}

static void on_events_closed(void *arg)
{
    closer_drop(arg);
}

/* When both servers are closed no request is left: the replicas' pools go now. */
static void on_server_closed(void *arg)
{
    struct handler *h = arg;
    if (--h->servers_open == 0) {
        throttler_fini(&h->throttler);
        events_close(&h->events, on_events_closed, &h->closer);
        log_stop(h);
    }
    closer_drop(&h->closer);
}

void handler_close(struct handler *h, void (*cb)(void *arg), void *arg)
{
    h->draining = true;
    h->drained = NULL;
    h->closed = cb;
    h->closed_arg = arg;
    timer_close(&h->timer, on_timer_closed);
    overdue_close(h, on_timer_closed);
    for (int i = 0; i < 2; i++) {
        http_server_close(h->servers[i], on_server_closed, h);
    }
    (void)closer_close(&h->closer, h->loop, on_all_closed, h);
}
