// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An HTTP(S) client on the loop: many requests at once over kept-alive connections (libcurl).
 * Owns: the connections, one timer, one poll handle per socket. May not: know what is asked.
 *
 *     fetch_new(loop, &(struct fetch_options){.ca_pem = pem}, &f, err);
 *     fetch_start(f, &(struct fetch_spec){.method = "GET", .url = url, .timeout_ms = 5000,
 *                     .on_done = done, .arg = me}, &req, err);
 *
 * Callbacks never run inside fetch_start or fetch_cancel, and may call anything here, including
 * fetch_start, fetch_cancel and fetch_close.
 */

#include "base/error.h"
#include "base/slice.h"
#include "loop/loop.h"

struct fetch;
struct fetch_request;

struct fetch_options {
    const char *ca_pem;          /* trust only these; NULL: the system's */
    const char *client_cert_pem; /* NULL: none */
    const char *client_key_pem;
    bool insecure;            /* do not verify the server (a user's kubeconfig may ask for it) */
    const char *unix_socket;  /* connect here whatever the URL's host is; NULL: TCP */
    unsigned max_connections; /* 0: 64. Requests beyond wait, within their deadline */
    const char *user_agent;   /* NULL: "lull/VERSION" */
};

enum { FETCH_KEEP_MAX = 2, FETCH_KEPT_BYTES_MAX = 8192 };

/* What a finished request brings. All borrowed during the callback. */
struct fetch_result {
    int status;                        /* HTTP status; 0 when none came */
    struct slice body;                 /* whole body, empty when on_data took it; NUL follows */
    struct slice kept[FETCH_KEEP_MAX]; /* of the header fields in keep, those that came several
                                        * times joined with commas; empty: not there. What goes
                                        * beyond FETCH_KEPT_BYTES_MAX is left out */
};

/* The head has arrived; only with on_data. */
typedef void (*fetch_head_cb)(void *arg, int status);
/* Body bytes as they come, borrowed during the call. */
typedef void (*fetch_data_cb)(void *arg, struct slice data);
/* Exactly once. err NULL: an answer came (of any status); else result->status may still be set. */
typedef void (*fetch_done_cb)(void *arg, const struct fetch_result *result,
                              const struct error *err);

struct fetch_spec {
    const char *method; /* "GET", … */
    const char *url;
    const char *const *headers;       /* "Name: value" lines ending with NULL, or NULL; copied */
    const char *keep[FETCH_KEEP_MAX]; /* names of header fields to keep: constants, or NULL */
    struct slice body;                /* copied */
    uint64_t connect_timeout_ms;      /* 0: 10 s */
    uint64_t timeout_ms;              /* whole request; 0: none, for streams, which have idle_ms */
    uint64_t idle_ms;                 /* give up after so long without a byte; 0: no limit */
    size_t max_body;       /* 0: 64 MiB; more is ERR_TOO_BIG. Does not count with on_data */
    fetch_head_cb on_head; /* optional */
    fetch_data_cb on_data; /* optional: stream the body of a 2xx answer instead of keeping it */
    fetch_done_cb on_done; /* required */
    void *arg;
};

/* options and their strings are copied. */
MUST_CHECK int fetch_new(struct loop *loop, const struct fetch_options *options, struct fetch **out,
                         struct error *err);
/* Every pending request completes with ERR_CANCELED, then cb. Idempotent: only the first cb counts.
 * cb may be NULL. */
typedef void (*fetch_close_cb)(void *arg);
void fetch_close(struct fetch *f, fetch_close_cb cb, void *arg);

/* *out (may be NULL) is valid until on_done returns. */
MUST_CHECK int fetch_start(struct fetch *f, const struct fetch_spec *spec,
                           struct fetch_request **out, struct error *err);
/* No more data comes; on_done follows with ERR_CANCELED from the loop. Idempotent. */
void fetch_cancel(struct fetch_request *req);

/* Requests that have not completed yet. */
size_t fetch_pending(const struct fetch *f);
