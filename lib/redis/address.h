// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a Redis is and who we are there, as text:
 *
 *     unix:/run/redis.sock                         a socket on this machine
 *     redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]   TCP
 *     rediss://…                                   the same over TLS
 *     HOST:PORT                                    TCP, for short
 *
 * USER and PASSWORD may be %-encoded; redis://:PASSWORD@HOST has no user. Pure.
 */

#include "base/error.h"
#include "base/slice.h"

struct redis_address {
    char *unix_path; /* NULL: TCP */
    char *host;
    uint16_t port;
    bool tls;
    char *user;     /* NULL: the default user */
    char *password; /* NULL: none is asked for */
    unsigned db;
};

/* ERR_INVALID says what is wrong without repeating the password. */
MUST_CHECK int redis_address_parse(struct slice text, struct redis_address *out, struct error *err);
void redis_address_fini(struct redis_address *a);
