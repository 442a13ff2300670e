// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a ring that grows by doubling; the held ones are a table that is taken whole when it is
 * told, because whoever is told may send more.
 */
#include "redis/waiters.h"

#include <stdlib.h>

#include "base/mem.h"

#define KEEP_HELD 1024 /* a larger table is given back */

void waiters_fini(struct waiters *w)
{
    REQUIRE(w->count == 0 && w->n_held == 0);
    free(w->ring);
    free(w->held);
    *w = (struct waiters){0};
}

void waiters_push(struct waiters *w, redis_conn_cb cb, void *arg, uint64_t now_ms)
{
    if (w->count == w->ring_size) {
        size_t size = w->ring_size == 0 ? 64 : w->ring_size * 2;
        struct waiter *ring = xcalloc(size, sizeof(*ring));
        for (size_t i = 0; i < w->count; i++) {
            ring[i] = w->ring[(w->first + i) & (w->ring_size - 1)];
        }
        free(w->ring);
        w->ring = ring;
        w->ring_size = size;
        w->first = 0;
    }
    w->ring[(w->first + w->count) & (w->ring_size - 1)] =
        (struct waiter){.cb = cb, .arg = arg, .sent_ms = now_ms};
    w->count++;
}

struct waiter waiters_pop(struct waiters *w)
{
    struct waiter who = w->ring[w->first];
    w->first = (w->first + 1) & (w->ring_size - 1);
    w->count--;
    return who;
}

uint64_t waiters_oldest_ms(const struct waiters *w)
{
    return w->ring[w->first].sent_ms;
}

void waiters_hold(struct waiters *w, struct waiter who, struct redisReply *reply,
                  const struct error *err)
{
    if (w->n_held == w->held_size) {
        w->held_size = w->held_size == 0 ? 64 : w->held_size * 2;
        w->held = xreallocarray(w->held, w->held_size, sizeof(*w->held));
    }
    struct error *copy = NULL;
    if (err != NULL) {
        copy = NEW(struct error);
        *copy = *err;
    }
    w->held[w->n_held++] =
        (struct held_answer){.cb = who.cb, .arg = who.arg, .reply = reply, .err = copy};
}

void waiters_release(struct waiters *w, const struct error *failure)
{
    struct held_answer *held = w->held;
    size_t n = w->n_held;
    size_t size = w->held_size;
    w->held = NULL;
    w->n_held = w->held_size = 0;
    for (size_t i = 0; i < n; i++) {
        const struct error *err = held[i].err != NULL ? held[i].err : failure;
        if (held[i].cb != NULL) {
            held[i].cb(held[i].arg, err == NULL ? held[i].reply : NULL, err);
        }
        redis_reply_free(held[i].reply);
        free(held[i].err);
    }
    if (w->held == NULL && size <= KEEP_HELD) {
        w->held = held;
        w->held_size = size;
    } else {
        free(held);
    }
}

void waiters_fail(struct waiters *w, const struct error *err)
{
    waiters_release(w, err);
    /* Only those that wait now: a callback may not send, the connection is down. */
    for (size_t n = w->count; n > 0; n--) {
        struct waiter who = waiters_pop(w);
        if (who.cb != NULL) {
            who.cb(who.arg, NULL, err);
        }
    }
}
