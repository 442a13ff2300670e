// SPDX-License-Identifier: Apache-2.0
/*
 * The path of a call: /api or /apis, group, version, namespace, plural, name, sub-resource, and the
 * query. Everything that is not plain in a URL is percent-encoded. Fails only by being too long
 * for the server, which says so itself.
 */
#include "base/strbuf.h"
#include "kube/client.h"

enum { PATH_BYTES_MAX = 16 << 10 };

static void append_encoded(struct strbuf *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            strbuf_append_char(out, *p);
        } else {
            strbuf_appendf(out, "%%%02X", c);
        }
    }
}

static void append_query(struct strbuf *out, char *sep, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        strbuf_appendf(out, "%c%s=", *sep, key);
        append_encoded(out, value);
        *sep = '&';
    }
}

static void append_segment(struct strbuf *out, const char *text)
{
    strbuf_append_char(out, '/');
    append_encoded(out, text);
}

char *kube_path(const struct kube_call *call)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, PATH_BYTES_MAX);
    strbuf_append_str(&out, call->kind.group[0] == '\0' ? "/api" : "/apis");
    if (call->kind.group[0] != '\0') {
        append_segment(&out, call->kind.group);
    }
    append_segment(&out, call->kind.version);
    if (call->ns != NULL && call->ns[0] != '\0') {
        strbuf_append_str(&out, "/namespaces");
        append_segment(&out, call->ns);
    }
    if (call->kind.plural != NULL) {
        append_segment(&out, call->kind.plural);
    }
    if (call->name != NULL) {
        append_segment(&out, call->name);
    }
    if (call->subresource != NULL) {
        append_segment(&out, call->subresource);
    }
    char sep = '?';
    char limit[32] = "";
    if (call->limit > 0) {
        snprintf(limit, sizeof(limit), "%lld", (long long)call->limit);
    }
    append_query(&out, &sep, "labelSelector", call->label_selector);
    append_query(&out, &sep, "fieldSelector", call->field_selector);
    append_query(&out, &sep, "limit", limit);
    append_query(&out, &sep, "continue", call->continue_token);
    append_query(&out, &sep, "dryRun", call->dry_run ? "All" : NULL);
    append_query(&out, &sep, "fieldValidation", call->field_validation);
    append_query(&out, &sep, "fieldManager", call->field_manager);
    append_query(&out, &sep, "force", call->field_manager != NULL ? "true" : NULL);
    return strbuf_take(&out, NULL);
}
