// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `lull doctor` has found so far. Each check says what it looked at, and of what is wrong also
 * what to do. Owns: the findings. May not: change anything.
 */

#include "cli/cli.h"

struct doctor {
    struct cli *cli;
    json_t *findings; /* [{"check","level","text","advice"}] */
    size_t failed;
    size_t warned;
};

/* All is well there. */
void doctor_ok(struct doctor *d, const char *check, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* It works, but not as it should; advice: a sentence. */
void doctor_warn(struct doctor *d, const char *check, const char *advice, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* It does not work. */
void doctor_fail(struct doctor *d, const char *check, const char *advice, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* A certificate in PEM: how long it still counts. */
void doctor_certificate(struct doctor *d, const char *check, const char *what, struct slice pem,
                        const char *advice);
/* Objects of the API, in both worlds: settings, deletions that hang, functions (of cli->ns, or
 * all). */
void doctor_objects(struct doctor *d, bool all_namespaces);
/* Brokers, Triggers, and what lull-broker says of them; likewise. */
void doctor_events(struct doctor *d, bool all_namespaces);
/* Both: whether the objects can be looked at. */
bool doctor_cluster(struct doctor *d);
bool doctor_machine(struct doctor *d);
