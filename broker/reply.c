// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the two extensions that a broker sets, then one XADD. Used for what comes in and for
 * replies of subscribers. How much a broker holds is asked now and then, when somebody wants to
 * add.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "broker/model.h"

#define PACKED_MAX    (2u << 20)
#define LENGTH_OLD_MS 200 /* ask again how long the stream is */

static void on_length(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct broker *b = arg;
    b->length = err == NULL ? (uint64_t)redis_reply_int(reply, 0) : b->length;
    broker_unref(b);
}

static void ask_length(struct broker *b)
{
    struct error err;
    uint64_t now_ms = loop_now_ms(b->worker->loop);
    const struct slice args[] = {SLICE_LIT("XLEN"), slice_str(b->events_key)};
    if (now_ms < b->length_ms + LENGTH_OLD_MS && b->length_ms != 0) {
        return;
    }
    b->length_ms = now_ms;
    broker_ref(b);
    if (redis_conn_send(b->worker->in, args, ARRAY_LEN(args), on_length, b, &err) < 0) {
        broker_unref(b);
    }
}

bool broker_is_full(struct broker *b, uint64_t more)
{
    const struct config *c = b->worker->config;
    ask_length(b);
    return b->length >= (uint64_t)(c->events_max + c->events_kept) + more;
}

int64_t event_ttl(const struct event *ev)
{
    const struct event_attr *ttl = event_extension(ev, SLICE_LIT(EXTENSION_TTL));
    int64_t n = TTL_FIRST;
    if (ttl != NULL) {
        struct slice rest = ttl->value;
        n = 0;
        for (size_t i = 0; i < rest.len && rest.ptr[i] >= '0' && rest.ptr[i] <= '9' && n < 1000;
             i++) {
            n = n * 10 + (rest.ptr[i] - '0');
        }
    }
    return n < TTL_FIRST ? n : TTL_FIRST;
}

/* The packed event, unless its id came before. */
static int add_once(struct broker *b, struct redis_conn *conn, struct slice data,
                    const struct broker_once *once, redis_conn_cb cb, void *arg, struct error *err)
{
    char within[24];
    char most[24];
    snprintf(within, sizeof(within), "%lld", (long long)once->within_ms);
    snprintf(most, sizeof(most), "%d", STREAM_ONCE_MAX);
    struct slice args[] = {
        SLICE_LIT("EVAL"),
        slice_str(stream_script_once),
        SLICE_LIT("2"),
        slice_str(b->events_key),
        slice_str(once->key),
        once->id,
        slice_str(within),
        slice_str(most),
        strbuf_slice(&b->worker->packed),
        data,
    };
    return redis_conn_send(conn, args, ARRAY_LEN(args) - (data.ptr == NULL), cb, arg, err);
}

int broker_add(struct broker *b, struct redis_conn *conn, struct event *ev, int64_t ttl,
               const struct broker_once *once, redis_conn_cb cb, void *arg, struct error *err)
{
    struct worker *w = b->worker;
    char now[CLOCK_RFC3339_MAX];
    clock_format_rfc3339(clock_wall_ns(), 9, now, sizeof(now));
    int rc = event_set_i64(ev, SLICE_LIT(EXTENSION_TTL), ttl, err);
    rc = rc < 0 ? rc : event_set(ev, SLICE_LIT(EXTENSION_ARRIVAL), slice_str(now), err);
    if (rc < 0) {
        return rc;
    }
    struct strbuf *packed = &w->packed;
    strbuf_clear(packed);
    event_pack(ev, packed);
    if (!strbuf_ok(packed)) {
        return error_set(err, ERR_TOO_BIG, "the attributes of the event have more than %u bytes",
                         PACKED_MAX);
    }
    if (once != NULL) {
        return add_once(b, conn, ev->data, once, cb, arg, err);
    }
    struct slice args[] = {
        SLICE_LIT("XADD"), slice_str(b->events_key), SLICE_LIT("NOMKSTREAM"), SLICE_LIT("*"),
        SLICE_LIT("e"),    strbuf_slice(packed),     SLICE_LIT("d"),          ev->data,
    };
    size_t n = ARRAY_LEN(args) - (ev->data.ptr == NULL ? 2 : 0);
    return redis_conn_send(conn, args, n, cb, arg, err);
}
