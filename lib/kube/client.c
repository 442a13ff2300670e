// SPDX-License-Identifier: Apache-2.0
/*
 * API requests over one fetch pool.
 *
 * Happy path: a verb turns its call into a path and a body, starts a fetch and keeps a small
 * record; the answer is parsed and handed to the call's cb. kube_retry_on_conflict is the same
 * record going through get, change and update until the write is taken. Failure modes: no answer
 * (the fetch error, with verb and path before it), an error status (the Status' message), a body
 * that is no JSON (ERR_PROTOCOL). A token file is read again when a minute has passed; when that
 * fails the old token goes on being used.
 */
#include "kube/client.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jlist.h"
#include "json/jparse.h"
#include "fetch/fetch.h"
#include "kube/status.h"
#include "kube/warning.h"

enum {
    CALL_TIMEOUT_DEFAULT_MS = 15000,
    ANSWER_BYTES_MAX = 256 << 20,
    TOKEN_BYTES_MAX = 64 << 10,
    TOKEN_AGE_MAX_MS = 60000,
    CONFLICT_TRIES = 8,
};

struct kube_client {
    struct loop *loop;
    struct fetch *fetch;
    char *server;
    char *token_file; /* NULL: the token never changes */
    char *auth;       /* "Authorization: Bearer …", NULL: none */
    uint64_t token_read_ms;
    uint64_t timeout_ms;
    kube_warning_cb on_warning; /* NULL: nobody wants them */
    void *warning_arg;
    kube_close_cb close_cb;
    void *close_arg;
};

struct kube_request {
    struct kube_client *client;
    struct fetch_request *http;
    const char *verb; /* for sentences */
    char *path;
    char *accept; /* header line; NULL: JSON */
    kube_cb cb;
    void *arg;
    void (*on_item)(void *arg, const json_t *item); /* of lists; NULL: the whole list is wanted */
    const char *const *without;
    uint64_t timeout_ms;
    bool cancelled;
    /* kube_retry_on_conflict only */
    kube_change_cb change;
    char *read_path;
    unsigned tries;
    bool writing;
    /* kube_stream only */
    struct kube_stream_spec stream;
};

/* --- credentials
 * ------------------------------------------------------------------------------------ */

static void client_set_token(struct kube_client *client, const char *text)
{
    struct slice token = slice_trim(slice_str(text));
    while (token.len > 0 &&
           (token.ptr[token.len - 1] == '\n' || token.ptr[token.len - 1] == '\r')) {
        token = slice_trim(slice_sub(token, 0, token.len - 1));
    }
    free(client->auth);
    client->auth = xasprintf("Authorization: Bearer %.*s", SLICE_FMT(token));
}

static void client_read_token(struct kube_client *client)
{
    if (client->token_file == NULL) {
        return;
    }
    uint64_t now_ms = clock_mono_ms();
    if (client->auth != NULL && now_ms - client->token_read_ms < TOKEN_AGE_MAX_MS) {
        return;
    }
    client->token_read_ms = now_ms;
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, TOKEN_BYTES_MAX);
    if (fs_read_file(client->token_file, TOKEN_BYTES_MAX, &text, NULL) == 0 && text.len > 0) {
        client_set_token(client, text.ptr);
    }
}

/* --- one request
 * ------------------------------------------------------------------------------------- */

static void request_free(struct kube_request *req)
{
    free(req->path);
    free(req->accept);
    free(req->read_path);
    free(req);
}

static void request_complete(struct kube_request *req, json_t *object, const struct error *err)
{
    kube_cb cb = req->cb;
    void *arg = req->arg;
    request_free(req);
    cb(arg, err == NULL ? object : NULL, err);
}

static bool on_list_item(void *arg, const json_t *item)
{
    struct kube_request *req = arg;
    req->on_item(req->arg, item);
    return !req->cancelled;
}

static int answer_read(struct kube_request *req, const struct fetch_result *result, json_t **out,
                       struct error *err)
{
    if (req->on_item == NULL || result->status >= 300) {
        return jparse_object(result->body, ANSWER_BYTES_MAX, out, err);
    }
    return jlist_read(result->body, req->without, on_list_item, req, out, err);
}

/* The answer as an object, or the error that it is. The caller releases *out. */
static int answer_object(struct kube_request *req, const struct fetch_result *result,
                         const struct error *failed, json_t **out, struct error *err)
{
    if (failed != NULL) {
        error_copy(err, failed);
        return error_prefix(err, (int)failed->code, "%s %s", req->verb, req->path);
    }
    json_t *object = NULL;
    struct error parse = {0};
    int rc = answer_read(req, result, &object, &parse);
    if (result->status >= 300) {
        rc = error_from_kube_status(err, result->status, object, result->body);
        json_decref(object);
        return rc;
    }
    if (rc == ERR_CANCELED) {
        return error_copy(err, &parse);
    }
    if (rc < 0) {
        return error_set(err, rc == ERR_TOO_BIG ? ERR_TOO_BIG : ERR_PROTOCOL,
                         "%s %s: the answer is no JSON object: %s", req->verb, req->path,
                         parse.msg);
    }
    *out = object;
    return 0;
}

static int request_send(struct kube_request *req, const char *method, const char *path,
                        const char *content_type, const json_t *body, fetch_done_cb done,
                        struct error *err)
{
    struct kube_client *client = req->client;
    client_read_token(client);
    const char *headers[4] = {req->accept != NULL ? req->accept : "Accept: application/json"};
    size_t n = 1;
    if (client->auth != NULL) {
        headers[n++] = client->auth;
    }
    if (content_type != NULL) {
        headers[n++] = content_type;
    }
    CLEANUP(cleanup_free) char *url = xasprintf("%s%s", client->server, path);
    CLEANUP(cleanup_free) char *text = body == NULL ? NULL : jdump_str(body);
    struct fetch_spec spec = {
        .method = method,
        .url = url,
        .headers = headers,
        .keep = {client->on_warning != NULL ? "Warning" : NULL},
        .body = slice_str(text),
        .timeout_ms = req->timeout_ms,
        .max_body = ANSWER_BYTES_MAX,
        .on_done = done,
        .arg = req,
    };
    return fetch_start(client->fetch, &spec, &req->http, err);
}

static struct kube_request *request_new(struct kube_client *client, const struct kube_call *call,
                                        const char *verb)
{
    REQUIRE(call->cb != NULL);
    struct kube_request *req = NEW(struct kube_request);
    req->client = client;
    req->verb = verb;
    req->path = kube_path(call);
    req->accept = call->accept == NULL ? NULL : xasprintf("Accept: %s", call->accept);
    req->cb = call->cb;
    req->arg = call->arg;
    req->on_item = call->on_item;
    req->without = call->without;
    req->timeout_ms = call->timeout_ms == 0 ? client->timeout_ms : call->timeout_ms;
    return req;
}

static void tell_warnings(const struct kube_client *client, const struct fetch_result *result)
{
    struct slice rest = result->kept[0];
    char text[WARNING_MAX];
    while (client->on_warning != NULL && warning_next(&rest, text, sizeof(text))) {
        client->on_warning(client->warning_arg, text);
    }
}

static void on_answer(void *arg, const struct fetch_result *result, const struct error *failed)
{
    struct kube_request *req = arg;
    struct error err = {0};
    tell_warnings(req->client, result);
    CLEANUP(jfree) json_t *object = NULL;
    int rc = answer_object(req, result, failed, &object, &err);
    request_complete(req, object, rc < 0 ? &err : NULL);
}

static int start(struct kube_client *client, const struct kube_call *call, const char *verb,
                 const char *method, const char *content_type, struct kube_request **out,
                 struct error *err)
{
    struct kube_request *req = request_new(client, call, verb);
    int rc = request_send(req, method, req->path, content_type, call->body, on_answer, err);
    if (rc < 0) {
        request_free(req);
        return rc;
    }
    if (out != NULL) {
        *out = req;
    }
    return 0;
}

#define CONTENT_JSON      "Content-Type: application/json"
#define CONTENT_MERGE     "Content-Type: application/merge-patch+json"
#define CONTENT_STRATEGIC "Content-Type: application/strategic-merge-patch+json"
#define CONTENT_APPLY     "Content-Type: application/apply-patch+yaml"

int kube_get(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
             struct error *err)
{
    REQUIRE(call->name != NULL);
    return start(client, call, "get", "GET", NULL, out, err);
}

int kube_list(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
              struct error *err)
{
    REQUIRE(call->name == NULL);
    return start(client, call, "list", "GET", NULL, out, err);
}

int kube_create(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
                struct error *err)
{
    REQUIRE(call->body != NULL);
    return start(client, call, "create", "POST", CONTENT_JSON, out, err);
}

int kube_update(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
                struct error *err)
{
    REQUIRE(call->name != NULL && call->body != NULL);
    return start(client, call, "update", "PUT", CONTENT_JSON, out, err);
}

int kube_patch(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
               struct error *err)
{
    REQUIRE(call->name != NULL && call->body != NULL);
    return start(client, call, "patch", "PATCH", CONTENT_MERGE, out, err);
}

int kube_strategic_patch(struct kube_client *client, const struct kube_call *call,
                         struct kube_request **out, struct error *err)
{
    REQUIRE(call->name != NULL && call->body != NULL);
    return start(client, call, "patch", "PATCH", CONTENT_STRATEGIC, out, err);
}

int kube_apply(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
               struct error *err)
{
    REQUIRE(call->name != NULL && call->body != NULL && call->field_manager != NULL);
    return start(client, call, "apply", "PATCH", CONTENT_APPLY, out, err);
}

int kube_delete(struct kube_client *client, const struct kube_call *call, struct kube_request **out,
                struct error *err)
{
    REQUIRE(call->name != NULL);
    return start(client, call, "delete", "DELETE", call->body == NULL ? NULL : CONTENT_JSON, out,
                 err);
}

void kube_cancel(struct kube_request *req)
{
    req->cancelled = true;
    fetch_cancel(req->http);
}

/* --- read, change, write
 * ------------------------------------------------------------------------------ */

static void on_change_answer(void *arg, const struct fetch_result *result,
                             const struct error *failed);

static void change_read(struct kube_request *req, struct error *err)
{
    req->writing = false;
    int rc = request_send(req, "GET", req->read_path, NULL, NULL, on_change_answer, err);
    if (rc < 0) {
        request_complete(req, NULL, err);
    }
}

static void change_write(struct kube_request *req, json_t *object, struct error *err)
{
    int rc = req->change(req->arg, object, err);
    if (rc == 1) {
        request_complete(req, object, NULL);
        return;
    }
    if (rc == 0) {
        req->writing = true;
        rc = request_send(req, "PUT", req->path, CONTENT_JSON, object, on_change_answer, err);
    }
    if (rc < 0) {
        request_complete(req, NULL, err);
    }
}

static void on_change_answer(void *arg, const struct fetch_result *result,
                             const struct error *failed)
{
    struct kube_request *req = arg;
    struct error err = {0};
    CLEANUP(jfree) json_t *object = NULL;
    tell_warnings(req->client, result);
    int rc = answer_object(req, result, failed, &object, &err);
    if (rc == ERR_CONFLICT && req->writing && ++req->tries < CONFLICT_TRIES && !req->cancelled) {
        change_read(req, &err);
    } else if (rc < 0) {
        request_complete(req, NULL, &err);
    } else if (req->writing) {
        request_complete(req, object, NULL);
    } else {
        change_write(req, object, &err);
    }
}

int kube_retry_on_conflict(struct kube_client *client, const struct kube_call *call,
                           kube_change_cb change, struct kube_request **out, struct error *err)
{
    REQUIRE(call->name != NULL);
    struct kube_request *req = request_new(client, call, "update");
    struct kube_call read = *call;
    if (read.subresource != NULL && strcmp(read.subresource, "status") == 0) {
        read.subresource = NULL;
    }
    read.dry_run = false;
    req->read_path = kube_path(&read);
    req->change = change;
    int rc = request_send(req, "GET", req->read_path, NULL, NULL, on_change_answer, err);
    if (rc < 0) {
        request_free(req);
        return rc;
    }
    if (out != NULL) {
        *out = req;
    }
    return 0;
}

/* --- the blocking form
 * --------------------------------------------------------------------------------- */

struct sync_call {
    bool done;
    int rc;
    json_t *object;
    struct error err;
};

static void on_sync(void *arg, json_t *object, const struct error *err)
{
    struct sync_call *sync = arg;
    sync->done = true;
    if (err != NULL) {
        sync->rc = error_copy(&sync->err, err);
    } else {
        sync->object = json_incref(object);
    }
}

int kube_call_sync(struct kube_client *client, kube_verb_fn verb, const struct kube_call *call,
                   json_t **out_object, struct error *err)
{
    struct sync_call sync = {0};
    struct kube_call mine = *call;
    mine.cb = on_sync;
    mine.arg = &sync;
    int rc = verb(client, &mine, NULL, err);
    if (rc < 0) {
        return rc;
    }
    while (!sync.done) {
        loop_turn(client->loop, true);
    }
    if (sync.rc < 0) {
        return error_copy(err, &sync.err);
    }
    if (out_object != NULL) {
        *out_object = sync.object;
    } else {
        json_decref(sync.object);
    }
    return 0;
}

/* --- streams
 * --------------------------------------------------------------------------------------------- */

static void on_stream_head(void *arg, int status)
{
    struct kube_request *req = arg;
    (void)status;
    if (req->stream.on_open != NULL) {
        req->stream.on_open(req->stream.arg);
    }
}

static void on_stream_data(void *arg, struct slice data)
{
    struct kube_request *req = arg;
    req->stream.on_data(req->stream.arg, data);
}

static void on_stream_done(void *arg, const struct fetch_result *result, const struct error *failed)
{
    struct kube_request *req = arg;
    struct kube_stream_spec stream = req->stream;
    struct error err = {0};
    if (failed != NULL) {
        error_copy(&err, failed);
        error_prefix(&err, (int)failed->code, "%s %s", req->verb, req->path);
    } else if (result->status >= 300) {
        CLEANUP(jfree) json_t *status = NULL;
        if (jparse_object(result->body, ANSWER_BYTES_MAX, &status, NULL) < 0) {
            status = NULL;
        }
        error_from_kube_status(&err, result->status, status, result->body);
    }
    request_free(req);
    stream.on_done(stream.arg, err.code == ERR_OK ? NULL : &err);
}

int kube_stream(struct kube_client *client, const struct kube_stream_spec *spec,
                struct kube_request **out, struct error *err)
{
    REQUIRE(spec->on_data != NULL && spec->on_done != NULL);
    struct kube_request *req = NEW(struct kube_request);
    req->client = client;
    req->verb = spec->method != NULL ? spec->method : "GET";
    req->path = xstrdup(spec->path);
    req->accept =
        xasprintf("Accept: %s", spec->accept != NULL ? spec->accept : "application/json, */*");
    req->stream = *spec;
    client_read_token(client);
    const char *headers[3] = {req->accept, client->auth, NULL};
    CLEANUP(cleanup_free) char *url = xasprintf("%s%s", client->server, spec->path);
    struct fetch_spec get = {
        .method = req->verb,
        .url = url,
        .headers = headers,
        .timeout_ms = spec->timeout_ms,
        .idle_ms = spec->idle_ms,
        .on_head = on_stream_head,
        .on_data = on_stream_data,
        .on_done = on_stream_done,
        .arg = req,
    };
    int rc = fetch_start(client->fetch, &get, &req->http, err);
    if (rc < 0) {
        request_free(req);
        return rc;
    }
    if (out != NULL) {
        *out = req;
    }
    return 0;
}

/* --- life
 * -------------------------------------------------------------------------------------------------
 */

int kube_client_new(struct loop *loop, const struct kube_config *config,
                    const struct kube_client_options *options, struct kube_client **out,
                    struct error *err)
{
    struct kube_client_options none = {0};
    options = options == NULL ? &none : options;
    struct fetch_options fetch_options = {
        .ca_pem = config->ca_pem,
        .client_cert_pem = config->client_cert_pem,
        .client_key_pem = config->client_key_pem,
        .insecure = config->insecure,
        .max_connections = options->max_connections,
        .user_agent = options->user_agent,
    };
    struct fetch *fetch = NULL;
    int rc = fetch_new(loop, &fetch_options, &fetch, err);
    if (rc < 0) {
        return rc;
    }
    struct kube_client *client = NEW(struct kube_client);
    client->loop = loop;
    client->fetch = fetch;
    client->server = xstrdup(config->server);
    client->token_file = config->token_file == NULL ? NULL : xstrdup(config->token_file);
    client->on_warning = options->on_warning;
    client->warning_arg = options->warning_arg;
    client->timeout_ms = options->timeout_ms == 0 ? CALL_TIMEOUT_DEFAULT_MS : options->timeout_ms;
    if (config->token != NULL) {
        client_set_token(client, config->token);
    }
    *out = client;
    return 0;
}

static void on_fetch_closed(void *arg)
{
    struct kube_client *client = arg;
    kube_close_cb cb = client->close_cb;
    void *cb_arg = client->close_arg;
    free(client->server);
    free(client->auth);
    free(client->token_file);
    free(client);
    if (cb != NULL) {
        cb(cb_arg);
    }
}

void kube_client_close(struct kube_client *client, kube_close_cb cb, void *arg)
{
    if (client->close_cb == NULL) {
        client->close_cb = cb;
        client->close_arg = arg;
    }
    fetch_close(client->fetch, on_fetch_closed, client);
}

struct loop *kube_client_loop(const struct kube_client *client)
{
    return client->loop;
}
