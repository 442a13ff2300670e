// SPDX-License-Identifier: Apache-2.0
#include "queue-proxy/headers.h"

static bool has_prefix(struct slice name, struct slice prefix)
{
    return name.len > prefix.len && slice_eq_nocase(slice_of(name.ptr, prefix.len), prefix);
}

/* Knative's own probers, which must say that they mean a queue-proxy. */
static bool is_prober(struct slice agent)
{
    static const struct slice agents[] = {
        SLICE_LIT("Knative-Activator-Probe"),
        SLICE_LIT("Knative-Autoscaling-Probe"),
        SLICE_LIT("Knative-Queue-Proxy-Probe"),
    };
    for (size_t i = 0; i < ARRAY_LEN(agents) && slice_starts_with(agent, SLICE_LIT("Knative-"));
         i++) {
        if (slice_starts_with(agent, agents[i])) {
            return true;
        }
    }
    return false;
}

/* Headers that headers_classify looks at. */
#define TELLING                                                                  \
    (HTTP_ID_BIT(HTTP_H_K_PROXY_REQUEST) | HTTP_ID_BIT(HTTP_H_K_NETWORK_PROBE) | \
     HTTP_ID_BIT(HTTP_H_K_LULL_REVISION) | HTTP_ID_BIT(HTTP_H_K_NETWORK_HASH) |  \
     HTTP_ID_BIT(HTTP_H_K_KUBELET_PROBE) | HTTP_ID_BIT(HTTP_H_USER_AGENT))

void headers_classify(const struct http_head *in, struct request_class *out)
{
    bool kubelet = false;
    bool prober = false;
    bool probe = false;
    *out = (struct request_class){.kind = REQUEST_PLAIN};
    if (!http_head_may_have(in, TELLING)) {
        return;
    }
    for (size_t i = 0; i < in->n_headers; i++) {
        const struct http_header *h = &in->headers[i];
        if (h->id == HTTP_H_K_PROXY_REQUEST) {
            out->proxied = slice_eq(h->value, SLICE_LIT("activator"));
        } else if (h->id == HTTP_H_K_LULL_REVISION) {
            out->revision = h->value;
        } else if (h->id == HTTP_H_K_NETWORK_PROBE) {
            probe = true;
            out->probe = h->value;
        } else if (h->id == HTTP_H_K_NETWORK_HASH) {
            out->hash = h->value;
        } else if (h->id == HTTP_H_K_KUBELET_PROBE) {
            kubelet = true;
        } else if (h->id == HTTP_H_USER_AGENT) {
            kubelet = kubelet || slice_starts_with(h->value, SLICE_LIT("kube-probe/"));
            prober = is_prober(h->value);
        }
    }
    if (probe && slice_eq(out->probe, SLICE_LIT("probe")) && !kubelet && !prober) {
        out->kind = REQUEST_HASH_PROBE;
    } else if ((probe || prober) && !slice_eq(out->probe, SLICE_LIT("queue"))) {
        out->kind = REQUEST_BAD_PROBE;
    } else if (probe || kubelet) {
        out->kind = REQUEST_HEALTH;
    }
}

bool headers_means(struct slice revision, struct slice ns, struct slice name)
{
    return slice_empty(revision) || slice_empty(ns) || slice_empty(name) ||
           (revision.len == ns.len + 1 + name.len && revision.ptr[ns.len] == '/' &&
            slice_starts_with(revision, ns) && slice_ends_with(revision, name));
}

static bool is_internal(const struct http_header *h)
{
    static const bool internal[HTTP_H_N] = {
        [HTTP_H_K_PROXY_REQUEST] = true, [HTTP_H_K_ORIGINAL_HOST] = true,
        [HTTP_H_K_NETWORK_PROBE] = true, [HTTP_H_K_NETWORK_HASH] = true,
        [HTTP_H_K_KUBELET_PROBE] = true, [HTTP_H_K_PASSTHROUGH_LB] = true,
        [HTTP_H_K_LULL_REFUSED] = true,  [HTTP_H_K_LULL_REVISION] = true,
    };
    if (h->id != HTTP_H_OTHER) {
        return internal[h->id];
    }
    return (h->name.ptr[0] | 0x20) == 'k' && (has_prefix(h->name, SLICE_LIT("knative-serving-")) ||
                                              has_prefix(h->name, SLICE_LIT("k-lull-")));
}

/* Bounded text that drops what does not fit as a whole. */
struct text {
    char *buf;
    size_t size;
    size_t len;
    bool full;
};

static void put(struct text *t, struct slice s)
{
    if (t->full || s.len > t->size - t->len) {
        t->full = true;
        return;
    }
    if (s.len > 0) {
        memcpy(t->buf + t->len, s.ptr, s.len);
        t->len += s.len;
    }
}

/* for=1.2.3.4, or for="[::1]" */
static void put_node(struct text *t, struct slice node)
{
    bool v6 = slice_find(node, ':') >= 0;
    put(t, v6 ? SLICE_LIT("for=\"[") : SLICE_LIT("for="));
    put(t, node);
    put(t, v6 ? SLICE_LIT("]\"") : SLICE_EMPTY);
}

/* Whether a value can stand in Forwarded as it is. */
static bool plain_token(struct slice s)
{
    static const bool breaks[256] = {['\0'] = true, [' '] = true, ['\t'] = true, ['"'] = true,
                                     [','] = true,  [';'] = true, ['='] = true,  ['\\'] = true};
    for (size_t i = 0; i < s.len; i++) {
        if (breaks[(unsigned char)s.ptr[i]]) {
            return false;
        }
    }
    return s.len > 0;
}

/* What the first row of Forwarded says beside the node. */
static void put_origin(struct text *t, struct slice host, struct slice proto)
{
    if (plain_token(host)) {
        put(t, SLICE_LIT(";host="));
        put(t, host);
    }
    if (plain_token(proto)) {
        put(t, SLICE_LIT(";proto="));
        put(t, proto);
    }
}

static struct slice value_of(const struct http_head *head, enum http_header_id id)
{
    const struct http_header *h = http_head_find_id(head, id);
    return h == NULL ? SLICE_EMPTY : h->value;
}

static struct slice forwarded_value(const struct http_head *out, struct slice chain, struct text *t)
{
    struct slice host = value_of(out, HTTP_H_X_FORWARDED_HOST);
    struct slice proto = value_of(out, HTTP_H_X_FORWARDED_PROTO);
    struct slice part;
    bool first = true;
    while (slice_split(&chain, ',', &part)) {
        part = slice_trim(part);
        if (!plain_token(part)) {
            continue;
        }
        put(t, first ? SLICE_EMPTY : SLICE_LIT(", "));
        put_node(t, part);
        if (first) {
            put_origin(t, host, proto);
        }
        first = false;
    }
    return t->full || first ? (struct slice){0} : slice_of(t->buf, t->len);
}

/*
 * One X-Forwarded-For of all that came, with the peer (may be empty) at its end; only the peer when
 * that is too long. One line without a peer stays as it is.
 */
static int write_chain(struct http_head *out, struct slice peer, struct slice *chain,
                       struct header_room *room)
{
    struct text t = {.buf = room->forwarded_for, .size = sizeof(room->forwarded_for)};
    size_t lines = 0;
    bool may_have = http_head_may_have(out, HTTP_ID_BIT(HTTP_H_X_FORWARDED_FOR));
    for (size_t i = 0; i < out->n_headers && may_have; i++) {
        if (out->headers[i].id == HTTP_H_X_FORWARDED_FOR) {
            lines++;
            put(&t, t.len > 0 ? SLICE_LIT(", ") : SLICE_EMPTY);
            put(&t, out->headers[i].value);
        }
    }
    if (lines <= 1 && slice_empty(peer)) {
        return 0;
    }
    *chain = peer;
    if (lines > 0) {
        put(&t, t.len > 0 && !slice_empty(peer) ? SLICE_LIT(", ") : SLICE_EMPTY);
        put(&t, peer);
        *chain = t.full ? peer : slice_of(t.buf, t.len);
        http_head_remove(out, SLICE_LIT("x-forwarded-for"));
    }
    return slice_empty(*chain) ? 0
                               : http_head_add_id(out, HTTP_H_X_FORWARDED_FOR,
                                                  SLICE_LIT("X-Forwarded-For"), *chain);
}

int headers_to_function(const struct http_head *in, struct http_head *out,
                        const struct request_class *cls, struct slice peer,
                        struct header_room *room)
{
    struct slice chain = {0};
    size_t kept = 0;
    for (size_t i = 0; i < out->n_headers; i++) {
        const struct http_header *h = &out->headers[i];
        if (is_internal(h)) {
            if (h->id == HTTP_H_K_ORIGINAL_HOST && h->value.len > 0 && cls->proxied) {
                out->authority = h->value;
            }
            continue;
        }
        if (h->id == HTTP_H_X_FORWARDED_FOR) {
            chain = h->value;
        }
        if (kept != i) {
            out->headers[kept] = *h;
        }
        kept++;
    }
    out->n_headers = kept;
    http_head_check_trace(out);
    bool has_forwarded = http_head_find_id(out, HTTP_H_FORWARDED) != NULL;
    bool has_host = http_head_find_id(out, HTTP_H_X_FORWARDED_HOST) != NULL;
    bool has_proto = http_head_find_id(out, HTTP_H_X_FORWARDED_PROTO) != NULL;
    bool says_peer = !cls->proxied && !slice_eq(peer, SLICE_LIT("unix"));
    int rc = write_chain(out, says_peer ? peer : SLICE_EMPTY, &chain, room);
    if (rc == 0 && !cls->proxied && !has_proto) {
        rc = http_head_add_id(out, HTTP_H_X_FORWARDED_PROTO, SLICE_LIT("X-Forwarded-Proto"),
                              SLICE_LIT("http"));
    }
    if (rc == 0 && !cls->proxied && !has_host && in->authority.len > 0) {
        rc = http_head_add_id(out, HTTP_H_X_FORWARDED_HOST, SLICE_LIT("X-Forwarded-Host"),
                              in->authority);
    }
    if (rc == 0 && !has_forwarded && chain.len > 0) {
        struct text t = {.buf = room->forwarded, .size = sizeof(room->forwarded)};
        struct slice value = forwarded_value(out, chain, &t);
        if (value.len > 0) {
            rc = http_head_add_id(out, HTTP_H_FORWARDED, SLICE_LIT("Forwarded"), value);
        }
    }
    return rc;
}

void headers_from_function(struct http_head *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < out->n_headers; i++) {
        const struct http_header *h = &out->headers[i];
        if ((h->name.ptr[0] | 0x20) == 'k' && has_prefix(h->name, SLICE_LIT("k-lull-"))) {
            continue;
        }
        if (kept != i) {
            out->headers[kept] = *h;
        }
        kept++;
    }
    out->n_headers = kept;
}
