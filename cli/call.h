// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One HTTP request of a command to a function, or to what answers for one, whole. */

#include "base/strbuf.h"
#include "cli/cli.h"

enum { CALL_BODY_MAX = 64 << 20, CALL_STATE_MAX = 32 };

struct call {
    int status;
    struct strbuf body;
    char async_state[CALL_STATE_MAX]; // Lull-Async-State; "": there is none
    uint64_t ms;                      // how long it took
    bool done;                        // private, like the rest
    int rc;
    struct error err;
};

struct call_request {
    const char *method;
    const char *url;
    const char *const *headers; // "Name: value" ending with NULL
    struct slice body;
    uint64_t timeout_ms;
};

// May be made again after call_fini.
void call_init(struct call *c);
void call_fini(struct call *c);
// Waits for the answer, which is in c. ERR_TIMEOUT, or why there is none.
MUST_CHECK int call_make(struct cli *cli, const struct call_request *request, struct call *c,
                         struct error *err);
// The body to stdout, what surrounds it to stderr unless quiet; or all as JSON. Exit status.
int call_print(const struct call *c, bool json, bool quiet);
