// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the handler keeps for each replica that it talks to: the pool of connections, and the probe
 * of a replica that was set aside. Lives in replica->user; the throttler says when it goes.
 */

#include "activator/handler.h"

/* The pool, made when first asked for. ERR_INVALID: the address is no good. */
MUST_CHECK int upstream_pool(struct handler *h, struct replica *p, struct http_pool **out,
                             struct error *err);
/* Closes idle connections: their peer is gone, or will be soon. */
void upstream_flush(struct replica *p);
/* Asks the queue-proxy whether it is well; the throttler and the pump hear of it. */
void upstream_probe(struct handler *h, struct replica *p);
/* Closes everything; no callback comes any more. */
void upstream_release(struct handler *h, struct replica *p);
