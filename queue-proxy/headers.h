// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the queue-proxy reads from and writes into heads. Pure.
 */

#include "http/head.h"

enum request_kind {
    REQUEST_PLAIN,
    REQUEST_HEALTH,     /* kubelet or a Knative probe for "queue": is the function ready? */
    REQUEST_HASH_PROBE, /* K-Network-Probe: probe, of nobody of these */
    REQUEST_BAD_PROBE,  /* another value of K-Network-Probe, or a Knative prober without one */
};

struct request_class {
    enum request_kind kind;
    bool proxied;          /* K-Proxy-Request: activator */
    struct slice probe;    /* value of K-Network-Probe */
    struct slice hash;     /* value of K-Network-Hash */
    struct slice revision; /* value of K-Lull-Revision: whom an activator means */
};

void headers_classify(const struct http_head *in, struct request_class *out);

/* Whether a K-Lull-Revision is this one, "ns/name". What is not said is no contradiction. */
bool headers_means(struct slice revision, struct slice ns, struct slice name);

/* Memory for values that are made for one request. */
struct header_room {
    char forwarded[512];
    char forwarded_for[512];
};

/*
 * Edits `out` (a copy of `in`): drops what only the parts may say to each other, restores the host,
 * and adds Forwarded and X-Forwarded-* when the request did not come through an activator, which
 * has done it. peer: the client's address text, or "unix". ERR_TOO_BIG: no room for one more
 * header.
 */
MUST_CHECK int headers_to_function(const struct http_head *in, struct http_head *out,
                                   const struct request_class *cls, struct slice peer,
                                   struct header_room *room);
/* Drops K-Lull-* from the function's answer. */
void headers_from_function(struct http_head *out);
