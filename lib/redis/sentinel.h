// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asks Sentinels, one after the other, where the master is. The first that knows it counts.
 */

#include "loop/loop.h"
#include "redis/access.h"

struct redis_master;

/* Exactly one of host and err is NULL; the question is over then. */
typedef void (*redis_master_cb)(void *arg, const char *host, uint16_t port,
                                const struct error *err);

/*
 * address: sentinels, master, tls; borrowed until the end. access: certificates, password of the
 * Sentinels, and which addresses may be called. first: which one to begin with, so that one that is
 * away is not always asked first. Exactly one cb, never inside this call.
 */
struct redis_master *redis_master_find(struct loop *loop, const struct redis_address *address,
                                       const struct redis_access *access, size_t first,
                                       uint64_t timeout_ms, redis_master_cb cb, void *arg);
/* No callback will come; the loop runs until the connection is closed. NULL is fine. */
void redis_master_cancel(struct redis_master *m);
