// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who waits for an answer of one connection, in the order of the commands; and answers that came
 * and are not told yet, because WAIT has not said that replicas have what they acknowledge.
 */

#include "redis/conn.h"

struct waiter {
    redis_conn_cb cb;
    void *arg;
    uint64_t sent_ms;
};

struct held_answer {
    redis_conn_cb cb;
    void *arg;
    struct redisReply *reply; /* owned; NULL: err */
    struct error *err;        /* owned */
};

struct waiters {
    struct waiter *ring;
    size_t ring_size; /* a power of two */
    size_t first;
    size_t count;
    struct held_answer *held;
    size_t n_held;
    size_t held_size;
};

void waiters_fini(struct waiters *w);
void waiters_push(struct waiters *w, redis_conn_cb cb, void *arg, uint64_t now_ms);
/* There is one. */
struct waiter waiters_pop(struct waiters *w);
/* When the oldest was sent; there is one. */
uint64_t waiters_oldest_ms(const struct waiters *w);
/* Keeps an answer for later. reply (may be NULL) is taken over, err is copied. */
void waiters_hold(struct waiters *w, struct waiter who, struct redisReply *reply,
                  const struct error *err);
/* Tells all that are held now; failure (may be NULL) instead of what was held as good. */
void waiters_release(struct waiters *w, const struct error *failure);
/* Tells all that wait or are held now. */
void waiters_fail(struct waiters *w, const struct error *err);
