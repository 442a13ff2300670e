// SPDX-License-Identifier: Apache-2.0
/* Plan: the nearer word counts, and some paths are never sent on. No failure modes. */
#include "activator/redirect.h"

#include "activator/route_table.h"

/* How a certificate authority sees that the domain is ours, before there is a certificate. */
#define ACME_PREFIX "/.well-known/acme-challenge/"

bool redirect_wanted(const struct redirect_question *q)
{
    if (q->local || q->secure || slice_starts_with(q->target, SLICE_LIT(ACME_PREFIX)) ||
        slice_starts_with(q->target, SLICE_LIT(ROUTE_PATH_PREFIX))) {
        return false;
    }
    switch (q->protocol) {
    case HTTP_PROTOCOL_ENABLED:
        return false;
    case HTTP_PROTOCOL_REDIRECTED:
        return true;
    case HTTP_PROTOCOL_DEFAULT:
        break;
    }
    return q->by_default;
}

void redirect_location(struct slice host, unsigned tls_port, struct slice target,
                       struct strbuf *out)
{
    host = route_host_without_port(host);
    strbuf_appendf(out, "https://%.*s", SLICE_FMT(host));
    if (tls_port != 443) {
        strbuf_appendf(out, ":%u", tls_port);
    }
    if (target.len > 0 && target.ptr[0] == '/') {
        strbuf_append_slice(out, target);
    } else {
        strbuf_append_char(out, '/'); /* OPTIONS * */
    }
}
