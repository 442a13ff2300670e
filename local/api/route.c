// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: cut the path into at most eight decoded segments, take group and version off its head,
 * then look at what is left: plural[/name[/sub]] or namespaces/ns/plural[/name[/sub]].
 */

#include "local/api/route.h"

#include <string.h>

#include "http/simple.h"

#define SEGMENTS_MAX 8

static void copy_name(char out[ROUTE_NAME_MAX], const char *text)
{
    memcpy(out, text, strnlen(text, ROUTE_NAME_MAX - 1) + 1);
}

struct path {
    char text[SEGMENTS_MAX][ROUTE_NAME_MAX];
    size_t count;
};

static bool cut(struct slice path, struct path *out)
{
    CLEANUP(strbuf_fini) struct strbuf decoded;
    strbuf_init(&decoded, ROUTE_NAME_MAX - 1);
    out->count = 0;
    while (path.len > 0) {
        path = slice_sub(path, 1, path.len); /* the slash */
        ptrdiff_t slash = slice_find(path, '/');
        struct slice part = slash < 0 ? path : slice_sub(path, 0, (size_t)slash);
        path = slash < 0 ? SLICE_EMPTY : slice_sub(path, (size_t)slash, path.len);
        if (part.len == 0 && path.len == 0) {
            return true; /* a slash at the end */
        }
        if (out->count == SEGMENTS_MAX || part.len == 0 || !http_path_decode(part, &decoded) ||
            strchr(decoded.ptr, '/') != NULL) {
            return false;
        }
        memcpy(out->text[out->count++], decoded.ptr, decoded.len + 1);
    }
    return true;
}

static bool take_sub(const struct kind *kind, const char *text, enum route_sub *out)
{
    static const struct {
        const char *text;
        unsigned flag;
        enum route_sub sub;
    } subs[] = {
        {"status", KIND_SUB_STATUS, ROUTE_SUB_STATUS},
        {"scale", KIND_SUB_SCALE, ROUTE_SUB_SCALE},
        {"log", KIND_SUB_LOG, ROUTE_SUB_LOG},
    };
    for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
        if (strcmp(text, subs[i].text) == 0 && (kind->subresources & subs[i].flag) != 0) {
            *out = subs[i].sub;
            return true;
        }
    }
    return false;
}

/* text[from…] is plural[/name[/sub]]. */
static void take_object(const struct path *p, size_t from, struct route *out)
{
    size_t left = p->count - from;
    out->kind = kind_by_plural(out->group, out->version, p->text[from]);
    if (out->kind == NULL || left > 3 || (out->ns[0] != '\0' && !out->kind->namespaced)) {
        return;
    }
    if (left == 1) {
        out->what = ROUTE_COLLECTION;
        return;
    }
    if (out->kind->namespaced && out->ns[0] == '\0') {
        return; /* an object needs its namespace */
    }
    copy_name(out->name, p->text[from + 1]);
    if (left == 2 || take_sub(out->kind, p->text[from + 2], &out->sub)) {
        out->what = ROUTE_OBJECT;
    }
}

void route_parse(struct slice path, struct route *out)
{
    *out = (struct route){.what = ROUTE_NONE};
    struct path p;
    if (path.len == 0 || path.ptr[0] != '/' || !cut(path, &p) || p.count == 0) {
        return;
    }
    bool core = strcmp(p.text[0], "api") == 0;
    if (!core && strcmp(p.text[0], "apis") != 0) {
        return;
    }
    size_t at = 1;
    if (!core && at < p.count) {
        copy_name(out->group, p.text[at++]);
    }
    if (at < p.count) {
        if (strlen(p.text[at]) >= sizeof(out->version)) {
            return;
        }
        memcpy(out->version, p.text[at], strlen(p.text[at]) + 1);
        at++;
    }
    if (at == p.count) {
        out->what = ROUTE_DISCOVERY;
        return;
    }
    bool in_namespace = strcmp(p.text[at], "namespaces") == 0 && p.count - at >= 3;
    bool own_sub = in_namespace && p.count - at == 3 && core &&
                   strcmp(p.text[at + 2], "status") == 0; /* …/namespaces/NAME/status */
    if (in_namespace && !own_sub) {
        copy_name(out->ns, p.text[at + 1]);
        at += 2;
    }
    take_object(&p, at, out);
}
