// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: four times a second it is looked whether this worker may run the source (the owner's key in
 * our own Redis, renewed every two seconds) and everything is known that it needs; then there is a
 * session, else none. Failure: a session that was lost begins anew after a moment; a worker that
 * cannot renew its key stops before the key ends, so that the next one does not meet it.
 */
#include "broker/source_redis.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jbuild.h"
#include "broker/redis_session.h"
#include "broker/source_secrets.h"

#define OWNER_MS   10000
#define RENEW_MS   2000
#define MARGIN_MS  2000
#define RESTART_MS 500

struct redis_source {
    struct worker *worker;
    char *ns;
    char *name;
    struct redis_object object;
    struct push_route route;
    struct source_secrets secrets;
    char *owner_key;
    char *inner; /* namespace of its outlet */
    struct outlet_ref outlet;
    char *url; /* of the session */
    struct redis_session *session;
    struct redis_counts counts;
    bool used;         /* object is there */
    bool asking;       /* for the key */
    uint64_t renew_ms; /* when to ask again */
    uint64_t asked_ms;
    uint64_t mine_ms; /* the key is ours until then */
    uint64_t start_ms;
    bool gone;
};

void *redis_source_new(struct worker *w, const char *ns, const char *name)
{
    struct redis_source *r = NEW(struct redis_source);
    r->worker = w;
    r->ns = xstrdup(ns);
    r->name = xstrdup(name);
    r->inner = outlet_ns("redis", ns);
    r->owner_key = stream_key(r->inner, name, "reader");
    r->outlet = (struct outlet_ref){w, r->inner, r->name};
    r->route = (struct push_route){.sender = &w->sender,
                                   .ns = r->ns,
                                   .common = &r->object.common,
                                   .timeout_ms = w->config->delivery_timeout_ms,
                                   .on_try = outlet_tried,
                                   .arg = &r->outlet};
    source_secrets_init(&r->secrets, w->client, ns);
    return r;
}

static void stop(struct redis_source *r)
{
    if (r->session != NULL) {
        redis_session_close(r->session);
        r->session = NULL;
    }
    free(r->url);
    r->url = NULL;
}

void redis_source_use(void *one, const char *uid, void *value)
{
    struct redis_source *r = one;
    struct redis_object *object = value;
    bool same = r->used && strcmp(r->object.shape, object->shape) == 0;
    if (r->session != NULL && same) {
        redis_session_pause(r->session);
    } else {
        stop(r);
        r->counts.trouble = (struct error){0};
    }
    redis_object_release(NULL, &r->object);
    r->object = *object;
    *object = (struct redis_object){0};
    r->used = true;
    source_secrets_use(&r->secrets, &r->object.url_from, r->object.url_from.name != NULL);
    outlet_use(
        r->worker,
        &(struct outlet){.ns = r->inner, .name = r->name, .uid = uid, .common = &r->object.common});
}

static void free_now(struct redis_source *r)
{
    redis_object_release(NULL, &r->object);
    free(r->owner_key);
    free(r->inner);
    free(r->name);
    free(r->ns);
    free(r);
}

void redis_source_drop(void *one)
{
    struct redis_source *r = one;
    const struct slice args[] = {SLICE_LIT("UNLINK"), slice_str(r->owner_key)};
    stop(r);
    outlet_drop(r->worker, r->inner, r->name);
    (void)!redis_conn_send(r->worker->db, args, ARRAY_LEN(args), NULL, NULL, NULL);
}

void redis_source_free(void *one)
{
    struct redis_source *r = one;
    stop(r);
    source_secrets_fini(&r->secrets);
    r->gone = true;
    if (!r->asking) {
        free_now(r);
    }
}

/* --- whose it is --------------------------------------------------------------------------- */

static void on_owned(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_source *r = arg;
    r->asking = false;
    if (r->gone) {
        free_now(r);
        return;
    }
    if (err == NULL) {
        bool mine = redis_reply_int(reply, 0) == 1;
        r->mine_ms = mine ? r->asked_ms + OWNER_MS - MARGIN_MS : 0;
    }
}

static void renew(struct redis_source *r, uint64_t now_ms)
{
    char ms[16];
    struct error err;
    struct worker *w = r->worker;
    if (r->asking || now_ms < r->renew_ms || w->stopping) {
        return;
    }
    snprintf(ms, sizeof(ms), "%d", OWNER_MS);
    const struct slice args[] = {SLICE_LIT("EVAL"),  slice_str(stream_script_own),
                                 SLICE_LIT("1"),     slice_str(r->owner_key),
                                 slice_str(w->name), slice_str(ms)};
    r->asked_ms = now_ms;
    r->renew_ms = now_ms + RENEW_MS;
    r->asking = redis_conn_send(w->db, args, ARRAY_LEN(args), on_owned, r, &err) == 0;
}

/* --- running ------------------------------------------------------------------------------- */

static void start(struct redis_source *r, struct slice url)
{
    struct redis_session_options options = {
        .worker = r->worker,
        .object = &r->object,
        .route = &r->route,
        .outlet = &r->outlet,
        .counts = &r->counts,
    };
    bool is_unix = slice_starts_with(url, SLICE_LIT("unix:"));
    if (is_unix && r->worker->config->local_gateway[0] == '\0') {
        error_set(&r->counts.trouble, ERR_INVALID,
                  "a unix socket is one of this machine; on a cluster the URL must name a host");
        return;
    }
    r->url = slice_dup(url);
    options.url = r->url;
    if (redis_session_new(&options, &r->session, &r->counts.trouble) < 0) {
        stop(r);
    }
}

void redis_source_tick(void *one, uint64_t now_ms, size_t crowd)
{
    struct redis_source *r = one;
    struct slice url[SOURCE_SECRETS_MAX] = {{0}};
    source_secrets_tick(&r->secrets, now_ms, crowd);
    renew(r, now_ms);
    if (r->object.url != NULL) {
        url[0] = slice_str(r->object.url);
    } else {
        (void)source_secrets_values(&r->secrets, url);
        url[0] = slice_trim(url[0]);
        while (url[0].len > 0 && url[0].ptr[url[0].len - 1] == '\n') {
            url[0].len--;
        }
    }
    bool wanted = r->used && r->object.common.trouble.code == ERR_OK &&
                  r->object.common.sink != NULL && url[0].len > 0 && now_ms < r->mine_ms &&
                  !r->worker->stopping;
    if (r->session != NULL &&
        (!wanted || redis_session_is_lost(r->session) || !slice_eq(url[0], slice_str(r->url)))) {
        stop(r);
        r->start_ms = now_ms + RESTART_MS;
    }
    if (r->session == NULL && wanted && now_ms >= r->start_ms) {
        r->start_ms = now_ms + RESTART_MS;
        start(r, url[0]);
    }
    if (r->session != NULL) {
        redis_session_tick(r->session, now_ms);
    }
    outlet_holds(&r->outlet, r->session == NULL ? 0 : (unsigned)redis_session_running(r->session));
}

json_t *redis_source_state(const void *one)
{
    const struct redis_source *r = one;
    const struct error *why =
        r->object.common.trouble.code != ERR_OK ? &r->object.common.trouble : &r->counts.trouble;
    const char *text = why->code != ERR_OK ? why->msg : source_secrets_trouble(&r->secrets);
    return json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:o}", "namespace", r->ns, "name", r->name,
                     "running", r->session != NULL, "delivering",
                     (json_int_t)(r->session == NULL ? 0 : redis_session_running(r->session)),
                     "taken", (json_int_t)r->counts.taken, "dead", (json_int_t)r->counts.dead,
                     "trouble", jstring_lossy(slice_str(text)));
}
