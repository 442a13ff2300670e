// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the Secret is there and fits; its texts go to the server, and each configuration
 * whose caBundle says something else is written. Once in ten minutes the ends of validity are
 * looked at. Failure modes: no Secret, or one of no use: made and written with the version that was
 * read; a conflict or a Secret that exists already means that another replica was first, and the
 * watch brings what it wrote. Whatever else fails is logged and tried again after a while.
 */
#include "controller/webhook_certs.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/kinds.h"
#include "serving/names.h"

enum {
    CHECK_MS = 10 * 60 * 1000,
    RETRY_MS = 2000,
    CALL_TIMEOUT_MS = 10000,
    BUNDLE_MAX = 128 << 10,
    CONFIGURATIONS = 2,
};

/* The Secret as cached: the whole object, since a renewal writes it back. */
struct secret_value {
    json_t *object;
};

/* A configuration as cached: its caBundle where all its webhooks have the same, else "". */
struct configuration_value {
    char *bundle;
};

struct configuration {
    struct webhook_certs *w;
    struct kube_kind kind;
    const char *name;
    struct kube_cache *cache;
    bool writing;
};

struct webhook_certs {
    struct kube_client *client;
    const char *ns;
    webhook_certs_cb on_certs;
    void *arg;
    struct kube_cache *secrets;
    struct configuration configurations[CONFIGURATIONS];
    struct timer check;
    struct certs certs;
    char *bundle; /* base64 of whom to trust; NULL: not known yet */
    bool writing; /* the Secret */
    bool news;    /* and it has changed meanwhile: the event may be faster than the answer */
    bool closing;
    size_t n_open;
    size_t n_calls;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void check(struct webhook_certs *w);
static void maybe_closed(struct webhook_certs *w);

static int64_t now_s(void)
{
    return clock_wall_ns() / (int64_t)CLOCK_NS_PER_S;
}

static void check_later(struct webhook_certs *w, uint64_t delay_ms)
{
    if (!w->closing) {
        timer_start(&w->check, delay_ms);
    }
}

/* --- the configurations -------------------------------------------------------------------- */

/* Edits the object in place; 1: nothing is to be done. */
static int set_bundle(void *arg, json_t *object, struct error *err)
{
    struct configuration *c = arg;
    json_t *webhooks = json_object_get(object, "webhooks");
    bool changed = false;
    size_t i;
    json_t *webhook;
    if (c->w->closing) {
        return error_set(err, ERR_CANCELED, "stopping");
    }
    json_array_foreach(webhooks, i, webhook)
    {
        json_t *client = json_object_get(webhook, "clientConfig");
        if (json_is_object(client) && !slice_eq_str(jpeek_str(client, "caBundle"), c->w->bundle)) {
            jset_text(client, "caBundle", c->w->bundle);
            changed = true;
        }
    }
    return changed ? 0 : 1;
}

static void on_bundle_written(void *arg, json_t *object, const struct error *err)
{
    struct configuration *c = arg;
    struct webhook_certs *w = c->w;
    c->writing = false;
    w->n_calls--;
    if (err != NULL && !w->closing) {
        LOG_WARN("cannot write the caBundle", LOG_STR("configuration", c->name), LOG_ERR(err));
        check_later(w, RETRY_MS);
    } else if (err == NULL) {
        LOG_INFO("caBundle written", LOG_STR("configuration", c->name));
    }
    (void)object;
    maybe_closed(w);
}

static void sync_configuration(struct configuration *c)
{
    const struct configuration_value *value = kube_cache_value(c->cache, NULL, c->name);
    struct error err = {0};
    if (value == NULL || c->writing || c->w->bundle == NULL || c->w->closing ||
        strcmp(value->bundle, c->w->bundle) == 0) {
        return;
    }
    struct kube_call call = {
        .kind = c->kind,
        .name = c->name,
        .timeout_ms = CALL_TIMEOUT_MS,
        .cb = on_bundle_written,
        .arg = c,
    };
    if (kube_retry_on_conflict(c->w->client, &call, set_bundle, NULL, &err) < 0) {
        LOG_WARN("cannot write the caBundle", LOG_STR("configuration", c->name), LOG_ERR(&err));
        check_later(c->w, RETRY_MS);
        return;
    }
    c->writing = true;
    c->w->n_calls++;
}

static int project_configuration(void *arg, const json_t *object, void *value, struct error *err)
{
    struct configuration_value *v = value;
    const char *first = jpeek_cstr(object, "webhooks[0].clientConfig.caBundle");
    size_t i;
    const json_t *webhook;
    (void)arg;
    (void)err;
    json_array_foreach(jpeek_arr(object, "webhooks"), i, webhook)
    {
        if (!slice_eq_str(jpeek_str(webhook, "clientConfig.caBundle"), first)) {
            first = "";
            break;
        }
    }
    v->bundle = xstrdup(first);
    return 0;
}

static void release_configuration(void *arg, void *value)
{
    struct configuration_value *v = value;
    (void)arg;
    free(v->bundle);
}

static void on_configuration(void *arg, const struct kube_entry *entry)
{
    (void)entry;
    sync_configuration(arg);
}

static void on_configuration_changed(void *arg, const struct kube_entry *entry, const void *old)
{
    (void)old;
    on_configuration(arg, entry);
}

/* --- the Secret ---------------------------------------------------------------------------- */

static int project_secret(void *arg, const json_t *object, void *value, struct error *err)
{
    struct secret_value *v = value;
    (void)arg;
    (void)err;
    v->object = json_deep_copy(object);
    return 0;
}

static void release_secret(void *arg, void *value)
{
    struct secret_value *v = value;
    (void)arg;
    json_decref(v->object);
}

static void on_secret_written(void *arg, json_t *object, const struct error *err)
{
    struct webhook_certs *w = arg;
    (void)object;
    w->writing = false;
    w->n_calls--;
    if (err != NULL && !w->closing) {
        if (err->code != ERR_CONFLICT && err->code != ERR_EXISTS) {
            LOG_WARN("cannot write the webhook's certificates",
                     LOG_STR("secret", WEBHOOK_CERTS_SECRET), LOG_ERR(err));
        }
    } else if (err == NULL) {
        LOG_INFO("webhook certificates written", LOG_STR("secret", WEBHOOK_CERTS_SECRET));
    }
    check_later(w, w->news ? 0 : RETRY_MS); /* normally the watch is faster */
    w->news = false;
    maybe_closed(w);
}

/* Makes what is needed from `now` (the caller's) and writes it over secret (NULL: none). */
static void renew(struct webhook_certs *w, struct certs *certs, enum certs_need need,
                  const json_t *secret)
{
    struct error err = {0};
    int rc = certs_renew(certs, need, w->ns, now_s(), &err);
    if (rc == 0) {
        CLEANUP(jfree) json_t *body = certs_secret(certs, w->ns, secret);
        struct kube_call call = {
            .kind = KUBE_KIND(kind_row(KIND_SECRET)),
            .ns = w->ns,
            .name = secret == NULL ? NULL : WEBHOOK_CERTS_SECRET,
            .body = body,
            .timeout_ms = CALL_TIMEOUT_MS,
            .cb = on_secret_written,
            .arg = w,
        };
        rc = (secret == NULL ? kube_create : kube_update)(w->client, &call, NULL, &err);
    }
    if (rc < 0) {
        LOG_WARN("cannot make the webhook's certificates", LOG_ERR(&err));
        check_later(w, RETRY_MS);
        return;
    }
    w->writing = true;
    w->n_calls++;
}

/* What the Secret says now is served, and said to the API server. */
static void use(struct webhook_certs *w, struct certs *certs)
{
    CLEANUP(strbuf_fini) struct strbuf bundle;
    strbuf_init(&bundle, BUNDLE_MAX);
    base64_append(&bundle, slice_str(certs->ca.cert_pem));
    certs_fini(&w->certs);
    w->certs = *certs;
    *certs = (struct certs){0};
    free(w->bundle);
    w->bundle = strbuf_take(&bundle, NULL);
    w->on_certs(w->arg, &w->certs);
}

static bool same_text(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static void check(struct webhook_certs *w)
{
    struct certs certs = {0};
    struct error err = {0};
    w->news |= w->writing;
    if (w->closing || w->writing || !kube_cache_synced(w->secrets)) {
        return;
    }
    const struct secret_value *value = kube_cache_value(w->secrets, w->ns, WEBHOOK_CERTS_SECRET);
    const json_t *secret = value == NULL ? NULL : value->object;
    check_later(w, random_jitter_ms(CHECK_MS, 20));
    enum certs_need need = CERTS_ALL;
    if (secret != NULL && certs_read(secret, &certs, &err) == 0) {
        need = certs_need(&certs, w->ns, now_s());
    } else if (secret != NULL && json_object_size(jpeek_obj(secret, "data")) > 0) {
        LOG_WARN("the webhook's certificates are of no use, making new ones", LOG_ERR(&err));
    }
    if (need == CERTS_FINE || need == CERTS_CA) {
        bool known = same_text(certs.ca.cert_pem, w->certs.ca.cert_pem) &&
                     same_text(certs.server.cert_pem, w->certs.server.cert_pem) &&
                     same_text(certs.server.key_pem, w->certs.server.key_pem);
        if (!known && need == CERTS_FINE) {
            use(w, &certs);
        }
    }
    if (need != CERTS_FINE) {
        renew(w, &certs, need, secret);
    }
    certs_fini(&certs);
    for (size_t i = 0; i < CONFIGURATIONS; i++) {
        sync_configuration(&w->configurations[i]);
    }
}

static void on_secret(void *arg, const struct kube_entry *entry)
{
    (void)entry;
    check(arg);
}

static void on_secret_changed(void *arg, const struct kube_entry *entry, const void *old)
{
    (void)old;
    on_secret(arg, entry);
}

static void on_secrets_synced(void *arg)
{
    check(arg);
}

static void on_check(struct timer *timer)
{
    check(timer->data);
}

/* --- life ---------------------------------------------------------------------------------- */

static int start_configuration(struct webhook_certs *w, size_t i, const char *plural,
                               const char *name, struct error *err)
{
    char selector[128];
    struct configuration *c = &w->configurations[i];
    *c = (struct configuration){
        .w = w, .kind = {"admissionregistration.k8s.io", "v1", plural}, .name = name};
    snprintf(selector, sizeof(selector), "metadata.name=%s", name);
    struct kube_cache_options options = {
        .kind = c->kind,
        .field_selector = selector,
        .value_size = sizeof(struct configuration_value),
        .project = project_configuration,
        .release = release_configuration,
        .on_add = on_configuration,
        .on_update = on_configuration_changed,
        .arg = c,
    };
    int rc = kube_cache_start(w->client, &options, &c->cache, err);
    w->n_open += rc == 0;
    return rc;
}

static int start_secrets(struct webhook_certs *w, struct error *err)
{
    struct kube_cache_options options = {
        .kind = KUBE_KIND(kind_row(KIND_SECRET)),
        .ns = w->ns,
        .field_selector = "metadata.name=" WEBHOOK_CERTS_SECRET,
        .value_size = sizeof(struct secret_value),
        .project = project_secret,
        .release = release_secret,
        .on_add = on_secret,
        .on_update = on_secret_changed,
        .on_delete = on_secret,
        .on_synced = on_secrets_synced,
        .arg = w,
    };
    int rc = kube_cache_start(w->client, &options, &w->secrets, err);
    w->n_open += rc == 0;
    return rc;
}

int webhook_certs_start(const struct webhook_certs_options *options, struct webhook_certs **out,
                        struct error *err)
{
    struct webhook_certs *w = NEW(struct webhook_certs);
    w->client = options->client;
    w->ns = options->system_namespace;
    w->on_certs = options->on_certs;
    w->arg = options->arg;
    timer_init(&w->check, kube_client_loop(w->client), on_check, w);
    w->n_open = 1;
    int rc = start_configuration(w, 0, "mutatingwebhookconfigurations", WEBHOOK_DEFAULTING, err);
    if (rc == 0) {
        rc = start_configuration(w, 1, "validatingwebhookconfigurations", WEBHOOK_VALIDATION, err);
    }
    rc = rc == 0 ? start_secrets(w, err) : rc;
    if (rc < 0) {
        webhook_certs_close(w, NULL, NULL);
        return rc;
    }
    *out = w;
    return 0;
}

/* A write that is under way may still end: only then is everything freed. */
static void maybe_closed(struct webhook_certs *w)
{
    if (!w->closing || w->n_open > 0 || w->n_calls > 0) {
        return;
    }
    void (*cb)(void *arg) = w->close_cb;
    void *arg = w->close_arg;
    certs_fini(&w->certs);
    free(w->bundle);
    free(w);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_part_closed(void *arg)
{
    struct webhook_certs *w = arg;
    w->n_open--;
    maybe_closed(w);
}

static void on_timer_closed(struct timer *timer)
{
    on_part_closed(timer->data);
}

void webhook_certs_close(struct webhook_certs *w, void (*cb)(void *arg), void *arg)
{
    if (w == NULL || w->closing) {
        return;
    }
    w->closing = true;
    w->close_cb = cb;
    w->close_arg = arg;
    timer_close(&w->check, on_timer_closed);
    for (size_t i = 0; i < CONFIGURATIONS; i++) {
        if (w->configurations[i].cache != NULL) {
            kube_cache_close(w->configurations[i].cache, on_part_closed, w);
        }
    }
    if (w->secrets != NULL) {
        kube_cache_close(w->secrets, on_part_closed, w);
    }
}
