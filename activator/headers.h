// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The request head on its way to a replica: what is dropped, rewritten and added. Pure.
 *
 * From outside nobody may speak for us: K-*, Knative-Serving-* and K-Lull-* headers are dropped on
 * both listeners; X-Forwarded-* and Forwarded are dropped on the public one unless a trusted proxy
 * stands in front, and continued on the private one. The one header that is believed is the hop
 * count, which can only harm who sends it; functions get it, and pass it on when they forward.
 */

#include "base/strbuf.h"
#include "http/head.h"

#define HEADER_HOPS_MAX 32

struct headers_context {
    struct slice peer;      /* address of the client, "unix" for a unix socket */
    bool tls;               /* the client's connection */
    bool trust_forwarded;   /* keep X-Forwarded-* and Forwarded and go on with them */
    struct slice host;      /* Host of the client */
    struct slice path_name; /* "/_lull/NS/NAME" that was taken off the target; or empty */
    unsigned hops;          /* of the request that came in */
    struct slice revision;  /* "ns/name" that it is for */
};

/* The hop count that came in; 0 when absent, HEADER_HOPS_MAX when it is nonsense. */
unsigned headers_hops(const struct http_head *in);

/*
 * Edits out, a copy of the client's head. Texts that had to be made live in `scratch` (cleared
 * first) as long as the caller keeps it. ERR_TOO_BIG when a header does not fit.
 */
MUST_CHECK int headers_to_replica(struct http_head *out, const struct headers_context *ctx,
                                  struct strbuf *scratch, struct error *err);

/*
 * "/_lull/ns/name/rest?q", whose first `skip` bytes name the function, as "/rest?q" behind prefix.
 * What had to be made lives in `room` (cleared first).
 */
struct slice headers_inner_target(struct slice prefix, struct slice target, size_t skip,
                                  struct strbuf *room);

/* Takes our private headers off an answer. */
void headers_to_client(struct http_head *out);
