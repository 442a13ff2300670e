// SPDX-License-Identifier: Apache-2.0
/*
 * One entry per Secret. Happy path: asked for the first time it is read, its certificate and key
 * are tried, and on_change tells that there is an answer; later questions read it again when it is
 * old. Failure modes: a Secret that is not there, is no certificate or does not fit its key is an
 * answer too; while the API cannot be asked the old answer stands. Who is not asked for any more
 * goes with a later question.
 */
#include "controller/tls_secrets.h"

#include <string.h>

#include "base/base64.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "loop/certificate.h"
#include "loop/tls_identity.h"
#include "json/jget.h"
#include "json/jparse.h"

enum {
    KEY_MAX = 2 * OBJECT_BUF,
    CALL_TIMEOUT_MS = 5000,
    RETRY_MS = 2000,
    CALLS_PER_S = 5,   /* of many Secrets each is looked at more seldom */
    FORGET_CHECKS = 4, /* so many checks without a question */
};

#define PEM_MAX (1u << 20)

struct entry {
    struct tls_secrets *t;
    char *key; /* "ns/name", owned */
    char *ns;  /* owned */
    const char *name;
    struct kube_request *call; /* under way; NULL: none */
    uint64_t asked_ms;
    uint64_t due_ms; /* to be read again then */
    enum tls_secret_state state;
    json_t *data; /* owned; GOOD only */
    char version[160];
    struct certificate_times times;
    struct error why; /* ABSENT, BAD */
};

struct tls_secrets {
    struct loop *loop;
    struct tls_secrets_options options;
    struct map entries; /* key -> entry */
    size_t calls;
    uint64_t sweep_ms;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void entry_free(struct entry *e)
{
    json_decref(e->data);
    free(e->ns);
    free(e->key);
    free(e);
}

static uint64_t interval_ms(const struct tls_secrets *t)
{
    uint64_t least = map_len(&t->entries) * 1000 / CALLS_PER_S;
    return least > t->options.check_ms ? least : t->options.check_ms;
}

static void maybe_closed(struct tls_secrets *t)
{
    if (!t->closing || t->calls > 0) {
        return;
    }
    void (*cb)(void *arg) = t->close_cb;
    void *arg = t->close_arg;
    map_foreach (it, &t->entries) {
        entry_free(it.value);
    }
    map_fini(&t->entries);
    free(t);
    if (cb != NULL) {
        cb(arg);
    }
}

/* --- answers ------------------------------------------------------------------------------- */

static int decode(const json_t *secret, const char *path, const char *name, struct strbuf *out,
                  struct error *err)
{
    struct slice text = jpeek_str(secret, path);
    strbuf_init(out, PEM_MAX);
    if (slice_empty(text)) {
        return error_set(err, ERR_INVALID, "it has no %s", name);
    }
    int rc = base64_decode(text, out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", name) : 0;
}

/* Whether it can be shown to clients at all. */
static int try_secret(const json_t *secret, struct certificate_times *out_times, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf cert = {0};
    CLEANUP(strbuf_fini) struct strbuf key = {0};
    struct tls_identity *identity = NULL;
    int rc = decode(secret, "data.`tls.crt`", "tls.crt", &cert, err);
    rc = rc < 0 ? rc : decode(secret, "data.`tls.key`", "tls.key", &key, err);
    rc = rc < 0 ? rc : tls_identity_new(strbuf_slice(&cert), strbuf_slice(&key), &identity, err);
    rc = rc < 0 ? rc : certificate_times(strbuf_slice(&cert), out_times, err);
    tls_identity_free(identity);
    if (key.len > 0) {
        explicit_bzero(key.ptr, key.len);
    }
    return rc;
}

static void learn(struct entry *e, enum tls_secret_state state, const struct error *why)
{
    bool same = e->state == state && (why == NULL || strcmp(e->why.msg, why->msg) == 0);
    e->state = state;
    if (state != TLS_SECRET_GOOD) {
        json_decref(e->data);
        e->data = NULL;
        e->version[0] = '\0';
        e->why = *why;
    }
    if (!same && state != TLS_SECRET_GOOD) {
        LOG_WARN("a TLS Secret cannot be used", LOG_STR("secret", e->key), LOG_ERR(why));
    }
    if (!same) {
        e->t->options.on_change(e->t->options.arg, e->ns, e->name);
    }
}

static void learn_secret(struct entry *e, const json_t *secret)
{
    struct error why = {0};
    char version[sizeof(e->version)];
    snprintf(version, sizeof(version), "%s/%s", jpeek_cstr(secret, "metadata.uid"),
             jpeek_cstr(secret, "metadata.resourceVersion"));
    if (e->state == TLS_SECRET_GOOD && strcmp(version, e->version) == 0) {
        return;
    }
    if (try_secret(secret, &e->times, &why) < 0) {
        (void)error_prefix(&why, why.code, "Secret \"%s\"", e->name);
        learn(e, TLS_SECRET_BAD, &why);
        return;
    }
    json_decref(e->data);
    e->data = json_pack("{s:O,s:O}", "tls.crt", jget(secret, "data.`tls.crt`"), "tls.key",
                        jget(secret, "data.`tls.key`"));
    memcpy(e->version, version, sizeof(version));
    e->state = TLS_SECRET_WAIT; /* new in any case */
    learn(e, TLS_SECRET_GOOD, NULL);
}

static void on_secret(void *arg, json_t *secret, const struct error *err)
{
    struct entry *e = arg;
    struct tls_secrets *t = e->t;
    e->call = NULL;
    t->calls--;
    if (t->closing) {
        maybe_closed(t);
        return;
    }
    e->due_ms = loop_now_ms(t->loop) + interval_ms(t);
    if (err == NULL) {
        learn_secret(e, secret);
    } else if (err->code == ERR_NOT_FOUND || err->code == ERR_DENIED) {
        learn(e, TLS_SECRET_ABSENT, err);
    } else {
        e->due_ms = loop_now_ms(t->loop) + RETRY_MS; /* the API is away: what was known stands */
    }
}

/* --- questions ----------------------------------------------------------------------------- */

static void read_again(struct entry *e, uint64_t now_ms)
{
    struct tls_secrets *t = e->t;
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_SECRET)),
        .ns = e->ns,
        .name = e->name,
        .timeout_ms = CALL_TIMEOUT_MS,
        .cb = on_secret,
        .arg = e,
    };
    if (e->call == NULL && kube_get(t->options.client, &call, &e->call, NULL) == 0) {
        t->calls++;
    } else if (e->call == NULL) {
        e->due_ms = now_ms + RETRY_MS;
    }
}

static void sweep(struct tls_secrets *t, uint64_t now_ms)
{
    uint64_t span = FORGET_CHECKS * interval_ms(t);
    if (now_ms < t->sweep_ms) {
        return;
    }
    t->sweep_ms = now_ms + span;
    map_foreach (it, &t->entries) {
        struct entry *e = it.value;
        if (e->call == NULL && now_ms - e->asked_ms > span) {
            (void)map_remove(&t->entries, it.key);
            entry_free(e);
        }
    }
}

static struct entry *entry_of(struct tls_secrets *t, const char *ns, const char *name)
{
    char key[KEY_MAX];
    int len = snprintf(key, sizeof(key), "%s/%s", ns, name);
    struct slice text = slice_of(key, len < 0 || len >= KEY_MAX ? KEY_MAX - 1 : (size_t)len);
    struct entry *e = map_get(&t->entries, text);
    if (e == NULL) {
        e = NEW(struct entry);
        e->t = t;
        e->key = slice_dup(text);
        e->ns = xstrdup(ns);
        e->name = strchr(e->key, '/') + 1;
        e->state = TLS_SECRET_WAIT;
        map_set(&t->entries, text, e);
    }
    return e;
}

void tls_secrets_ask(struct tls_secrets *t, const char *ns, const char *name,
                     struct tls_secret *out)
{
    *out = (struct tls_secret){.state = TLS_SECRET_WAIT, .again_ms = RETRY_MS};
    if (t->closing) {
        return;
    }
    uint64_t now_ms = loop_now_ms(t->loop);
    struct entry *e = entry_of(t, ns, name);
    e->asked_ms = now_ms;
    if (now_ms >= e->due_ms) {
        read_again(e, now_ms);
    }
    out->state = e->state;
    out->data = e->data;
    out->version = e->version;
    out->begins_s = e->times.begins_s;
    out->ends_s = e->times.ends_s;
    out->message = e->why.msg;
    out->again_ms = e->due_ms > now_ms ? e->due_ms - now_ms : RETRY_MS;
    sweep(t, now_ms);
}

void tls_secrets_count(const struct tls_secrets *t, size_t *out_all, size_t *out_bad)
{
    *out_all = 0;
    *out_bad = 0;
    if (t == NULL) {
        return;
    }
    map_foreach (it, &t->entries) {
        const struct entry *e = it.value;
        (*out_all)++;
        *out_bad += e->state == TLS_SECRET_BAD || e->state == TLS_SECRET_ABSENT ? 1 : 0;
    }
}

/* --- life ---------------------------------------------------------------------------------- */

struct tls_secrets *tls_secrets_new(struct loop *loop, const struct tls_secrets_options *options)
{
    struct tls_secrets *t = NEW(struct tls_secrets);
    t->loop = loop;
    t->options = *options;
    map_init(&t->entries, MAP_COPY_KEYS);
    return t;
}

void tls_secrets_close(struct tls_secrets *t, void (*cb)(void *arg), void *arg)
{
    if (t == NULL) {
        if (cb != NULL) {
            cb(arg);
        }
        return;
    }
    t->closing = true;
    t->close_cb = cb;
    t->close_arg = arg;
    map_foreach (it, &t->entries) {
        struct entry *e = it.value;
        if (e->call != NULL) {
            kube_cancel(e->call);
        }
    }
    maybe_closed(t);
}
