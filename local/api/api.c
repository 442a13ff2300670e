// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a request is authenticated, its path parsed to a route, and its verb handed to the file
 * that does it. Everything that a client can do wrong ends in a Status object.
 */

#include "local/api/api.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/tls.h"
#include "json/jparse.h"
#include "serving/schema_prune.h"
#include "local/api/call.h"
#include "local/api/discovery.h"
#include "local/api/metrics.h"
#include "local/api/protobuf.h"
#include "local/api/review.h"

#define BODY_MAX        (4u << 20) /* beyond: the HTTP server's own 413 */
#define OBJECT_MAX      (3u << 19) /* 1.5 MiB: a Status says so */
#define CONNECTIONS_MAX 512
#define BURST_MAX       (8u << 20) /* one event, one object, or one list that is not streamed */
#define BOOKMARK_MS     30000

/* --- calls --------------------------------------------------------------------------------- */

static void free_call(struct call *c)
{
    json_decref(c->body);
    json_decref(c->duplicates);
    json_decref(c->warnings);
    json_decref(c->causes);
    free(c->refusal);
    free(c);
}

static void on_call_closed(struct http_simple_request *rq, void *data)
{
    struct call *c = data;
    c->rq = NULL;
    if (c->answered) {
        free_call(c);
    }
}

struct call *call_new(struct api *api, struct http_simple_request *rq, const struct route *route)
{
    struct call *c = NEW(struct call);
    c->api = api;
    c->rq = rq;
    c->route = *route;
    c->resource = api->options.kinds->rows[route->kind->id].resource;
    c->form = respond_form(rq);
    c->ok_status = 200;
    rq->data = c;
    rq->on_close = on_call_closed;
    return c;
}

void call_finish(struct call *c)
{
    c->answered = true;
    if (c->rq == NULL) {
        free_call(c);
    }
}

int body_read(const struct http_simple_request *rq, json_t **out, struct error *err)
{
    struct slice type = http_head_get(rq->head, SLICE_LIT("content-type"));
    bool protobuf = header_has(rq, "content-type", "protobuf");
    if (type.len > 0 && !protobuf && !header_has(rq, "content-type", "json")) {
        return error_set(err, ERR_UNSUPPORTED,
                         "the body of the request was in an unknown format (%.*s) - accepted media "
                         "types include: application/json",
                         (int)(type.len > 80 ? 80 : type.len), type.ptr);
    }
    if (rq->body.len > OBJECT_MAX) {
        return error_set(err, ERR_TOO_BIG, "Request entity too large: limit is %u", OBJECT_MAX);
    }
    if (protobuf) {
        return protobuf_read(rq->body, out, err);
    }
    struct error why;
    if (jparse(rq->body, OBJECT_MAX, out, &why) < 0) {
        return error_set(err, ERR_PROTOCOL, "the body of the request is not usable: %s", why.msg);
    }
    return 0;
}

bool call_body(struct call *c)
{
    struct error err;
    int rc = body_read(c->rq, &c->body, &err);
    bool json = !header_has(c->rq, "content-type", "protobuf");
    if (rc == ERR_PROTOCOL && json && jparse_last(c->rq->body, OBJECT_MAX, &c->body, NULL) == 0) {
        c->duplicates = schema_duplicates(c->rq->body);
        rc = 0;
    }
    if (rc < 0) {
        respond_error(c->rq, &err, NULL);
        call_finish(c);
    }
    return rc == 0;
}

const char *query_get(const struct http_simple_request *rq, const char *name, struct strbuf *buf)
{
    return http_query_get(rq->query, name, buf) ? buf->ptr : "";
}

bool header_has(const struct http_simple_request *rq, const char *name, const char *part)
{
    struct slice value = http_head_get(rq->head, slice_str(name));
    return value.len > 0 && memmem(value.ptr, value.len, part, strlen(part)) != NULL;
}

bool query_is_true(const struct http_simple_request *rq, const char *name)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 16);
    if (!http_query_get(rq->query, name, &buf)) {
        return false;
    }
    return strcasecmp(buf.ptr, "false") != 0 && strcmp(buf.ptr, "0") != 0; /* as Kubernetes */
}

/* --- authentication ------------------------------------------------------------------------ */

static bool is_authentic(const struct api *api, const struct http_simple_request *rq)
{
    static const char scheme[] = "Bearer ";
    struct slice value = http_head_get(rq->head, SLICE_LIT("authorization"));
    size_t want = strlen(api->token);
    if (!slice_eq_nocase(slice_sub(value, 0, sizeof(scheme) - 1), SLICE_LIT("Bearer "))) {
        return false;
    }
    struct slice given = slice_trim(slice_sub(value, sizeof(scheme) - 1, value.len));
    return given.len == want && CRYPTO_memcmp(given.ptr, api->token, want) == 0;
}

/* --- dispatch ------------------------------------------------------------------------------ */

static void not_found(struct http_simple_request *rq)
{
    respond_status(rq, 404, "NotFound", "the server could not find the requested resource");
}

static void not_allowed(struct http_simple_request *rq)
{
    respond_status(rq, 405, "MethodNotAllowed",
                   "the server does not allow this method on the requested resource");
}

static bool wants_aggregated(const struct http_simple_request *rq)
{
    return header_has(rq, "accept", "as=APIGroupDiscoveryList") &&
           header_has(rq, "accept", "v=v2;");
}

static void handle_discovery(struct http_simple_request *rq, const struct route *route, bool apis)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1u << 20);
    bool root = route->group[0] == '\0' && route->version[0] == '\0';
    if (root && wants_aggregated(rq)) {
        discovery_aggregated(!apis, &out);
        http_simple_respond(rq, 200,
                            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                            strbuf_slice(&out));
        return;
    }
    if (!discovery_write(route, apis, &out)) {
        not_found(rq);
        return;
    }
    respond_text(rq, 200, &out);
}

static void handle_collection(struct api *api, struct http_simple_request *rq,
                              const struct route *route)
{
    if (slice_eq_str(rq->method, "GET")) {
        if (query_is_true(rq, "watch")) {
            watch_start(api, rq, route);
        } else {
            list_start(api, rq, route);
        }
        return;
    }
    bool whole = route->kind->namespaced && route->ns[0] == '\0';
    if (slice_eq_str(rq->method, "POST") && !whole) {
        objects_create(call_new(api, rq, route));
    } else if (slice_eq_str(rq->method, "DELETE") && !whole) {
        objects_delete_collection(call_new(api, rq, route));
    } else {
        not_allowed(rq);
    }
}

static void handle_object(struct api *api, struct http_simple_request *rq,
                          const struct route *route)
{
    bool get = slice_eq_str(rq->method, "GET");
    if (route->sub == ROUTE_SUB_LOG) {
        if (get) {
            podlog_start(api, rq, route);
        } else {
            not_allowed(rq);
        }
    } else if (get && query_is_true(rq, "watch")) {
        watch_start(api, rq, route);
    } else if (get) {
        objects_get(call_new(api, rq, route));
    } else if (slice_eq_str(rq->method, "PUT")) {
        objects_update(call_new(api, rq, route));
    } else if (slice_eq_str(rq->method, "PATCH")) {
        objects_patch(call_new(api, rq, route));
    } else if (slice_eq_str(rq->method, "DELETE") && route->sub == ROUTE_SUB_NONE) {
        objects_delete(call_new(api, rq, route));
    } else {
        not_allowed(rq);
    }
}

static bool handle_plain(struct http_simple_request *rq)
{
    static const char *const health[] = {"/healthz", "/livez", "/readyz"};
    for (size_t i = 0; i < ARRAY_LEN(health); i++) {
        if (slice_eq_str(rq->path, health[i])) {
            http_simple_respond(rq, 200, "text/plain", SLICE_LIT("ok"));
            return true;
        }
    }
    return false;
}

static void on_request(struct http_simple_request *rq, void *arg)
{
    struct api *api = arg;
    api->requests++;
    if (handle_plain(rq)) {
        return;
    }
    if (!is_authentic(api, rq)) {
        respond_status(rq, 401, "Unauthorized", "Unauthorized");
        return;
    }
    if (documents_handle(api, rq)) {
        return;
    }
    if (review_handle(api, rq) || metrics_handle(api, rq)) {
        return;
    }
    struct route route;
    route_parse(rq->path, &route);
    switch (route.what) {
    case ROUTE_NONE:
        not_found(rq);
        break;
    case ROUTE_DISCOVERY:
        if (slice_eq_str(rq->method, "GET")) {
            handle_discovery(rq, &route, slice_starts_with(rq->path, SLICE_LIT("/apis")));
        } else {
            not_allowed(rq);
        }
        break;
    case ROUTE_COLLECTION:
        handle_collection(api, rq, &route);
        break;
    case ROUTE_OBJECT:
        handle_object(api, rq, &route);
        break;
    }
}

/* --- life ---------------------------------------------------------------------------------- */

static void on_bookmarks(struct timer *timer)
{
    watch_send_bookmarks(timer->data);
}

static void free_api(struct api *api)
{
    tls_context_free(api->tls);
    free(api->openapi);
    free(api->token);
    free(api->user);
    free(api->system_namespace);
    free(api);
}

static void drop_closer(struct api *api)
{
    if (--api->closers > 0) {
        return;
    }
    void (*cb)(void *) = api->close_cb;
    void *arg = api->close_arg;
    free_api(api);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_http_closed(void *arg)
{
    drop_closer(arg);
}

static void on_timer_closed(struct timer *timer)
{
    drop_closer(timer->data);
}

void api_close(struct api *api, void (*cb)(void *arg), void *arg)
{
    if (api->closing) {
        return;
    }
    api->closing = true;
    accounts_stop(api);
    api->close_cb = cb;
    api->close_arg = arg;
    api->closers = 2;
    http_simple_close(api->http, on_http_closed, api);
    timer_close(&api->bookmarks, on_timer_closed);
}

static void start_http(struct api *api)
{
    struct http_simple_options options = http_simple_options_default(on_request, api);
    options.limits.max_body_bytes = BODY_MAX;
    options.limits.max_connections = CONNECTIONS_MAX;
    options.limits.out_high_bytes = 256 << 10;
    options.limits.out_burst_bytes = BURST_MAX;
    options.limits.max_requests = 0;
    api->http = http_simple_new(api->options.loop, &options);
    timer_init(&api->bookmarks, api->options.loop, on_bookmarks, api);
    timer_start_every(&api->bookmarks, BOOKMARK_MS);
    timer_unref(&api->bookmarks);
}

/* One token that may do everything, and a certificate for 127.0.0.1: not for a network. */
static int check_loopback(const char *listen, struct error *err)
{
    struct addr addr;
    int rc = addr_parse(slice_str(listen), &addr, err);
    if (rc == 0 && !addr_is_loopback(&addr)) {
        rc = error_set(err, ERR_INVALID,
                       "the API server listens on a loopback address only, as 127.0.0.1:8070; not "
                       "on %s",
                       listen);
    }
    return rc;
}

int api_start(struct api **out, const struct api_options *options, struct error *err)
{
    int rc = check_loopback(options->listen, err);
    if (rc < 0) {
        return rc;
    }
    struct tls_options tls = {.cert_file = options->cert_file, .key_file = options->key_file};
    struct tls_context *context;
    rc = tls_server_new(&tls, &context, err);
    if (rc < 0) {
        return error_prefix(err, rc, "cannot use the API server's certificate");
    }
    struct api *api = NEW(struct api);
    api->options = *options;
    api->tls = context;
    api->token = xstrdup(options->token);
    api->user = xstrdup(options->user);
    api->system_namespace = xstrdup(options->system_namespace);
    list_init(&api->watches);
    serving_config_init(&api->serving);
    api->serving.processes = true;
    start_http(api);
    struct listen_options listen = {.secure = tls_secure, .secure_data = api->tls};
    rc = http_server_listen_text(http_simple_server(api->http), options->listen, &listen, err);
    if (rc < 0) {
        api_close(api, NULL, NULL);
        return error_prefix(err, rc, "the API server cannot listen on %s", options->listen);
    }
    accounts_start(api);
    *out = api;
    return 0;
}

uint16_t api_port(const struct api *api)
{
    return http_server_port(http_simple_server(api->http));
}

void api_set_logs(struct api *api, const struct logs_provider *logs)
{
    api->logs = logs;
}

void api_set_usage(struct api *api, const struct usage_provider *usage)
{
    api->usage = usage;
}

uint64_t api_requests(const struct api *api)
{
    return api->requests;
}

uint64_t api_serialisations(const struct api *api)
{
    return api->serialisations;
}

size_t api_watches(const struct api *api)
{
    return api->watches_count;
}
