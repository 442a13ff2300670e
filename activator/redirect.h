// SPDX-License-Identifier: Apache-2.0
#pragma once

/* HTTP → HTTPS: whether a request in the clear is sent on, and where to. Pure. */

#include "base/slice.h"
#include "base/strbuf.h"
#include "serving/config_network.h"

struct redirect_question {
    bool local;                  /* came in through the cluster-local listener */
    bool secure;                 /* came over TLS, or a trusted proxy says so */
    bool by_default;             /* http-protocol in config-network is Redirected */
    enum http_protocol protocol; /* what the Route or DomainMapping says */
    struct slice target;         /* the request's */
};

/* Requires of the caller: the host is known here and has a certificate. */
bool redirect_wanted(const struct redirect_question *q);
/* Appends "https://HOST/PATH?QUERY"; host may carry a port, which becomes tls_port. */
void redirect_location(struct slice host, unsigned tls_port, struct slice target,
                       struct strbuf *out);
