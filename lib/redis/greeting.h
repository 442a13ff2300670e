// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a new connection says first, one command after the other, and what it makes of the answers:
 * who we are, which database, whether Redis has loaded its disk; and, where it is to keep what must
 * not be lost, whether it may be trusted with that: a master, of version 7, that evicts nothing, is
 * one server, and lets us do what we need. Pure.
 */

#include "base/strbuf.h"
#include "redis/address.h"
#include "redis/conn.h"

struct redis_greeting {
    const struct redis_address *address;
    const char *client_name; /* NULL: none */
    bool store;
    const char *const *needs;
    size_t n_needs;
    void (*warn)(void *arg, const char *text);
    void *arg;
    /* private */
    size_t step;
    bool clustered;
};

/* Appends the next command; false: there is none, the greeting is over. */
bool redis_greeting_next(struct redis_greeting *g, struct strbuf *out);
/* Its answer; exactly one of reply and failure is NULL. An error ends the connection. */
MUST_CHECK int redis_greeting_take(struct redis_greeting *g, const struct redisReply *reply,
                                   const struct error *failure, struct error *err);
