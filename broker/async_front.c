// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Below /_lull/async: with the header Lull-Async-Host a call, which is answered 202 when
 * Redis has it and not before; without it GET, HEAD and DELETE of a result by its id. Who says
 * `Prefer: wait=N` is answered when there is a result, or after N seconds (bounded).
 *
 * Refusals: 400, 403 (a callback that may not be called), 405, 413, 414, 422 (an Idempotency-Key
 * that another call has), 429 too many are kept, 503 Redis is not there. 404 and 410 for results.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/sha256.h"
#include "http/simple.h"
#include "redis/command.h"
#include "broker/async.h"

#define WAIT_MAX_S   60u
#define CALLBACK_MAX 1024u
#define PACKED_MAX   (128u << 10)
#define COMMAND_MAX  (20u << 20)
#define IDEM_LIFE    "as long as its call or result is kept"

/* --- Prefer --------------------------------------------------------------------------------- */

/* Seconds of "wait=N"; 0: none. */
static unsigned wait_of(const struct http_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        struct slice rest = head->headers[i].value;
        struct slice part, name;
        while (head->headers[i].id == HTTP_H_PREFER && slice_split(&rest, ',', &part)) {
            uint64_t n = 0;
            bool is_wait = slice_split(&part, '=', &name) &&
                           slice_eq_nocase(slice_trim(name), SLICE_LIT("wait")) &&
                           num_parse_u64(slice_trim(part), 0, UINT32_MAX, &n, NULL) == 0;
            if (is_wait) {
                return n > WAIT_MAX_S ? WAIT_MAX_S : (unsigned)n;
            }
        }
    }
    return 0;
}

/* The preferences that are the function's: all but those that this is about. */
static void add_preferences(struct strbuf *out, struct slice value)
{
    struct slice part;
    while (slice_split(&value, ',', &part)) {
        struct slice rest = part;
        struct slice name;
        (void)slice_split(&rest, '=', &name);
        name = slice_trim(name);
        if (!slice_empty(name) && !slice_starts_with(name, SLICE_LIT("respond-")) &&
            !slice_eq_nocase(name, SLICE_LIT("wait"))) {
            strbuf_append_str(out, ", ");
            strbuf_append_slice(out, slice_trim(part));
        }
    }
}

/* --- taking a call -------------------------------------------------------------------------- */

struct arrival {
    struct async_function *fn;
    struct http_simple_request *rq; /* NULL: the client has gone */
    size_t bytes;
    unsigned wait_s;
    char id[ASYNC_ID_LEN + 1];
};

static void on_client_gone(struct http_simple_request *rq, void *data)
{
    ((struct arrival *)data)->rq = NULL;
}

static void taken(struct arrival *at, struct slice id)
{
    struct http_simple_request *rq = at->rq;
    if (rq == NULL) {
        return;
    }
    struct async *a = at->fn->async;
    if (at->wait_s > 0) {
        async_wait(a, rq, id, at->wait_s, true);
        return;
    }
    async_respond_taken(rq, id);
}

static void on_added(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct arrival *at = arg;
    struct async *a = at->fn->async;
    struct worker *w = a->worker;
    struct error why = {0};
    w->in_bytes -= at->bytes;
    if (at->rq != NULL) {
        at->rq->on_close = NULL;
        at->rq->data = NULL;
    }
    switch (err != NULL ? 0 : redis_reply_int(redis_reply_at(reply, 0), 0)) {
    case 1:
        a->counters.accepted++;
        taken(at, slice_str(at->id));
        async_claim(at->fn);
        break;
    case 2:
        a->counters.repeated++;
        taken(at, redis_reply_text(redis_reply_at(reply, 1)));
        break;
    case 3:
        error_set(&why, ERR_CONFLICT,
                  "another call of this function has this Idempotency-Key, with another method, "
                  "path, type or body; a key is remembered " IDEM_LIFE);
        break;
    case 4:
        error_set(&why, ERR_OVERLOAD,
                  "%lld asynchronous calls of this function are kept already, results included "
                  "(--async-max-calls)",
                  (long long)redis_reply_int(redis_reply_at(reply, 1), 0));
        break;
    default:
        w->counters.redis_errors++;
        async_redis_trouble(&why, err == NULL ? &(struct error){.code = ERR_UNAVAILABLE} : err);
        break;
    }
    if (why.code != ERR_OK && at->rq != NULL) {
        async_refuse(a, at->rq, &why);
    }
    free(at);
}

/* What is known of a call from its request. */
struct wish {
    struct slice callee;
    struct slice name;
    struct slice ns;
    struct slice target;
    struct slice origin;
    struct slice callback;
    struct slice idem;
    char print[SHA256_HEX + 1]; /* of what an Idempotency-Key stands for */
};

static bool is_ours(const struct http_header *h)
{
    static const char *const names[] = {"lull-async-host",    "lull-async-origin",
                                        "lull-callback",      "lull-async-id",
                                        "lull-async-attempt", "k-original-host",
                                        "k-proxy-request",    "expect",
                                        "content-length",     "host"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_nocase(h->name, slice_str(names[i]))) {
            return true;
        }
    }
    return false;
}

/* The headers as the function gets them. `respond-sync` makes the activator pass it on. */
static void pack_request(const struct http_head *head, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf prefer;
    strbuf_init(&prefer, PACKED_MAX);
    strbuf_append_str(&prefer, "respond-sync");
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http_header *h = &head->headers[i];
        if (h->id == HTTP_H_PREFER) {
            add_preferences(&prefer, h->value);
        } else if (!is_ours(h)) {
            async_headers_add(out, h->name, h->value);
        }
    }
    async_headers_add(out, SLICE_LIT("Prefer"), strbuf_slice(&prefer));
}

static int check_callback(const struct worker *w, const struct wish *wish, struct error *err)
{
    struct target t;
    struct addr addr;
    bool outside = !slice_eq_str(wish->origin, "local");
    if (slice_empty(wish->callback)) {
        return 0;
    }
    int rc = wish->callback.len > CALLBACK_MAX
                 ? error_set(err, ERR_INVALID, "the URL has more than %u bytes", CALLBACK_MAX)
                 : target_parse(wish->callback, &t, err);
    if (rc == 0 && outside && t.local) {
        rc = error_set(err, ERR_DENIED,
                       "a call that came from outside cannot be called back inside the cluster");
    }
    if (rc == 0 && addr_from_ip(t.host, t.port, &addr, NULL) == 0) {
        rc = target_check(&addr, outside ? 0 : w->sender.options.rules, w->own_ports,
                          w->n_own_ports, err);
    }
    return rc < 0 ? error_prefix(err, rc, "Lull-Callback") : 0;
}

static int read_wish(const struct worker *w, const struct http_simple_request *rq, struct wish *out,
                     struct error *err)
{
    const struct http_head *head = rq->head;
    struct target unused;
    *out = (struct wish){
        .callee = http_head_get(head, SLICE_LIT("lull-async-host")),
        .origin = http_head_get(head, SLICE_LIT("lull-async-origin")),
        .callback = slice_trim(http_head_get(head, SLICE_LIT("lull-callback"))),
        .idem = slice_trim(http_head_get(head, SLICE_LIT("idempotency-key"))),
        .target = slice_sub(head->target, strlen(ASYNC_PATH) - 1, head->target.len),
    };
    int rc = async_callee(out->callee, &out->name, &out->ns, err);
    CLEANUP(cleanup_free)
    char *url = xasprintf("http://%.*s%.*s", SLICE_FMT(out->callee), SLICE_FMT(out->target));
    rc = rc < 0 ? rc : target_parse(slice_str(url), &unused, err);
    if (rc == 0 && rq->body.len > w->config->async_body_max) {
        rc = error_set(err, ERR_TOO_BIG,
                       "the body has %zu bytes, an asynchronous call may have %llu "
                       "(--async-max-body)",
                       rq->body.len, (unsigned long long)w->config->async_body_max);
    }
    if (rc == 0 && out->idem.len > ASYNC_IDEM_KEY_MAX) {
        rc = error_set(err, ERR_INVALID, "the Idempotency-Key has more than %d bytes",
                       ASYNC_IDEM_KEY_MAX);
    }
    if (rc == 0 && head->method_id == HTTP_METHOD_CONNECT) {
        rc = error_set(err, ERR_INVALID, "CONNECT cannot be an asynchronous call");
    }
    rc = rc < 0 ? rc : check_callback(w, out, err);
    if (rc == 0 && !slice_empty(out->idem)) {
        unsigned char digest[SHA256_BYTES];
        const struct slice parts[] = {head->method,
                                      SLICE_LIT("\n"),
                                      out->target,
                                      SLICE_LIT("\n"),
                                      http_head_get(head, SLICE_LIT("content-type")),
                                      SLICE_LIT("\n"),
                                      rq->body};
        sha256(parts, ARRAY_LEN(parts), digest);
        sha256_hex(digest, out->print);
    }
    return rc;
}

static void add_field(struct strbuf *out, const char *name, struct slice value)
{
    redis_command_arg(out, slice_str(name));
    redis_command_arg(out, value);
}

static int send_add(struct arrival *at, const struct wish *wish, struct slice packed,
                    struct error *err)
{
    struct async_function *fn = at->fn;
    struct worker *w = fn->async->worker;
    struct slice tag = slice_str(fn->tag);
    char call_key[ASYNC_KEY_MAX];
    char idem_key[ASYNC_KEY_MAX];
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, COMMAND_MAX);
    redis_command_begin(&out, 11 + 2 * 7);
    redis_command_arg(&out, SLICE_LIT("EVAL"));
    redis_command_arg(&out, slice_str(async_script_add));
    redis_command_arg(&out, SLICE_LIT("5"));
    redis_command_arg(&out, slice_str(fn->waiting_key));
    redis_command_arg(&out, slice_str(fn->running_key));
    redis_command_arg(&out, slice_str(fn->results_key));
    redis_command_arg(&out, slice_str(async_call_key(slice_str(at->id), call_key)));
    redis_command_arg(&out, slice_str(async_idem_key(tag, wish->callee, wish->idem, idem_key)));
    redis_command_arg(&out, slice_str(at->id));
    redis_command_arg(&out, slice_str(wish->print));
    redis_command_u64(&out, (uint64_t)w->config->async_calls_max);
    add_field(&out, "h", wish->callee);
    add_field(&out, "m", at->rq->head->method);
    add_field(&out, "u", wish->target);
    add_field(&out, "H", packed);
    add_field(&out, "b", at->rq->body);
    add_field(&out, "B", wish->callback);
    add_field(&out, "o", wish->origin);
    return redis_conn_send_made(w->in, strbuf_slice(&out), on_added, at, err);
}

static int check_room(const struct worker *w, size_t bytes, struct error *err)
{
    if (w->stopping) {
        return error_set(err, ERR_UNAVAILABLE, "shutting down");
    }
    if (!redis_conn_is_up(w->in)) {
        return error_set(err, ERR_UNAVAILABLE, "redis is not reachable: %s",
                         redis_conn_trouble(w->in));
    }
    if (w->in_bytes + bytes > w->config->memory_bytes_max) {
        return error_set(err, ERR_UNAVAILABLE, "too many calls are on their way");
    }
    return 0;
}

static void take(struct async *a, struct http_simple_request *rq)
{
    struct worker *w = a->worker;
    struct error err = {0};
    struct wish wish;
    char tag[ASYNC_TAG_LEN + 1];
    CLEANUP(strbuf_fini) struct strbuf packed;
    strbuf_init(&packed, PACKED_MAX);
    int rc = read_wish(w, rq, &wish, &err);
    rc = rc < 0 ? rc : check_room(w, rq->body.len, &err);
    if (rc == 0 && map_len(&a->functions) >= ASYNC_FUNCTIONS_MAX &&
        async_function_of(a, slice_str(async_tag(wish.ns, wish.name, tag))) == NULL) {
        rc = error_set(&err, ERR_OVERLOAD, "%u functions are called asynchronously already",
                       ASYNC_FUNCTIONS_MAX);
    }
    if (rc < 0) {
        async_refuse(a, rq, &err);
        return;
    }
    struct async_function *fn =
        async_function(a, slice_str(async_tag(wish.ns, wish.name, tag)), wish.ns, wish.name);
    struct arrival *at = NEW(struct arrival);
    *at = (struct arrival){.fn = fn, .rq = rq, .bytes = rq->body.len, .wait_s = wait_of(rq->head)};
    async_id_make(tag, clock_wall_ns() / (int64_t)CLOCK_NS_PER_S, at->id);
    pack_request(rq->head, &packed);
    rc = async_function_used(fn, &err);
    rc = rc < 0 ? rc : send_add(at, &wish, strbuf_slice(&packed), &err);
    if (rc < 0) {
        error_set(&err, ERR_UNAVAILABLE, "too many calls are on their way, or redis has gone");
        async_refuse(a, rq, &err);
        free(at);
        return;
    }
    w->in_bytes += at->bytes;
    rq->data = at;
    rq->on_close = on_client_gone;
}

/* --- deleting ------------------------------------------------------------------------------- */

struct removal {
    struct async *async;
    struct http_simple_request *rq; /* NULL: gone */
};

static void on_remover_gone(struct http_simple_request *rq, void *data)
{
    ((struct removal *)data)->rq = NULL;
}

static void on_dropped(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct removal *r = arg;
    struct http_simple_request *rq = r->rq;
    struct error trouble;
    if (rq != NULL) {
        rq->on_close = NULL;
        if (err != NULL) {
            async_redis_trouble(&trouble, err);
            async_refuse(r->async, rq, &trouble);
        } else if (redis_reply_int(reply, 0) == 0) {
            async_respond_text(rq, 404, NULL, "no call has this id: nothing to delete\n");
        } else {
            http_simple_respond(rq, 204, NULL, SLICE_EMPTY);
        }
    }
    free(r);
}

static void drop(struct async *a, struct http_simple_request *rq, struct slice id)
{
    struct error err;
    char keys[4][ASYNC_KEY_MAX];
    const struct slice args[] = {SLICE_LIT("EVAL"),
                                 slice_str(async_script_drop),
                                 SLICE_LIT("4"),
                                 slice_str(async_key(id, "waiting", keys[0])),
                                 slice_str(async_key(id, "running", keys[1])),
                                 slice_str(async_key(id, "results", keys[2])),
                                 slice_str(async_call_key(id, keys[3])),
                                 id};
    struct removal *r = NEW(struct removal);
    *r = (struct removal){.async = a, .rq = rq};
    rq->data = r;
    rq->on_close = on_remover_gone;
    if (redis_conn_send(a->worker->db, args, ARRAY_LEN(args), on_dropped, r, &err) < 0) {
        on_dropped(r, NULL, &err);
    }
}

/* --- requests ------------------------------------------------------------------------------- */

void async_handle(struct worker *w, struct http_simple_request *rq)
{
    struct async *a = w->async;
    struct slice id = slice_sub(rq->path, strlen(ASYNC_PATH), rq->path.len);
    if (!slice_starts_with(rq->path, SLICE_LIT(ASYNC_PATH))) {
        async_respond_text(rq, 404, NULL,
                           "results of asynchronous calls are at " ASYNC_PATH "ID\n");
    } else if (http_head_find(rq->head, SLICE_LIT("lull-async-host")) != NULL) {
        take(a, rq);
    } else if (!async_id_valid(id)) {
        async_respond_text(rq, 404, NULL, "this is not the id of an asynchronous call\n");
    } else if (rq->head->method_id == HTTP_METHOD_DELETE) {
        drop(a, rq, id);
    } else if (rq->head->method_id == HTTP_METHOD_GET || rq->head->method_id == HTTP_METHOD_HEAD) {
        async_wait(a, rq, id, wait_of(rq->head), false);
    } else {
        async_respond_text(rq, 405, NULL,
                           "a result can be fetched (GET, HEAD) and deleted (DELETE)\n");
    }
}
