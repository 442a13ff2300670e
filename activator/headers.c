// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one pass over the headers that drops what is not the client's to say, then the headers of
 * ours at the end. Scratch text is reserved once, so that slices into it stay valid.
 */
#include "activator/headers.h"

#include "base/num.h"

#define SCRATCH_ROOM 256 /* beside the forwarded-for list that came in */

static bool is_prefix(struct slice name, struct slice prefix)
{
    return name.len >= prefix.len && slice_eq_nocase(slice_sub(name, 0, prefix.len), prefix);
}

/* The client may not say these; two of them are written anew. */
static const bool never[HTTP_H_N] = {
    [HTTP_H_K_ORIGINAL_HOST] = true, [HTTP_H_K_PROXY_REQUEST] = true,
    [HTTP_H_K_NETWORK_PROBE] = true, [HTTP_H_K_NETWORK_HASH] = true,
    [HTTP_H_K_KUBELET_PROBE] = true, [HTTP_H_K_PASSTHROUGH_LB] = true,
    [HTTP_H_K_LULL_REVISION] = true, [HTTP_H_K_LULL_REFUSED] = true,
    [HTTP_H_X_FORWARDED_FOR] = true, [HTTP_H_LULL_HOPS] = true,
    [HTTP_H_LULL_WAKE] = true,
};

/* These only when a trusted proxy stands in front. */
static const bool unless_trusted[HTTP_H_N] = {
    [HTTP_H_FORWARDED] = true,
    [HTTP_H_X_FORWARDED_HOST] = true,
    [HTTP_H_X_FORWARDED_PROTO] = true,
};

static bool dropped(const struct http_header *h, bool trust_forwarded)
{
    if (h->id != HTTP_H_OTHER) {
        return never[h->id] || (unless_trusted[h->id] && !trust_forwarded);
    }
    switch (h->name.ptr[0] | 0x20) {
    case 'k':
        return is_prefix(h->name, SLICE_LIT("k-lull-")) ||
               is_prefix(h->name, SLICE_LIT("knative-serving-"));
    case 'x':
        return is_prefix(h->name, SLICE_LIT("x-forwarded-prefix")) ||
               (!trust_forwarded && is_prefix(h->name, SLICE_LIT("x-forwarded-")));
    default:
        return false;
    }
}

unsigned headers_hops(const struct http_head *in)
{
    const struct http_header *h = http_head_find_id(in, HTTP_H_LULL_HOPS);
    uint64_t hops = 0;
    if (h != NULL && num_parse_u64(h->value, 0, HEADER_HOPS_MAX, &hops, NULL) < 0) {
        return HEADER_HOPS_MAX;
    }
    return (unsigned)hops;
}

static bool may_have_chain(const struct http_head *head)
{
    return http_head_may_have(head, HTTP_ID_BIT(HTTP_H_X_FORWARDED_FOR));
}

/* "came in, came in, peer"; empty when nothing is to be said. */
static struct slice forwarded_for(const struct http_head *in, const struct headers_context *ctx,
                                  struct strbuf *scratch)
{
    size_t from = scratch->len;
    if (ctx->trust_forwarded && may_have_chain(in)) {
        for (size_t i = 0; i < in->n_headers; i++) {
            if (in->headers[i].id == HTTP_H_X_FORWARDED_FOR) {
                strbuf_append_str(scratch, scratch->len > from ? ", " : "");
                strbuf_append_slice(scratch, in->headers[i].value);
            }
        }
    }
    if (!slice_eq(ctx->peer, SLICE_LIT("unix"))) {
        strbuf_append_str(scratch, scratch->len > from ? ", " : "");
        strbuf_append_slice(scratch, ctx->peer);
    }
    return slice_of(scratch->ptr + from, scratch->len - from);
}

static int add(struct http_head *out, enum http_header_id id, struct slice name, struct slice value,
               int rc)
{
    return rc < 0 ? rc : slice_empty(value) ? 0 : http_head_add_id(out, id, name, value);
}

int headers_to_replica(struct http_head *out, const struct headers_context *ctx,
                       struct strbuf *scratch, struct error *err)
{
    size_t need = SCRATCH_ROOM;
    for (size_t i = 0; i < out->n_headers && may_have_chain(out); i++) {
        if (out->headers[i].id == HTTP_H_X_FORWARDED_FOR) {
            need += out->headers[i].value.len + 2;
        }
    }
    strbuf_clear(scratch);
    if (strbuf_reserve(scratch, need) == NULL) {
        return error_set(err, ERR_TOO_BIG, "X-Forwarded-For: too long");
    }
    struct slice xff = forwarded_for(out, ctx, scratch);
    size_t hops_at = scratch->len;
    unsigned next = ctx->hops + 1; /* at most two digits: HEADER_HOPS_MAX */
    if (next >= 10) {
        strbuf_append_char(scratch, (char)('0' + next / 10 % 10));
    }
    strbuf_append_char(scratch, (char)('0' + next % 10));
    struct slice hops = slice_of(scratch->ptr + hops_at, scratch->len - hops_at);

    size_t kept = 0;
    for (size_t i = 0; i < out->n_headers; i++) {
        struct http_header *h = &out->headers[i];
        if (!dropped(h, ctx->trust_forwarded)) {
            out->headers[kept++] = *h;
        }
    }
    out->n_headers = kept;
    http_head_check_trace(out);
    bool has_host = http_head_find_id(out, HTTP_H_X_FORWARDED_HOST) != NULL;
    bool has_proto = http_head_find_id(out, HTTP_H_X_FORWARDED_PROTO) != NULL;
    struct slice proto = ctx->tls ? SLICE_LIT("https") : SLICE_LIT("http");
    int rc =
        add(out, HTTP_H_K_PROXY_REQUEST, SLICE_LIT("K-Proxy-Request"), SLICE_LIT("activator"), 0);
    rc = add(out, HTTP_H_K_LULL_REVISION, SLICE_LIT("K-Lull-Revision"), ctx->revision, rc);
    rc = add(out, HTTP_H_K_ORIGINAL_HOST, SLICE_LIT("K-Original-Host"), ctx->host, rc);
    rc = add(out, HTTP_H_LULL_HOPS, SLICE_LIT("Lull-Hops"), hops, rc);
    rc = add(out, HTTP_H_X_FORWARDED_FOR, SLICE_LIT("X-Forwarded-For"), xff, rc);
    rc = add(out, HTTP_H_X_FORWARDED_HOST, SLICE_LIT("X-Forwarded-Host"),
             has_host ? SLICE_EMPTY : ctx->host, rc);
    rc = add(out, HTTP_H_X_FORWARDED_PROTO, SLICE_LIT("X-Forwarded-Proto"),
             has_proto ? SLICE_EMPTY : proto, rc);
    rc = add(out, HTTP_H_OTHER, SLICE_LIT("X-Forwarded-Prefix"), ctx->path_name, rc);
    return rc < 0 ? error_set(err, ERR_TOO_BIG, "too many headers to pass on") : 0;
}

struct slice headers_inner_target(struct slice prefix, struct slice target, size_t skip,
                                  struct strbuf *room)
{
    struct slice rest = slice_sub(target, skip, target.len);
    bool rooted = slice_starts_with(rest, SLICE_LIT("/"));
    if (slice_empty(prefix) && (skip == 0 || rooted)) {
        return rest;
    }
    strbuf_clear(room);
    strbuf_append_slice(room, prefix);
    strbuf_append_str(room, rooted ? "" : "/");
    strbuf_append_slice(room, rest);
    return strbuf_slice(room);
}

void headers_to_client(struct http_head *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < out->n_headers; i++) {
        const struct http_header *h = &out->headers[i];
        bool ours = h->id == HTTP_H_K_LULL_REFUSED ||
                    (h->id == HTTP_H_OTHER && is_prefix(h->name, SLICE_LIT("k-lull-")));
        if (!ours) {
            out->headers[kept++] = *h;
        }
    }
    out->n_headers = kept;
}
