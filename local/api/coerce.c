// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: what a client sent is brought into the form of its kind: unknown fields go, and are named
 * in warnings or refused as fieldValidation says; then its types are looked at. The sentences may
 * be longer than a struct error holds: they stand in the call.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/schema_check.h"
#include "serving/schema_prune.h"
#include "local/api/call.h"

#define MESSAGE_MAX (64u << 10)

/* Keeps the sentence whole; err has its beginning. */
static int refuse(struct call *c, enum err_code code, const struct strbuf *message,
                  struct error *err)
{
    free(c->refusal);
    c->refusal = xstrdup(strbuf_ok(message) ? message->ptr : "the object is not usable");
    return error_set(err, code, "%s", c->refusal);
}

/* The outcome of a patch that cannot be used: the sentence shows it. */
static void append_patched(const json_t *object, struct strbuf *out)
{
    CLEANUP(cleanup_free) char *text = jdump_str(object);
    (void)strbuf_append_str(out, " \"\" is invalid: patch: Invalid value: ");
    (void)strbuf_append_json(out, slice_str(text));
    (void)strbuf_append_str(out, ": ");
}

static void append_unusable(const struct call *c, const json_t *object, bool patched,
                            struct strbuf *out)
{
    const struct kind *kind = c->route.kind;
    if (patched) {
        append_patched(object, out);
    } else {
        (void)strbuf_appendf(out, "%s in version \"%s\" cannot be handled as a %s: ", kind->kind,
                             kind->version, kind->kind);
    }
}

static int refuse_object(struct call *c, const json_t *object, bool patched, struct slice why,
                         struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 8u << 20);
    append_unusable(c, object, patched, &out);
    (void)strbuf_append_slice(&out, why);
    return refuse(c, patched ? ERR_INVALID : ERR_PROTOCOL, &out, err);
}

static int refuse_names(struct call *c, const json_t *object, const json_t *sentences, bool patched,
                        struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&why, MESSAGE_MAX);
    (void)strbuf_append_str(&why, "strict decoding error: ");
    size_t i;
    json_t *sentence;
    json_array_foreach(sentences, i, sentence)
    {
        (void)strbuf_appendf(&why, "%s%s", i > 0 ? ", " : "", json_string_value(sentence));
    }
    return refuse_object(c, object, patched, strbuf_slice(&why), err);
}

/* The words about a body that does not say its kind show the body, and its beginning again. */
static int refuse_nameless(struct call *c, struct error *err)
{
    struct slice body = c->rq->body;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 8u << 20);
    (void)strbuf_appendf(&out,
                         "the object provided is unrecognized (must be of type %s): Object 'Kind' "
                         "is missing in '",
                         c->route.kind->kind);
    (void)strbuf_append_slice(&out, body);
    (void)strbuf_append_str(&out, "' (");
    (void)strbuf_append_slice(&out, slice_sub(body, 0, 30));
    (void)strbuf_appendf(&out, "%s)", body.len > 30 ? " ..." : "");
    return refuse(c, ERR_PROTOCOL, &out, err);
}

int check_kind(struct call *c, struct error *err)
{
    const struct kind *kind = c->route.kind;
    const char *name = jpeek_cstr(c->body, "kind"), *version = jpeek_cstr(c->body, "apiVersion");
    char want[128];
    if (!kind_is_custom(kind)) {
        return 0; /* the store looks at what is there: the address says the rest */
    }
    if (name[0] == '\0') {
        return refuse_nameless(c, err);
    }
    (void)snprintf(want, sizeof(want), "%s/%s", kind->group, kind->version);
    if (strcmp(version, want) != 0) {
        return error_set(err, ERR_PROTOCOL,
                         "the API version in the data (%.200s) does not match the expected API "
                         "version (%s)",
                         version, want);
    }
    if (strcmp(name, kind->kind) != 0) {
        return error_set(
            err, ERR_INVALID,
            "%.200s.%s \"%.253s\" is invalid: kind: Invalid value: \"%.200s\": must be "
            "%s",
            name, kind->group, jpeek_cstr(c->body, "metadata.name"), name, kind->kind);
    }
    return 0;
}

static void add_sentences(json_t *to, const char *what, const json_t *names)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        CLEANUP(cleanup_free)
        char *text = xasprintf("%s field \"%s\"", what, json_string_value(name));
        (void)json_array_append_new(to, json_string(text));
    }
}

static int check_types(struct call *c, const json_t *object, struct error *err)
{
    json_t *causes = c->route.sub == ROUTE_SUB_STATUS ? schema_check_status(c->route.kind, object)
                                                      : schema_check(c->route.kind, object);
    if (causes == NULL) {
        return 0;
    }
    json_decref(c->causes);
    c->causes = causes;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, MESSAGE_MAX);
    const char *name =
        c->route.name[0] != '\0' ? c->route.name : jpeek_cstr(object, "metadata.name");
    (void)strbuf_appendf(&out, "%s.%s \"%s\" is invalid: ", c->route.kind->kind,
                         c->route.kind->group, name);
    schema_causes_text(causes, &out);
    return refuse(c, ERR_INVALID, &out, err);
}

int coerce(struct call *c, json_t *object, bool patched, struct error *err)
{
    const struct kind *kind = c->route.kind;
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&why, MESSAGE_MAX);
    if (!schema_decodes(kind, object, &why)) {
        return refuse_object(c, object, patched, strbuf_slice(&why), err);
    }
    CLEANUP(jfree) json_t *unknown = c->silent ? NULL : json_array();
    CLEANUP(jfree) json_t *sentences = json_array();
    CLEANUP(jfree) json_t *before = c->strict && patched ? json_deep_copy(object) : NULL;
    schema_prune(kind, object, unknown);
    if (!c->silent) {
        add_sentences(sentences, "duplicate", c->duplicates);
        add_sentences(sentences, "unknown", unknown);
    }
    if (c->strict && json_array_size(sentences) > 0) {
        return refuse_names(c, patched ? before : object, sentences, patched, err);
    }
    json_decref(c->warnings);
    c->warnings = json_incref(sentences);
    return kind_is_custom(kind) ? check_types(c, object, err) : 0;
}
