// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the address of what `ref` names, with `uri` relative to it, or `uri` alone. Failure
 * modes: nothing of that name, no address yet, a kind without addresses, another scheme than http.
 */
#include "controller/destination.h"

#include <stdarg.h>

#include "json/jget.h"
#include "json/jparse.h"
#include "controller/meta.h"

#define DEAD_LETTER "DeadLetterSinkResolved"

static bool fails(char message[static ERROR_MSG_MAX], const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool fails(char message[static ERROR_MSG_MAX], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, ERROR_MSG_MAX, fmt, ap);
    va_end(ap);
    return false;
}

enum kind_id destination_kind(const json_t *ref)
{
    const struct kind *kind =
        kind_by_object(jpeek_cstr(ref, "apiVersion"), jpeek_cstr(ref, "kind"));
    bool fits = kind != NULL && (kind->id == KIND_SERVICE || kind->id == KIND_ROUTE ||
                                 kind->id == KIND_CORE_SERVICE || kind->id == KIND_BROKER);
    return fits ? kind->id : KIND_COUNT;
}

/* The name by which a Service is called inside, or (own) its address; a Broker's own address. */
static bool address_of(const struct reconcile_env *env, const json_t *ref, const char *ns, bool own,
                       struct strbuf *url, char message[static ERROR_MSG_MAX])
{
    const struct network_config *network = &env->settings->network;
    const char *name = jpeek_cstr(ref, "name");
    enum kind_id kind = destination_kind(ref);
    if (kind == KIND_COUNT) {
        return fails(
            message,
            "%.100s %.60s has no address: ref must name a Service or Route of "
            "serving.knative.dev/v1, a Service of v1 or a Broker of eventing.knative.dev/v1",
            jpeek_cstr(ref, "apiVersion"), jpeek_cstr(ref, "kind"));
    }
    const struct kind *row = kind_row(kind);
    CLEANUP(jfree) json_t *object = env->get(env->arg, kind, ns, name);
    if (object == NULL || meta_deleting(object)) {
        return fails(message, "failed to get object %.63s/%.63s: %s%s%s \"%.63s\" not found", ns,
                     name, row->plural, row->group[0] == '\0' ? "" : ".", row->group, name);
    }
    const char *address = jpeek_cstr(object, "status.address.url");
    if (kind != KIND_CORE_SERVICE && address[0] == '\0') {
        return fails(message,
                     "address not set for Kind = %s, Namespace = %.63s, Name = %.63s, APIVersion = "
                     "%s, Group = , Address = ",
                     row->kind, ns, name, kind_api_version(row));
    }
    if (kind == KIND_BROKER || (own && kind != KIND_CORE_SERVICE)) {
        (void)strbuf_append_str(url, address);
    } else {
        (void)strbuf_appendf(url, "http://%s.%s.svc.%s", name, ns, network->cluster_domain);
    }
    return true;
}

/* Where the path of an absolute URL begins. */
static size_t path_at(struct slice url)
{
    ptrdiff_t slashes = slice_find(url, '/');
    size_t at = slashes < 0 ? url.len : (size_t)slashes + 2;
    while (at < url.len && strchr("/?#", url.ptr[at]) == NULL) {
        at++;
    }
    return at < url.len ? at : url.len;
}

/* RFC 3986, 5.2.2, for a reference without scheme and authority; dots in paths stay. */
static void append_relative(struct strbuf *url, struct slice uri)
{
    size_t path = path_at(strbuf_slice(url));
    if (uri.len == 0) {
        return;
    }
    if (uri.ptr[0] == '/') {
        strbuf_truncate(url, path);
    } else if (uri.ptr[0] != '?' && uri.ptr[0] != '#') {
        size_t end = url->len;
        while (end > path && url->ptr[end - 1] != '/') {
            end--;
        }
        strbuf_truncate(url, end);
        if (end == path) {
            (void)strbuf_append_str(url, "/");
        }
    }
    (void)strbuf_append_slice(url, uri);
}

static bool resolve(const struct reconcile_env *env, const json_t *destination, const char *ns,
                    bool own, struct strbuf *out_url, char message[static ERROR_MSG_MAX])
{
    const json_t *ref = jpeek_obj(destination, "ref");
    struct slice uri = jpeek_str(destination, "uri");
    if (ref == NULL) {
        if (!slice_starts_with(uri, SLICE_LIT("http://")) &&
            !slice_starts_with(uri, SLICE_LIT("https://"))) {
            return fails(message, "\"%.200s\" is not called: only http and https URLs are",
                         uri.ptr);
        }
        (void)strbuf_append_slice(out_url, uri);
    } else {
        const char *ref_ns = jpeek_cstr(ref, "namespace");
        if (!address_of(env, ref, ref_ns[0] == '\0' ? ns : ref_ns, own, out_url, message)) {
            return false;
        }
        append_relative(out_url, uri);
    }
    return strbuf_ok(out_url) || fails(message, "the URL is too long");
}

bool destination_resolve(const struct reconcile_env *env, const json_t *destination, const char *ns,
                         struct strbuf *out_url, char message[static ERROR_MSG_MAX])
{
    return resolve(env, destination, ns, false, out_url, message);
}

bool destination_reach(const struct reconcile_env *env, const json_t *destination, const char *ns,
                       struct strbuf *out_url, char message[static ERROR_MSG_MAX])
{
    return resolve(env, destination, ns, true, out_url, message);
}

struct condition dead_letter_of(const struct reconcile_env *env, const json_t *object,
                                struct strbuf *url, char message[static ERROR_MSG_MAX])
{
    const json_t *sink = jpeek_obj(object, "spec.delivery.deadLetterSink");
    if (sink == NULL) {
        return (struct condition){DEAD_LETTER, STATUS_TRUE, "DeadLetterSinkNotConfigured",
                                  "No dead letter sink is configured.", false};
    }
    if (destination_resolve(env, sink, meta_ns(object), url, message)) {
        return (struct condition){DEAD_LETTER, STATUS_TRUE, "", "", false};
    }
    strbuf_clear(url);
    return (struct condition){DEAD_LETTER, STATUS_FALSE, "Unable to get the dead letter sink's URI",
                              message, false};
}
