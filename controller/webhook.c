// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: POST of a review, a verdict. Failure modes: another method or path (405, 404), a body
 * that is no review (400 with the reason) or too large (413 by the server), settings not read yet
 * (503). A new certificate counts for connections from then on; those that are open keep theirs.
 */
#include "controller/webhook.h"

#include "base/log.h"
#include "loop/tls.h"

enum { CONNECTIONS_MAX = 256 };

static const struct {
    const char *path;
    enum review_door door;
} doors[] = {
    {"/defaulting", REVIEW_DEFAULTING},
    {"/validation", REVIEW_VALIDATION},
    {"/config-validation", REVIEW_CONFIG},
};

static void answer(struct webhook *w, struct http_simple_request *rq, enum review_door door)
{
    struct error err = {0};
    struct review_env env = {w->options.config, w->options.system_namespace};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, REVIEW_ANSWER_MAX);
    bool allowed = false;
    int rc = review_answer(&env, door, rq->body, &out, &allowed, &err);
    if (rc < 0) {
        w->counters.malformed++;
        http_simple_respondf(rq, 400, "no AdmissionReview: %s\n", err.msg);
        return;
    }
    w->counters.reviews++;
    w->counters.refused += !allowed;
    http_simple_respond(rq, 200, "application/json", strbuf_slice(&out));
}

static void on_request(struct http_simple_request *rq, void *arg)
{
    struct webhook *w = arg;
    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        if (!slice_eq_str(rq->path, doors[i].path)) {
            continue;
        }
        if (!slice_eq_str(rq->method, "POST")) {
            http_simple_respondf(rq, 405, "POST an AdmissionReview\n");
        } else if (!w->options.synced(w->options.arg)) {
            http_simple_respondf(rq, 503, "not in sync with the API yet\n");
        } else {
            answer(w, rq, doors[i].door);
        }
        return;
    }
    http_simple_respondf(rq, 404, "no such page: %.*s\n", SLICE_FMT(rq->path));
}

/* The context of the moment: a connection keeps the one that it began with. */
static int secure(void *data, struct stream *s, struct error *err)
{
    const struct webhook *w = data;
    return tls_secure(w->tls, s, err);
}

static void on_certs(void *arg, const struct certs *certs)
{
    struct webhook *w = arg;
    struct error err = {0};
    struct tls_context *fresh = NULL;
    struct tls_options tls = {
        .cert_pem = slice_str(certs->server.cert_pem),
        .key_pem = slice_str(certs->server.key_pem),
        .alpn = "http/1.1",
    };
    if (tls_server_new(&tls, &fresh, &err) < 0) {
        LOG_WARN("the webhook's certificate cannot be used", LOG_ERR(&err));
        return;
    }
    tls_context_free(w->tls);
    w->tls = fresh;
    LOG_INFO("webhook certificate loaded");
    if (w->listening) {
        return;
    }
    struct listen_options listen = {.secure = secure, .secure_data = w};
    if (http_server_listen_text(http_simple_server(w->http), w->options.listen, &listen, &err) <
        0) {
        LOG_ERROR("the webhook cannot listen", LOG_STR("address", w->options.listen),
                  LOG_ERR(&err));
        return;
    }
    w->listening = true;
    LOG_INFO("webhook listens", LOG_UINT("port", http_server_port(http_simple_server(w->http))));
}

int webhook_start(struct webhook *w, struct loop *loop, const struct webhook_options *options,
                  struct error *err)
{
    struct http_simple_options http = http_simple_options_default(on_request, w);
    http.limits.max_body_bytes = REVIEW_BODY_MAX;
    http.limits.max_connections = CONNECTIONS_MAX;
    *w = (struct webhook){.options = *options};
    struct webhook_certs_options certs = {
        .client = options->client,
        .system_namespace = options->system_namespace,
        .on_certs = on_certs,
        .arg = w,
    };
    w->http = http_simple_new(loop, &http);
    int rc = webhook_certs_start(&certs, &w->certs, err);
    return rc < 0 ? error_prefix(err, rc, "webhook") : 0;
}

bool webhook_ready(const struct webhook *w)
{
    return w->listening;
}

static void on_part_closed(void *arg)
{
    struct webhook *w = arg;
    if (--w->n_open > 0) {
        return;
    }
    tls_context_free(w->tls);
    w->tls = NULL;
    if (w->close_cb != NULL) {
        w->close_cb(w->close_arg);
    }
}

void webhook_close(struct webhook *w, void (*cb)(void *arg), void *arg)
{
    w->close_cb = cb;
    w->close_arg = arg;
    w->n_open = 1 + (w->http != NULL) + (w->certs != NULL);
    w->listening = false;
    if (w->certs != NULL) {
        webhook_certs_close(w->certs, on_part_closed, w);
        w->certs = NULL;
    }
    if (w->http != NULL) {
        http_simple_close(w->http, on_part_closed, w);
        w->http = NULL;
    }
    on_part_closed(w);
}
