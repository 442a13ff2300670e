// SPDX-License-Identifier: Apache-2.0

/* Plan: read each parameter by itself, then what they may not be together. A token is
 * "v2/VERSION/NAMESPACE/NAME" in hex. */

#include "local/api/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "local/api/call.h"

#define TOKEN_MAX 600

static bool decode_hex(const char *token, char out[TOKEN_MAX])
{
    size_t n = strlen(token) / 2;
    if (strlen(token) % 2 != 0 || n >= TOKEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (sscanf(token + 2 * i, "%2x", &byte) != 1) {
            return false;
        }
        out[i] = (char)byte;
    }
    out[n] = '\0';
    return true;
}

static bool read_token(const char *token, struct page *out)
{
    char text[TOKEN_MAX];
    if (!decode_hex(token, text) || strncmp(text, "v2/", 3) != 0) {
        return false;
    }
    const char *ns = strchr(text + 3, '/');
    const char *name = ns == NULL ? NULL : strchr(ns + 1, '/');
    struct error err;
    if (name == NULL || strlen(name) > sizeof(out->name) || (size_t)(name - ns) > sizeof(out->ns) ||
        num_parse_u64(slice_of(text + 3, (size_t)(ns - text - 3)), 0, UINT64_MAX, &out->version,
                      &err) < 0) {
        return false;
    }
    (void)snprintf(out->ns, sizeof(out->ns), "%.*s", (int)(name - ns - 1), ns + 1);
    (void)snprintf(out->name, sizeof(out->name), "%s", name + 1);
    out->past = out->version > 0;
    out->after = true;
    return true;
}

void page_append_token(uint64_t version, const char *ns, const char *name, struct strbuf *out)
{
    CLEANUP(cleanup_free) char *plain = xasprintf("v2/%" PRIu64 "/%s/%s", version, ns, name);
    for (const char *p = plain; *p != '\0'; p++) {
        (void)strbuf_appendf(out, "%02x", (unsigned char)*p);
    }
}

static int read_version(const char *text, const char *match, bool continued, uint64_t now,
                        struct page *out, struct error *err)
{
    if (match[0] != '\0' && (text[0] == '\0' || continued)) {
        return error_set(err, ERR_INVALID,
                         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: "
                         "Forbidden: resourceVersionMatch is forbidden %s",
                         continued ? "when continue is provided"
                                   : "unless resourceVersion is provided");
    }
    bool exact = strcmp(match, "Exact") == 0;
    if (match[0] != '\0' && !exact && strcmp(match, "NotOlderThan") != 0) {
        return error_set(err, ERR_INVALID,
                         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: "
                         "Unsupported value: \"%.40s\": supported values: \"Exact\", "
                         "\"NotOlderThan\", \"\"",
                         match);
    }
    uint64_t version = 0;
    if (text[0] != '\0' && num_parse_u64(slice_str(text), 0, UINT64_MAX, &version, err) < 0) {
        return error_set(err, ERR_PROTOCOL,
                         "invalid resource version: resourceVersion: Invalid value: \"%.40s\"",
                         text);
    }
    if (continued && version != 0) {
        return error_set(err, ERR_PROTOCOL,
                         "specifying resource version is not allowed when using continue");
    }
    if (exact && version == 0) {
        return error_set(err, ERR_INVALID,
                         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: "
                         "Forbidden: resourceVersionMatch \"exact\" is forbidden for "
                         "resourceVersion \"0\"");
    }
    if (version > now) {
        return error_set(err, ERR_TIMEOUT,
                         "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64,
                         version, now);
    }
    if (exact) {
        out->past = true;
        out->version = version;
    }
    return 0;
}

int page_read(const struct http_simple_request *rq, uint64_t now, struct page *out,
              struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf buf, match;
    strbuf_init(&buf, 2 * TOKEN_MAX);
    strbuf_init(&match, 64);
    *out = (struct page){0};
    int64_t number = 0;
    const char *limit = query_get(rq, "limit", &buf);
    if (limit[0] != '\0' &&
        num_parse_i64(slice_str(limit), INT64_MIN, INT64_MAX, &number, err) < 0) {
        return error_set(err, ERR_PROTOCOL, "limit: Invalid value: \"%.40s\"", limit);
    }
    out->limit = number > 0 ? (size_t)number : 0;
    const char *token = query_get(rq, "continue", &buf);
    if (token[0] != '\0' && !read_token(token, out)) {
        return error_set(err, ERR_PROTOCOL, "invalid continue token: continue key is not valid");
    }
    return read_version(query_get(rq, "resourceVersion", &buf),
                        query_get(rq, "resourceVersionMatch", &match), out->after, now, out, err);
}
