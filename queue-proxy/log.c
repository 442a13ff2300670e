// SPDX-License-Identifier: Apache-2.0
/* Plan: what the exchange knows, and what the settings say of this replica. */
#include "queue-proxy/log.h"

#include <unistd.h>

int log_start(struct proxy *proxy, struct error *err)
{
    const struct config *c = proxy->config;
    if (!c->request_log) {
        return 0;
    }
    int rc = request_log_start(&proxy->log, proxy->loop, STDOUT_FILENO,
                               slice_str(c->request_log_template), err);
    if (rc < 0) {
        return error_prefix(err, rc, "SERVING_REQUEST_LOG_TEMPLATE");
    }
    proxy->open++;
    return 0;
}

void log_request(struct http_exchange *ex, void *arg)
{
    struct proxy *proxy = arg;
    const struct config *c = proxy->config;
    const struct http_head *head = http_exchange_request(ex);
    struct request_class cls;
    if (!request_log_on(&proxy->log)) {
        return;
    }
    headers_classify(head, &cls);
    if (cls.kind != REQUEST_PLAIN && !c->request_log_probes) {
        return;
    }
    struct log_entry entry = {
        .request = head,
        .peer = http_exchange_peer(ex),
        .status = http_exchange_status(ex),
        .bytes_out = http_exchange_bytes_out(ex),
        .latency_ns = loop_now_ns(proxy->loop) - http_exchange_begun_ns(ex),
        .revision = slice_str(c->revision),
        .namespace_name = slice_str(c->namespace_name),
        .service = slice_str(c->service),
        .configuration = slice_str(c->configuration),
        .pod = slice_str(c->pod),
        .pod_ip = slice_str(c->pod_ip),
    };
    request_log_write(&proxy->log, &entry);
}
