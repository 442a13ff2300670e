// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one record per reference, which a question under way keeps alive. Happy path: read,
 * decoded, kept; the same again after a while. Failure: a Secret or key that is not there has no
 * value any more; while the API cannot be asked the old value stands.
 */
#include "broker/source_secrets.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "json/jget.h"

#define AGAIN_MS   15000
#define CROWD_MS   100 /* more for each */
#define MISSING_MS 1000
#define DOUBT_MS   3000
#define CALL_MS    5000
#define VALUE_MAX  (64u << 10)

struct source_secret {
    struct source_secrets *owner; /* NULL: gone, free it when the answer comes */
    char *name;
    char *key;
    char *value; /* NULL: not known */
    size_t len;
    bool asking;
    uint64_t asked_ms;
    struct error trouble;
};

static void wipe(struct source_secret *s)
{
    if (s->value != NULL) {
        explicit_bzero(s->value, s->len);
        free(s->value);
    }
    s->value = NULL;
    s->len = 0;
}

static void drop(struct source_secret *s)
{
    s->owner = NULL;
    if (!s->asking) {
        wipe(s);
        free(s->name);
        free(s->key);
        free(s);
    }
}

void source_secrets_init(struct source_secrets *s, struct kube_client *client, const char *ns)
{
    *s = (struct source_secrets){.client = client, .ns = xstrdup(ns)};
}

void source_secrets_use(struct source_secrets *s, const struct secret_ref *refs, size_t n)
{
    struct source_secret *old[SOURCE_SECRETS_MAX];
    size_t n_old = s->n;
    memcpy(old, s->items, sizeof(old));
    s->n = 0;
    for (size_t i = 0; i < n && i < SOURCE_SECRETS_MAX; i++) {
        struct source_secret *one = NULL;
        for (size_t k = 0; k < n_old && one == NULL; k++) {
            if (old[k] != NULL && strcmp(old[k]->name, refs[i].name) == 0 &&
                strcmp(old[k]->key, refs[i].key) == 0) {
                one = old[k];
                old[k] = NULL;
            }
        }
        if (one == NULL) {
            one = NEW(struct source_secret);
            one->owner = s;
            one->name = xstrdup(refs[i].name);
            one->key = xstrdup(refs[i].key);
            error_set(&one->trouble, ERR_UNAVAILABLE, "Secret %.253s is not read yet", one->name);
            s->due_ms = 0;
        }
        s->items[s->n++] = one;
    }
    for (size_t k = 0; k < n_old; k++) {
        if (old[k] != NULL) {
            drop(old[k]);
        }
    }
}

void source_secrets_fini(struct source_secrets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        drop(s->items[i]);
    }
    s->n = 0;
    free(s->ns);
    s->ns = NULL;
}

/* --- reading ------------------------------------------------------------------------------- */

static void learn(struct source_secret *s, const json_t *secret)
{
    const json_t *text = json_object_get(jpeek_obj(secret, "data"), s->key);
    struct strbuf value;
    strbuf_init(&value, VALUE_MAX);
    if (!json_is_string(text)) {
        wipe(s);
        error_set(&s->trouble, ERR_NOT_FOUND, "Secret %.253s has no key %.253s", s->name, s->key);
    } else if (base64_decode(slice_str(json_string_value(text)), &value, &s->trouble) < 0) {
        wipe(s);
    } else if (s->value == NULL || !slice_eq(strbuf_slice(&value), slice_of(s->value, s->len))) {
        wipe(s);
        s->value = strbuf_take(&value, &s->len);
        s->trouble = (struct error){0};
        if (s->owner->on_change != NULL) {
            s->owner->on_change(s->owner->arg);
        }
        return;
    }
    if (value.len > 0) {
        explicit_bzero(value.ptr, value.len);
    }
    strbuf_fini(&value);
}

static void on_answer(void *arg, json_t *object, const struct error *err)
{
    struct source_secret *s = arg;
    s->asking = false;
    if (s->owner == NULL) {
        drop(s);
        return;
    }
    if (object != NULL) {
        learn(s, object);
    } else if (err->code == ERR_NOT_FOUND) {
        wipe(s);
        error_set(&s->trouble, ERR_NOT_FOUND, "Secret %.253s is not there", s->name);
    } else if (s->value == NULL) {
        error_copy(&s->trouble, err);
    }
    if (s->owner != NULL && s->value == NULL) {
        uint64_t soon = loop_now_ms(kube_client_loop(s->owner->client)) + MISSING_MS;
        s->owner->due_ms = soon < s->owner->due_ms ? soon : s->owner->due_ms;
    }
}

void source_secrets_tick(struct source_secrets *s, uint64_t now_ms, size_t crowd)
{
    struct error err;
    if (s->n == 0 || now_ms < s->due_ms) {
        return;
    }
    s->due_ms = now_ms + AGAIN_MS + crowd * CROWD_MS;
    for (size_t i = 0; i < s->n; i++) {
        struct source_secret *one = s->items[i];
        struct kube_call call = {
            .kind = {"", "v1", "secrets"},
            .ns = s->ns,
            .name = one->name,
            .timeout_ms = CALL_MS,
            .cb = on_answer,
            .arg = one,
        };
        if (!one->asking) {
            one->asking = kube_get(s->client, &call, NULL, &err) == 0;
            one->asked_ms = now_ms;
        }
    }
}

void source_secrets_doubt(struct source_secrets *s, uint64_t now_ms)
{
    uint64_t asked_ms = s->n == 0 ? now_ms : s->items[0]->asked_ms;
    uint64_t due_ms = asked_ms + DOUBT_MS;
    s->due_ms = due_ms < s->due_ms ? due_ms : s->due_ms;
}

/* --- what is known ------------------------------------------------------------------------- */

size_t source_secrets_values(const struct source_secrets *s, struct slice out[static 1])
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i]->value != NULL) {
            out[n++] = slice_of(s->items[i]->value, s->items[i]->len);
        }
    }
    return n;
}

const char *source_secrets_trouble(const struct source_secrets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i]->value == NULL) {
            return s->items[i]->trouble.msg;
        }
    }
    return NULL;
}
