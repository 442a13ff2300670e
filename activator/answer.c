// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: sentences. Each says what was asked for, why it cannot be had, and what to do. The first
 * line of the overload answers is Knative's, because clients and tests match it.
 */
#include "base/mem.h"
#include "activator/overdue.h"
#include "activator/redirect.h"

#define TEXT_MAX       1024
#define LOCATION_MAX   (64 << 10)
#define NAME_SHOWN_MAX 128 /* of a host or path that came from outside */

void answer_text(struct http_exchange *ex, int status, unsigned retry_after_s, const char *fmt, ...)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    CLEANUP(strbuf_fini) struct strbuf retry;
    strbuf_init(&text, TEXT_MAX);
    strbuf_init(&retry, 16);
    va_list ap;
    va_start(ap, fmt);
    (void)strbuf_vappendf(&text, fmt, ap);
    va_end(ap);
    struct http_header room[4];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = status;
    int rc =
        http_head_add(&head, SLICE_LIT("Content-Type"), SLICE_LIT("text/plain; charset=utf-8"));
    if (retry_after_s > 0) {
        strbuf_appendf(&retry, "%u", retry_after_s);
        rc = rc < 0 ? rc : http_head_add(&head, SLICE_LIT("Retry-After"), strbuf_slice(&retry));
    }
    REQUIRE(rc == 0); /* two headers fit into four places */
    http_exchange_respond_head(ex, &head, strbuf_slice(&text));
}

void answer_redirect(struct http_exchange *ex, unsigned tls_port)
{
    CLEANUP(strbuf_fini) struct strbuf location;
    const struct http_head *head = http_exchange_request(ex);
    strbuf_init(&location, LOCATION_MAX);
    redirect_location(head->authority, tls_port, head->target, &location);
    struct http_header room[2];
    struct http_head answer;
    http_head_init(&answer, room, ARRAY_LEN(room));
    answer.status = 301;
    int rc = http_head_add(&answer, SLICE_LIT("Location"), strbuf_slice(&location));
    if (rc < 0 || !strbuf_ok(&location)) {
        answer_text(ex, 414, 0, "the address is too long to be sent on to HTTPS\n");
        return;
    }
    http_exchange_respond_head(ex, &answer, SLICE_EMPTY);
}

void answer_unknown(struct request *rq, struct slice host, struct slice path)
{
    if (!rq->h->synced) {
        answer_text(rq->ex, 503, 1, "the list of functions is not loaded yet: try again\n");
        return;
    }
    rq->h->counters.unknown++;
    if (slice_starts_with(path, SLICE_LIT(ROUTE_PATH_PREFIX))) {
        answer_text(rq->ex, 404, 0,
                    "no function is at the path \"%.*s\"\n"
                    "The form is " ROUTE_PATH_PREFIX "NAMESPACE/NAME/…; list what there is with "
                    "'lull list' or 'kubectl get ksvc -A'.\n",
                    SLICE_FMT(slice_sub(path, 0, NAME_SHOWN_MAX)));
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf form;
    strbuf_init(&form, TEXT_MAX);
    route_table_host_form(&rq->h->routes, (enum route_listener)rq->listener, &form);
    answer_text(rq->ex, 404, 0,
                "no function has the host \"%.*s\"%s\n"
                "Hosts look like %.*s; list what there is with 'lull list' or 'kubectl get ksvc "
                "-A'. A client that cannot resolve the name may call " ROUTE_PATH_PREFIX
                "NAMESPACE/NAME/ here.\n",
                SLICE_FMT(slice_sub(host, 0, NAME_SHOWN_MAX)),
                rq->listener == ROUTE_PUBLIC ? " that may be called from outside" : "",
                SLICE_FMT(strbuf_slice(&form)));
}

void answer_expired(struct request *rq, const struct revision *r, enum expiry why)
{
    unsigned retry_s = revision_retry_after_s(r, loop_now_ns(rq->h->loop));
    const char *message;
    const char *reason = revision_failure(r, &message);
    switch (why) {
    case EXPIRY_GONE:
        answer_text(rq->ex, 503, 1, "the revision %s was deleted while the request waited\n",
                    r->key);
        return;
    case EXPIRY_PUSHED:
        answer_text(rq->ex, 503, retry_s,
                    "pending request queue full\nno more requests can wait here in all, and %s has "
                    "more of them than others\n",
                    r->key);
        return;
    case EXPIRY_FAILED:
        answer_text(rq->ex, 503, retry_s, "the revision %s cannot answer: %s%s%s\n", r->key,
                    reason == NULL ? "not ready" : reason, message == NULL ? "" : ": ",
                    message == NULL ? "" : message);
        return;
    case EXPIRY_DEADLINE:
        if (rq->h->config->knative_timeouts && r->timeout_ms > 0 &&
            r->timeout_ms <= rq->h->config->hold_ms) {
            answer_text(rq->ex, 504, 0, OVERDUE_TEXT);
            return;
        }
        answer_text(rq->ex, 503, retry_s,
                    "context deadline exceeded\nno replica of %s had room within the time that a "
                    "request may wait%s%s\n",
                    r->key, reason == NULL ? "" : ": ", reason == NULL ? "" : reason);
        return;
    }
}

/* kube-probe/… or K-Kubelet-Probe: is this activator fine? */
static bool is_kubelet_probe(const struct http_head *head)
{
    if (http_head_find_id(head, HTTP_H_K_KUBELET_PROBE) != NULL) {
        return true;
    }
    const struct http_header *agent = http_head_find_id(head, HTTP_H_USER_AGENT);
    return agent != NULL && slice_starts_with(agent->value, SLICE_LIT("kube-probe/"));
}

bool answer_probe(const struct handler *h, struct http_exchange *ex)
{
    const struct http_head *head = http_exchange_request(ex);
    if (is_kubelet_probe(head)) {
        answer_text(ex, h->draining ? 500 : 200, 0, "%s", h->draining ? "shutting down" : "ok");
        return true;
    }
    const struct http_header *probe = http_head_find_id(head, HTTP_H_K_NETWORK_PROBE);
    if (probe == NULL) {
        return false;
    }
    if (slice_eq_str(probe->value, "activator")) {
        answer_text(ex, 200, 0, "activator");
        return true;
    }
    const struct http_header *hash = http_head_find_id(head, HTTP_H_K_NETWORK_HASH);
    if (!slice_eq_str(probe->value, "probe")) {
        answer_text(ex, 400, 0, "unexpected probe header value: %.*s",
                    SLICE_FMT(slice_sub(probe->value, 0, NAME_SHOWN_MAX)));
    } else if (h->draining) {
        answer_text(ex, 503, 0, "shutting down");
    } else if (hash == NULL || slice_empty(hash->value)) {
        answer_text(ex, 400, 0,
                    "a probe request must contain a non-empty \"K-Network-Hash\" header");
    } else {
        struct http_header room[2];
        struct http_head answer;
        http_head_init(&answer, room, ARRAY_LEN(room));
        answer.status = 200;
        if (http_head_add(&answer, SLICE_LIT("K-Network-Hash"), hash->value) == 0) {
            http_exchange_respond_head(ex, &answer, SLICE_EMPTY);
        }
    }
    return true;
}
