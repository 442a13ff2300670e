// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: what all sources have is read in one place, then each kind's own. What cannot be used (the
 * webhook has refused it, or an older one has not) is kept with a sentence that says why.
 */
#include "broker/source_object.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "eventing/period.h"

#define API               "sources.lull.dev/v1alpha1"
#define ONCE_MS_DEFAULT   (3600 * 1000)
#define REDIS_GROUP       "lull"
#define PARALLELISM       10
#define PARALLELISM_MAX   1000
#define DATA_MAX_DEFAULT  (256 << 10)
#define SETTLE_MS_DEFAULT 1000

void source_common_read(const json_t *object, const char *api, const char *plural,
                        struct source_common *c)
{
    const json_t *delivery = jpeek_obj(object, "spec.delivery");
    if (delivery == NULL || retry_policy_read(delivery, &c->policy, NULL) < 0) {
        retry_policy_default(&c->policy);
    }
    c->sink = jpeek_dup(object, "status.sinkUri");
    c->dead_letter = jpeek_dup(object, "status.deadLetterSinkUri");
    c->source = jpeek_dup(object, "spec.event.source");
    c->own_source = c->source != NULL;
    if (c->source == NULL) {
        c->source =
            xasprintf("/apis/%s/namespaces/%s/%s/%s", api, jpeek_cstr(object, "metadata.namespace"),
                      plural, jpeek_cstr(object, "metadata.name"));
    }
    c->type = jpeek_dup(object, "spec.event.type");
    const json_t *overrides = jpeek_obj(object, "spec.ceOverrides.extensions");
    c->overrides = json_object_size(overrides) == 0 ? NULL : json_deep_copy(overrides);
}

void source_common_release(struct source_common *c)
{
    free(c->sink);
    free(c->dead_letter);
    free(c->source);
    free(c->type);
    json_decref(c->overrides);
}

static void read_ref(const json_t *selector, struct secret_ref *out)
{
    out->name = slice_dup(jpeek_str(selector, "name"));
    out->key = slice_dup(jpeek_str(selector, "key"));
}

static void release_ref(struct secret_ref *ref)
{
    free(ref->name);
    free(ref->key);
}

static unsigned read_parallelism(const json_t *spec)
{
    int64_t n = jpeek_i64(spec, "parallelism");
    return n >= 1 && n <= PARALLELISM_MAX ? (unsigned)n : PARALLELISM;
}

static int64_t period_or(const json_t *object, const char *path, int64_t or)
{
    struct slice text = jpeek_str(object, path);
    int64_t ms = or ;
    return slice_empty(text) || period_parse_ms(text, &ms, NULL) < 0 || ms < 0 ? or : ms;
}

/* --- WebhookSource ------------------------------------------------------------------------- */

static void read_rule(const json_t *spec, struct webhook_object *h)
{
    struct signature_rule *rule = &h->rule;
    struct slice scheme = jpeek_str(spec, "signature.scheme");
    rule->scheme = signature_scheme_of(scheme);
    if (rule->scheme == SIGNATURE_SCHEMES) {
        error_set(&h->common.trouble, ERR_INVALID, "spec.signature.scheme \"%.*s\" is not known",
                  SLICE_FMT(slice_sub(scheme, 0, 100)));
    }
    h->header = slice_dup(jpeek_str(spec, "signature.header"));
    h->prefix = slice_dup(jpeek_str(spec, "signature.prefix"));
    rule->header = h->header;
    rule->prefix = h->prefix;
    rule->base64 = slice_eq_str(jpeek_str(spec, "signature.encoding"), "base64");
    rule->tolerance_s = jget(spec, "signature.toleranceSeconds") == NULL
                            ? SIGNATURE_TOLERANCE_S
                            : jpeek_i64(spec, "signature.toleranceSeconds");
    if (rule->scheme == SIGNATURE_GENERIC && h->header[0] == '\0') {
        error_set(&h->common.trouble, ERR_INVALID, "spec.signature.header is missing");
    }
}

int webhook_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct webhook_object *h = value;
    const json_t *spec = jpeek_obj(object, "spec");
    size_t i;
    json_t *secret;
    source_common_read(object, API, "webhooksources", &h->common);
    read_rule(spec, h);
    json_array_foreach(jpeek_arr(spec, "signature.secrets"), i, secret)
    {
        const json_t *selector = jpeek_obj(secret, "secretKeyRef");
        if (selector != NULL && h->n_secrets < SOURCE_SECRETS_MAX) {
            read_ref(selector, &h->secrets[h->n_secrets++]);
        }
    }
    h->type_header = jpeek_dup(spec, "event.typeHeader");
    h->type_field = jpeek_dup(spec, "event.typeField");
    h->id_header = jpeek_dup(spec, "event.idHeader");
    h->id_field = jpeek_dup(spec, "event.idField");
    h->body_max = jpeek_i64(spec, "maxBodyBytes");
    h->once_ms = period_or(spec, "deduplicate", ONCE_MS_DEFAULT);
    return 0;
}

void webhook_object_release(void *arg, void *value)
{
    struct webhook_object *h = value;
    source_common_release(&h->common);
    for (size_t i = 0; i < h->n_secrets; i++) {
        release_ref(&h->secrets[i]);
    }
    free(h->header);
    free(h->prefix);
    free(h->type_header);
    free(h->type_field);
    free(h->id_header);
    free(h->id_field);
}

/* --- RedisSource --------------------------------------------------------------------------- */

static void read_stream(const json_t *stream, struct redis_object *r)
{
    r->key = jpeek_dup(stream, "key");
    r->group = jpeek_dup(stream, "group");
    r->group = r->group == NULL ? xstrdup(REDIS_GROUP) : r->group;
    r->from_first = slice_eq_str(jpeek_str(stream, "from"), "first");
    r->data_field = jpeek_dup(stream, "dataField");
}

static void read_list(const json_t *list, struct redis_object *r)
{
    r->is_list = true;
    r->key = jpeek_dup(list, "key");
    r->from_left = slice_eq_str(jpeek_str(list, "end"), "left");
    r->processing = jpeek_dup(list, "processing");
    if (r->processing == NULL && r->key != NULL) {
        r->processing = xasprintf("%s:processing", r->key);
    }
}

int redis_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct redis_object *r = value;
    const json_t *spec = jpeek_obj(object, "spec");
    const json_t *stream = jpeek_obj(spec, "stream");
    const json_t *list = jpeek_obj(spec, "list");
    const json_t *selector = jpeek_obj(spec, "urlFrom.secretKeyRef");
    source_common_read(object, API, "redissources", &r->common);
    r->url = jpeek_dup(spec, "url");
    if (r->url == NULL && selector != NULL) {
        read_ref(selector, &r->url_from);
    }
    if (stream != NULL) {
        read_stream(stream, r);
    } else {
        read_list(list, r);
    }
    r->content_type = jpeek_dup(spec, "contentType");
    r->parallelism = read_parallelism(spec);
    if (r->key == NULL) {
        error_set(&r->common.trouble, ERR_INVALID, "spec.stream.key and spec.list.key are missing");
    } else if (r->url == NULL && r->url_from.name == NULL) {
        error_set(&r->common.trouble, ERR_INVALID, "spec.url and spec.urlFrom are missing");
    }
    json_t *shape = json_pack("[s*,O*,O*,O*]", r->url, jget(spec, "urlFrom"), stream, list);
    r->shape = jdump_str(shape);
    json_decref(shape);
    return 0;
}

void redis_object_release(void *arg, void *value)
{
    struct redis_object *r = value;
    source_common_release(&r->common);
    release_ref(&r->url_from);
    free(r->url);
    free(r->key);
    free(r->group);
    free(r->data_field);
    free(r->processing);
    free(r->content_type);
    free(r->shape);
}

/* --- FileSource ---------------------------------------------------------------------------- */

int file_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct file_object *f = value;
    const json_t *spec = jpeek_obj(object, "spec");
    struct slice mode = jpeek_str(spec, "mode");
    source_common_read(object, API, "filesources", &f->common);
    f->path = jpeek_dup(spec, "path");
    f->pattern = jpeek_dup(spec, "pattern");
    f->content_type = jpeek_dup(spec, "contentType");
    f->mode = slice_eq_str(mode, "data")        ? FILE_DATA
              : slice_eq_str(mode, "reference") ? FILE_REFERENCE
                                                : FILE_AUTO;
    f->data_max =
        jget(spec, "maxDataBytes") == NULL ? DATA_MAX_DEFAULT : jpeek_i64(spec, "maxDataBytes");
    f->settle_ms = period_or(spec, "settle", SETTLE_MS_DEFAULT);
    f->keep = slice_eq_str(jpeek_str(spec, "after"), "keep");
    f->parallelism = read_parallelism(spec);
    if (f->path == NULL || f->path[0] != '/') {
        error_set(&f->common.trouble, ERR_INVALID, "spec.path is no absolute path");
    }
    return 0;
}

void file_object_release(void *arg, void *value)
{
    struct file_object *f = value;
    source_common_release(&f->common);
    free(f->path);
    free(f->pattern);
    free(f->content_type);
}

/* --- events -------------------------------------------------------------------------------- */

int source_finish_event(const struct source_common *c, struct event *ev, struct error *err)
{
    const char *name;
    json_t *value;
    int rc = 0;
    json_object_foreach(c->overrides, name, value)
    {
        struct slice text = slice_str(json_string_value(value));
        CLEANUP(cleanup_free) char *lower = xstrdup(name); /* the API takes capitals too */
        for (char *at = lower; *at != '\0'; at++) {
            *at = (char)tolower((unsigned char)*at);
        }
        rc = rc < 0 ? rc : event_set(ev, slice_str(lower), text, err);
    }
    return rc < 0 ? rc : event_check(ev, err);
}
