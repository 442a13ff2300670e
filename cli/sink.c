// SPDX-License-Identifier: Apache-2.0
//
// A table of prefixes. Failure mode: a prefix or scheme that is none of them.
#include "cli/sink.h"

#include "base/mem.h"
#include "json/jget.h"
#include "serving/kinds.h"

static const struct {
    const char *prefix;
    enum kind_id kind;
} FORMS[] = {{"ksvc", KIND_SERVICE}, {"svc", KIND_CORE_SERVICE}, {"broker", KIND_BROKER}};

// "NAME" or "NAME:NAMESPACE"; NULL: neither.
static json_t *ref_to(enum kind_id kind, struct slice text)
{
    const struct kind *row = kind_row(kind);
    struct slice rest = text, name = SLICE_EMPTY, ns = SLICE_EMPTY;
    bool named = slice_split(&rest, ':', &name), spaced = slice_split(&rest, ':', &ns);

    if (!named || name.len == 0 || (spaced && ns.len == 0) || rest.len > 0 ||
        slice_find(text, '/') >= 0) {
        return NULL;
    }
    CLEANUP(cleanup_free) char *its_name = slice_dup(name);
    CLEANUP(cleanup_free) char *its_ns = spaced ? slice_dup(ns) : NULL;
    return json_pack("{s:{s:s, s:s, s:s, s:s*}}", "ref", "apiVersion", kind_api_version(row),
                     "kind", row->kind, "name", its_name, "namespace", its_ns);
}

int sink_parse(const char *text, json_t **out, struct error *err)
{
    struct slice all = slice_str(text);
    ptrdiff_t colon = slice_find(all, ':');

    *out = NULL;
    if (slice_starts_with(all, SLICE_LIT("http://")) ||
        slice_starts_with(all, SLICE_LIT("https://"))) {
        *out = json_pack("{s:s}", "uri", text);
    } else if (colon < 0) {
        *out = ref_to(KIND_SERVICE, all);
    }
    for (size_t i = 0; colon > 0 && i < ARRAY_LEN(FORMS); i++) {
        struct slice name = slice_sub(all, (size_t)colon + 1, all.len - (size_t)colon - 1);
        if (slice_eq_str(slice_sub(all, 0, (size_t)colon), FORMS[i].prefix)) {
            *out = ref_to(FORMS[i].kind, name);
        }
    }
    return *out ? 0
                : error_set(err, ERR_INVALID,
                            "\"%s\" is no destination: NAME (of a function), ksvc:NAME, svc:NAME, "
                            "broker:NAME (each with :NAMESPACE perhaps) or http(s)://…",
                            text);
}

void sink_print(const json_t *object, const json_t *destination, struct strbuf *out)
{
    const json_t *ref = jpeek_obj(destination, "ref");
    const struct kind *kind =
        kind_by_object(jpeek_cstr(ref, "apiVersion"), jpeek_cstr(ref, "kind"));
    const char *prefix = jpeek_cstr(ref, "kind");

    for (size_t i = 0; kind && i < ARRAY_LEN(FORMS); i++) {
        prefix = FORMS[i].kind == kind->id ? FORMS[i].prefix : prefix;
    }
    if (ref) {
        const char *ns = jpeek_cstr(ref, "namespace");
        bool same = slice_eq_str(jpeek_str(object, "metadata.namespace"), ns);
        (void)strbuf_appendf(out, "%s:%s%s%s", prefix, jpeek_cstr(ref, "name"),
                             ns[0] && !same ? ":" : "", ns[0] && !same ? ns : "");
    }
    (void)strbuf_append_str(out, jpeek_cstr(destination, "uri"));
}
