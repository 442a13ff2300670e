// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a Redis is and who we are there, as text:
 *
 *     unix:/run/redis.sock                         a socket on this machine
 *     redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]   TCP
 *     rediss://…                                   the same over TLS
 *     HOST:PORT                                    TCP, for short
 *     redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/MASTER[/DB]
 *                                                  whatever Sentinel says is the master; rediss+…
 *
 * USER and PASSWORD may be %-encoded; redis://:PASSWORD@HOST has no user. They are the master's,
 * not Sentinel's. Pure.
 */

#include "base/error.h"
#include "base/slice.h"

#define REDIS_SENTINELS_MAX 16

struct redis_host {
    char *host;
    uint16_t port;
};

struct redis_address {
    char *unix_path; /* NULL: TCP */
    char *host;      /* NULL: a socket, or Sentinel is asked */
    uint16_t port;
    struct redis_host sentinels[REDIS_SENTINELS_MAX];
    size_t n_sentinels;
    char *master; /* its name among them */
    bool tls;
    char *user;     /* NULL: the default user */
    char *password; /* NULL: none is asked for */
    unsigned db;
};

/* ERR_INVALID says what is wrong without repeating the password. */
MUST_CHECK int redis_address_parse(struct slice text, struct redis_address *out, struct error *err);
void redis_address_fini(struct redis_address *a);
