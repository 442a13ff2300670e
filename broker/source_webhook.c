// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Deliveries are a trigger's of a broker of its own, both made here under a name that has one
 * slash more than a path from outside may have. A request: its signature first, then the event,
 * then the ingress takes it as any other, but an id only once.
 *
 * Refusals: 401 the signature; 400 no event can be made of it; 405, 413; 429 too much waits
 * already; 503 Redis or a Secret is not there.
 */
#include "broker/source_webhook.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jbuild.h"
#include "http/simple.h"
#include "broker/hook_event.h"
#include "broker/ingress.h"
#include "broker/outlet.h"

static char *inner_ns(const struct hook *h)
{
    return outlet_ns("webhook", h->ns);
}

void *hook_new(struct worker *w, const char *ns, const char *name)
{
    struct hook *h = NEW(struct hook);
    h->worker = w;
    h->ns = xstrdup(ns);
    h->name = xstrdup(name);
    h->path = xasprintf("%s/%s", ns, name);
    source_secrets_init(&h->secrets, w->client, ns);
    CLEANUP(cleanup_free) char *inner = inner_ns(h);
    h->once_key = stream_key(inner, name, "once");
    return h;
}

void hook_use(void *one, const char *uid, void *value)
{
    struct hook *h = one;
    struct webhook_object *object = value;
    CLEANUP(cleanup_free) char *inner = inner_ns(h);
    webhook_object_release(NULL, &h->object);
    h->object = *object;
    *object = (struct webhook_object){0};
    source_secrets_use(&h->secrets, h->object.secrets, h->object.n_secrets);
    outlet_use(
        h->worker,
        &(struct outlet){.ns = inner, .name = h->name, .uid = uid, .common = &h->object.common});
}

void hook_drop(void *one)
{
    struct hook *h = one;
    CLEANUP(cleanup_free) char *inner = inner_ns(h);
    const struct slice args[] = {SLICE_LIT("UNLINK"), slice_str(h->once_key)};
    outlet_drop(h->worker, inner, h->name);
    (void)!redis_conn_send(h->worker->db, args, ARRAY_LEN(args), NULL, NULL, NULL);
}

void hook_free(void *one)
{
    struct hook *h = one;
    source_secrets_fini(&h->secrets);
    webhook_object_release(NULL, &h->object);
    free(h->once_key);
    free(h->path);
    free(h->name);
    free(h->ns);
    free(h);
}

void hook_tick(void *one, uint64_t now_ms, size_t crowd)
{
    struct hook *h = one;
    source_secrets_tick(&h->secrets, now_ms, crowd);
}

json_t *hook_state(const void *one)
{
    const struct hook *h = one;
    const char *why = h->object.common.trouble.code != ERR_OK ? h->object.common.trouble.msg
                      : h->object.n_secrets > 0               ? source_secrets_trouble(&h->secrets)
                                                              : NULL;
    return json_pack("{s:s,s:s,s:I,s:I,s:o}", "namespace", h->ns, "name", h->name, "taken",
                     (json_int_t)h->taken, "refused", (json_int_t)h->refused, "trouble",
                     jstring_lossy(slice_str(why)));
}

/* --- requests ------------------------------------------------------------------------------ */

/* The one header of this name; two of them are no signature. */
static int signature_of(const struct http_head *head, const char *name, struct slice *out,
                        struct error *err)
{
    *out = (struct slice){0};
    for (size_t i = 0; name != NULL && i < head->n_headers; i++) {
        const struct http_header *one = &head->headers[i];
        if (!slice_eq_nocase(one->name, slice_str(name))) {
            continue;
        }
        if (out->ptr != NULL) {
            return error_set(err, ERR_UNAUTHORIZED, "the request has two headers %.100s", name);
        }
        *out = one->value.ptr == NULL ? SLICE_EMPTY : one->value;
    }
    return 0;
}

static int check_signature(struct hook *h, const struct http_simple_request *rq, struct error *err)
{
    struct worker *w = h->worker;
    struct slice values[SOURCE_SECRETS_MAX];
    struct slice signature;
    uint64_t dropped;
    const struct signature_rule *rule = &h->object.rule;
    const char *header = signature_header(rule);
    size_t n = source_secrets_values(&h->secrets, values);
    if (header != NULL && n == 0) {
        const char *why = source_secrets_trouble(&h->secrets);
        return error_set(err, ERR_UNAVAILABLE, "no secret to check the signature with: %s",
                         why == NULL ? "the source names none" : why);
    }
    int rc = signature_of(rq->head, header, &signature, err);
    rc = rc < 0 ? rc
                : signature_check(rule, signature, rq->body, values, n,
                                  clock_wall_ns() / (int64_t)CLOCK_NS_PER_S, err);
    if (rc < 0) {
        uint64_t now_ms = loop_now_ms(w->loop);
        h->refused++;
        source_secrets_doubt(&h->secrets, now_ms);
        if (log_limit(&h->refused_log, now_ms, 1000, &dropped)) {
            LOG_WARN("a web hook's signature is refused", LOG_STR("source", h->path), LOG_ERR(err),
                     LOG_UINT("dropped", dropped));
        }
    }
    return rc;
}

static int check_request(struct hook *h, const struct http_simple_request *rq, struct error *err)
{
    const struct webhook_object *o = &h->object;
    size_t most = (size_t)h->worker->config->event_bytes_max;
    most = o->body_max > 0 && (uint64_t)o->body_max < most ? (size_t)o->body_max : most;
    if (o->common.trouble.code != ERR_OK) {
        return error_set(err, ERR_UNAVAILABLE, "the source cannot be used: %s",
                         o->common.trouble.msg);
    }
    if (rq->body.len > most) {
        return error_set(err, ERR_TOO_BIG, "the body has %zu bytes, at most %zu are taken",
                         rq->body.len, most);
    }
    return check_signature(h, rq, err);
}

void hook_handle(struct hook *h, struct http_simple_request *rq)
{
    struct worker *w = h->worker;
    struct error err = {0};
    struct event event;
    CLEANUP(cleanup_free) char *inner = inner_ns(h);
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", inner, h->name);
    struct broker *b = worker_broker(w, slice_str(path));
    event_init(&event);
    int rc = b == NULL ? error_set(&err, ERR_NOT_FOUND, "there is no web hook %s", h->path)
                       : check_request(h, rq, &err);
    rc = rc < 0 ? rc : hook_event(&h->object, rq->head, rq->body, clock_wall_ns(), &event, &err);
    if (rc < 0) {
        ingress_refuse(w, rq, &err);
    } else {
        const struct broker_once once = {
            .key = h->once_key, .id = event.known[EVENT_ID], .within_ms = h->object.once_ms};
        h->taken++;
        ingress_put(b, rq, &event, h->object.once_ms > 0 ? &once : NULL);
    }
    event_fini(&event);
}
