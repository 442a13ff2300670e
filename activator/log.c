// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: what the exchange knows. The revision may be gone when its request ends, so its name is
 * copied, which only happens while the log is on.
 */
#include "activator/log.h"

#include <unistd.h>

#include "base/mem.h"

int log_start(struct handler *h, struct error *err)
{
    if (!h->config->request_log) {
        return 0;
    }
    int rc = request_log_start(&h->log, h->loop, STDOUT_FILENO,
                               slice_str(h->config->request_log_template), err);
    if (rc < 0) {
        return error_prefix(err, rc, "--request-log-template");
    }
    closer_hold(&h->closer);
    return 0;
}

void log_revision(struct handler *h, struct http_exchange *ex, const struct revision *r)
{
    if (request_log_on(&h->log)) {
        http_exchange_set_note(ex, xstrdup(r->key));
    }
}

static bool is_probe(const struct http_head *head)
{
    const struct http_header *agent = http_head_find_id(head, HTTP_H_USER_AGENT);
    return http_head_find_id(head, HTTP_H_K_NETWORK_PROBE) != NULL ||
           http_head_find_id(head, HTTP_H_K_KUBELET_PROBE) != NULL ||
           (agent != NULL && slice_starts_with(agent->value, SLICE_LIT("kube-probe/")));
}

void log_request(struct http_exchange *ex, void *arg)
{
    struct handler *h = arg;
    const struct http_head *head = http_exchange_request(ex);
    CLEANUP(cleanup_free) char *key = http_exchange_note(ex);
    if (!request_log_on(&h->log) || (is_probe(head) && !h->config->request_log_probes)) {
        return;
    }
    struct slice rest = slice_str(key);
    struct slice ns = SLICE_EMPTY;
    (void)slice_split(&rest, '/', &ns);
    struct log_entry entry = {
        .request = head,
        .peer = http_exchange_peer(ex),
        .status = http_exchange_status(ex),
        .bytes_out = http_exchange_bytes_out(ex),
        .latency_ns = loop_now_ns(h->loop) - http_exchange_begun_ns(ex),
        .revision = rest,
        .namespace_name = ns,
    };
    request_log_write(&h->log, &entry);
}

static void on_closed(struct request_log *log)
{
    struct handler *h = CONTAINER_OF(log, struct handler, log);
    closer_drop(&h->closer);
}

void log_stop(struct handler *h)
{
    if (request_log_on(&h->log)) {
        request_log_close(&h->log, on_closed);
    }
}
