// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: HEAD of the manifest, its digest from the header. Asked to authenticate: a token from
 * the service that the challenge names (or the credentials themselves), and once more. A registry
 * nearby that does not speak TLS is asked in the clear, without credentials. Failure modes: any
 * other answer is an error with its status, no answer within the time is one with what curl says.
 */
#include "controller/registry.h"

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"

enum { URL_MAX = 4096, TOKEN_MAX = 64 << 10, TOKEN_BODY_MAX = 1 << 20 };

static const char accept_line[] =
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json";

struct registry_call {
    struct fetch *fetch;
    struct loop *loop;
    struct image_ref ref;
    char *auth;          /* owned; NULL: none */
    char *authorization; /* owned: the header line that is sent; NULL: none */
    uint64_t ends_ms;
    bool in_the_clear;
    bool answered_challenge;
    registry_cb cb;
    void *arg;
};

static int ask_manifest(struct registry_call *call, struct error *err);

static void finish(struct registry_call *call, struct slice digest, const struct error *err)
{
    registry_cb cb = call->cb;
    void *arg = call->arg;
    cb(arg, digest, err);
    free(call->auth);
    free(call->authorization);
    free(call);
}

static void fail(struct registry_call *call, const struct error *err)
{
    finish(call, SLICE_EMPTY, err);
}

static int send_request(struct registry_call *call, const char *method, const char *url,
                        const char *authorization, fetch_done_cb done, struct error *err)
{
    uint64_t now_ms = loop_now_ms(call->loop);
    const char *headers[] = {accept_line, authorization, NULL};
    if (now_ms >= call->ends_ms) {
        return error_set(err, ERR_TIMEOUT, "%s \"%s\": no answer in time", method, url);
    }
    struct fetch_spec spec = {
        .method = method,
        .url = url,
        .headers = headers,
        .keep = {"WWW-Authenticate", "Docker-Content-Digest"},
        .timeout_ms = call->ends_ms - now_ms,
        .max_body = TOKEN_BODY_MAX,
        .on_done = done,
        .arg = call,
    };
    return fetch_start(call->fetch, &spec, NULL, err);
}

/* --- authentication ------------------------------------------------------------------------ */

static void on_token(void *arg, const struct fetch_result *result, const struct error *failure)
{
    struct registry_call *call = arg;
    struct error err = {0};
    CLEANUP(jfree) json_t *answer = NULL;
    int rc = failure == NULL ? 0 : error_copy(&err, failure);
    if (rc == 0 && result->status != 200) {
        rc = error_set(&err, ERR_UNAUTHORIZED, "the token service answered %d", result->status);
    }
    rc = rc < 0 ? rc : jparse_object(result->body, TOKEN_BODY_MAX, &answer, &err);
    if (rc == 0) {
        struct slice token = jpeek_str(answer, "token");
        token = token.len > 0 ? token : jpeek_str(answer, "access_token");
        if (token.len == 0 || token.len > TOKEN_MAX || slice_find(token, '\n') >= 0 ||
            slice_find(token, '\r') >= 0) {
            rc = error_set(&err, ERR_PROTOCOL, "the token service gave no token");
        } else {
            free(call->authorization);
            call->authorization = xasprintf("Authorization: Bearer %.*s", SLICE_FMT(token));
            rc = ask_manifest(call, &err);
        }
    }
    if (rc < 0) {
        fail(call, &err);
    }
}

static int answer_challenge(struct registry_call *call, struct slice header, struct error *err)
{
    struct image_challenge challenge;
    image_challenge_parse(header, &challenge);
    CLEANUP(cleanup_free)
    char *basic = call->auth == NULL || call->in_the_clear
                      ? NULL
                      : xasprintf("Authorization: Basic %s", call->auth);
    call->answered_challenge = true;
    if (challenge.bearer) {
        char scope[512];
        CLEANUP(strbuf_fini) struct strbuf url;
        strbuf_init(&url, URL_MAX);
        snprintf(scope, sizeof(scope), "repository:%s:pull", call->ref.repository);
        int rc = image_token_url(&challenge, scope, &url, err);
        bool safe = slice_starts_with(strbuf_slice(&url), SLICE_LIT("https://"));
        return rc < 0 ? rc : send_request(call, "GET", url.ptr, safe ? basic : NULL, on_token, err);
    }
    if (challenge.basic && basic != NULL) {
        free(call->authorization);
        call->authorization = basic;
        basic = NULL;
        return ask_manifest(call, err);
    }
    return error_set(err, ERR_UNAUTHORIZED,
                     "%s asks for credentials: name them in an imagePullSecret",
                     call->ref.registry);
}

/* --- the manifest -------------------------------------------------------------------------- */

static bool is_no_tls(const struct registry_call *call, const struct error *failure)
{
    return failure != NULL && call->ref.near && !call->in_the_clear &&
           failure->code != ERR_TIMEOUT && failure->code != ERR_CANCELED;
}

static void on_manifest(void *arg, const struct fetch_result *result, const struct error *failure)
{
    struct registry_call *call = arg;
    struct error err = {0};
    int rc = 0;
    if (is_no_tls(call, failure)) {
        call->in_the_clear = true;
        rc = ask_manifest(call, &err);
    } else if (failure != NULL) {
        rc = error_copy(&err, failure);
    } else if (result->status == 401 && !call->answered_challenge) {
        rc = answer_challenge(call, result->kept[0], &err);
    } else if (result->status != 200) {
        rc = error_set(&err, ERR_NOT_FOUND,
                       "HEAD https://%s/v2/%s/manifests/%s: unexpected status code %d",
                       call->ref.registry, call->ref.repository, call->ref.tag, result->status);
    } else {
        struct slice digest = slice_trim(result->kept[1]);
        if (image_digest_valid(digest)) {
            finish(call, digest, NULL);
            return;
        }
        rc = error_set(&err, ERR_PROTOCOL, "%s named no sha256 digest of %s:%s", call->ref.registry,
                       call->ref.repository, call->ref.tag);
    }
    if (rc < 0) {
        fail(call, &err);
    }
}

static int ask_manifest(struct registry_call *call, struct error *err)
{
    CLEANUP(cleanup_free)
    char *url = xasprintf("%s://%s/v2/%s/manifests/%s", call->in_the_clear ? "http" : "https",
                          call->ref.registry, call->ref.repository, call->ref.tag);
    return send_request(call, "HEAD", url, call->authorization, on_manifest, err);
}

int registry_ask(struct fetch *fetch, struct loop *loop, const struct registry_spec *spec,
                 struct error *err)
{
    struct registry_call *call = NEW(struct registry_call);
    *call = (struct registry_call){
        .fetch = fetch,
        .loop = loop,
        .ref = *spec->ref,
        .auth = spec->auth == NULL ? NULL : xstrdup(spec->auth),
        .ends_ms = loop_now_ms(loop) + spec->timeout_ms,
        .cb = spec->cb,
        .arg = spec->arg,
    };
    int rc = ask_manifest(call, err);
    if (rc < 0) {
        free(call->auth);
        free(call);
    }
    return rc;
}
