// SPDX-License-Identifier: Apache-2.0
/*
 * Heads of HTTP/2: fields into a struct http_head, and back. nghttp2 has already refused what RFC
 * 9113 forbids in names, values and the order of pseudo-fields; here are our limits, and what would
 * be ambiguous for a next hop that speaks HTTP/1.1. Pure.
 */

#include "base/mem.h"
#include "base/num.h"
#include "http/h2.h"

#define TEXT_FIRST    512
#define HEADERS_FIRST 16

void h2_message_free(struct h1_message *m)
{
    if (m != NULL) {
        h1_message_fini(m);
        free(m);
    }
}

static void move(struct slice *s, const char *from, char *to)
{
    if (s->len > 0) {
        s->ptr = to + (s->ptr - from);
    }
}

/* Makes room for len more bytes of text; slices into it stay right. */
static void reserve(struct h1_message *m, size_t len)
{
    if (m->len + len <= m->cap) {
        return;
    }
    size_t cap = m->cap == 0 ? TEXT_FIRST : m->cap * 2;
    while (cap < m->len + len) {
        cap *= 2;
    }
    char *text = xmalloc(cap);
    if (m->len > 0) {
        memcpy(text, m->text, m->len);
    }
    struct http_head *h = &m->head;
    move(&h->method, m->text, text);
    move(&h->target, m->text, text);
    move(&h->authority, m->text, text);
    for (size_t i = 0; i < h->n_headers; i++) {
        move(&h->headers[i].name, m->text, text);
        move(&h->headers[i].value, m->text, text);
    }
    free(m->text);
    m->text = text;
    m->cap = cap;
}

static struct slice keep(struct h1_message *m, struct slice s)
{
    reserve(m, s.len);
    char *at = m->text + m->len;
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
    }
    m->len += s.len;
    return slice_of(at, s.len);
}

static void add_header(struct h1_message *m, struct slice name, struct slice value)
{
    struct http_head *head = &m->head;
    if (head->n_headers >= head->cap_headers) {
        size_t cap = head->cap_headers == 0 ? HEADERS_FIRST : head->cap_headers * 2;
        m->headers = xreallocarray(m->headers, cap, sizeof(*m->headers));
        head->headers = m->headers;
        head->cap_headers = cap;
    }
    reserve(m, name.len + value.len);
    struct slice n = keep(m, name);
    struct slice v = keep(m, value);
    enum http_header_id id = http_header_id(n);
    head->headers[head->n_headers++] = (struct http_header){.name = n, .value = v, .id = id};
    head->ids |= HTTP_ID_BIT(id);
}

static int add_pseudo(struct h1_message *m, struct slice name, struct slice value,
                      const struct http_limits *limits, const char **out_why)
{
    struct http_head *head = &m->head;
    if (slice_eq(name, SLICE_LIT(":path"))) {
        if (value.len > limits->max_target_bytes) {
            *out_why = "the request target is too long";
            return 414;
        }
        head->target = keep(m, value);
    } else if (slice_eq(name, SLICE_LIT(":method"))) {
        head->method = keep(m, value);
    } else if (slice_eq(name, SLICE_LIT(":authority"))) {
        head->authority = keep(m, value);
    } else if (slice_eq(name, SLICE_LIT(":status"))) {
        uint64_t status;
        if (num_parse_u64(value, 100, 999, &status, NULL) == 0) {
            head->status = (int)status;
        }
    } /* :scheme says nothing that the connection does not say */
    return 0;
}

int h2_message_add(struct h1_message *m, struct slice name, struct slice value,
                   const struct http_limits *limits, const char **out_why)
{
    if (m->len + name.len + value.len > limits->max_head_bytes) {
        *out_why = "the header fields are too large";
        return 431;
    }
    if (name.len > 0 && name.ptr[0] == ':') {
        return add_pseudo(m, name, value, limits, out_why);
    }
    if (m->head.n_headers >= limits->max_headers) {
        *out_why = "too many header fields";
        return 431;
    }
    add_header(m, name, value);
    return 0;
}

/* ---- complete heads ---- */

static int check_target(const struct http_head *head, const char **out_why)
{
    struct slice t = head->target;
    if (head->method_id == HTTP_METHOD_CONNECT) {
        *out_why = "CONNECT is not served here";
        return 405;
    }
    bool star = slice_eq(t, SLICE_LIT("*")) && head->method_id == HTTP_METHOD_OPTIONS;
    if (!star && (t.len == 0 || t.ptr[0] != '/')) {
        *out_why = "the request target is not a path";
        return 400;
    }
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '#') {
            *out_why = "the request target has a byte that does not belong there";
            return 400;
        }
    }
    return 0;
}

/* One host, whichever way it was said. */
static int check_host(struct http_head *head, const char **out_why)
{
    size_t n = 0;
    struct slice host = {0};
    for (size_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].id == HTTP_H_HOST) {
            host = head->headers[i].value;
            n++;
        }
    }
    if (head->authority.len == 0) {
        head->authority = host;
    }
    if (n > 1 || (n == 1 && !slice_eq_nocase(host, head->authority))) {
        *out_why = "more than one host";
        return 400;
    }
    if (!h1_host_valid(head->authority)) {
        *out_why = head->authority.len == 0 ? "no host" : "the host is not a host";
        return 400;
    }
    return 0;
}

/* Cookies may come in pieces, which HTTP/1.1 does not know. */
static void join_cookies(struct h1_message *m)
{
    struct http_head *head = &m->head;
    size_t n = 0;
    size_t len = 0;
    for (size_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].id == HTTP_H_COOKIE) {
            n++;
            len += head->headers[i].value.len + 2;
        }
    }
    if (n < 2) {
        return;
    }
    reserve(m, len);
    size_t from = m->len;
    size_t kept = 0;
    struct http_header first = {0};
    for (size_t i = 0; i < head->n_headers; i++) {
        struct http_header h = head->headers[i];
        if (h.id != HTTP_H_COOKIE) {
            head->headers[kept++] = h;
            continue;
        }
        if (first.name.len == 0) {
            first = h;
        } else {
            keep(m, SLICE_LIT("; "));
        }
        keep(m, h.value);
    }
    first.value = slice_of(m->text + from, m->len - from);
    head->headers[kept++] = first;
    head->n_headers = kept;
}

/* Content-Length (nghttp2 has seen that it is one number) and END_STREAM into the body's kind. */
static void find_body(struct http_head *head, bool end)
{
    const struct http_header *h = http_head_find_id(head, HTTP_H_CONTENT_LENGTH);
    head->has_length =
        h != NULL && num_parse_u64(h->value, 0, INT64_MAX, &head->content_length, NULL) == 0;
    if (end) {
        head->body = HTTP_BODY_NONE;
    } else {
        head->body = head->has_length ? HTTP_BODY_LENGTH : HTTP_BODY_STREAM;
    }
}

int h2_check_request(struct h1_message *m, bool end, const char **out_why)
{
    struct http_head *head = &m->head;
    head->version = 20;
    head->method_id = http_method_id(head->method);
    find_body(head, end);
    int status = check_target(head, out_why);
    if (status == 0) {
        status = check_host(head, out_why);
    }
    if (status != 0) {
        return status;
    }
    join_cookies(m);
    const struct http_header *te = http_head_find_id(head, HTTP_H_TE);
    head->takes_trailers = te != NULL && slice_eq_nocase(te->value, SLICE_LIT("trailers"));
    const struct http_header *expect = http_head_find_id(head, HTTP_H_EXPECT);
    if (expect != NULL && !slice_eq_nocase(expect->value, SLICE_LIT("100-continue"))) {
        *out_why = "this expectation is not known";
        return 417;
    }
    head->expect_continue = expect != NULL && !end;
    return 0;
}

int h2_check_response(struct h1_message *m, bool end, const char **out_why)
{
    struct http_head *head = &m->head;
    head->version = 20;
    find_body(head, end);
    if (head->status < 100 || head->status == 101) {
        *out_why = "the answer has no status";
        return 502;
    }
    return 0;
}

/* ---- heads to be sent ---- */

/* Fields of one connection of HTTP/1.1, and those that the head's own fields say. */
static bool left_out(enum http_header_id id)
{
    return id == HTTP_H_CONNECTION || id == HTTP_H_KEEP_ALIVE || id == HTTP_H_PROXY_CONNECTION ||
           id == HTTP_H_TE || id == HTTP_H_TRANSFER_ENCODING || id == HTTP_H_UPGRADE ||
           id == HTTP_H_HTTP2_SETTINGS || id == HTTP_H_CONTENT_LENGTH || id == HTTP_H_HOST;
}

static void put(struct h2_fields *f, struct slice name, struct slice value)
{
    if (f->n >= ARRAY_LEN(f->nv)) {
        f->failed = true;
        return;
    }
    union {
        const char *in;
        uint8_t *out;
    } n = {.in = name.ptr}, v = {.in = value.ptr}; /* nghttp2 copies; it writes to neither */
    f->nv[f->n++] = (nghttp2_nv){.name = n.out,
                                 .namelen = name.len,
                                 .value = v.out,
                                 .valuelen = value.len,
                                 .flags = NGHTTP2_NV_FLAG_NONE};
}

static void put_headers(struct h2_fields *f, const struct http_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http_header *h = &head->headers[i];
        if (left_out(h->id) || h->name.len == 0 || h->name.ptr[0] == ':') {
            continue;
        }
        put(f, h->name, slice_trim(h->value));
        if (!f->failed && (h->id == HTTP_H_AUTHORIZATION || h->id == HTTP_H_COOKIE)) {
            /* a table that requests of many clients share is no place for secrets */
            f->nv[f->n - 1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
        }
    }
}

static void put_length(struct h2_fields *f, const struct http_head *head)
{
    int n =
        snprintf(f->length, sizeof(f->length), "%llu", (unsigned long long)head->content_length);
    put(f, SLICE_LIT("content-length"), slice_of(f->length, (size_t)n));
}

bool h2_fields_request(struct h2_fields *f, const struct http_head *head)
{
    f->n = 0;
    f->failed = false;
    put(f, SLICE_LIT(":method"), head->method);
    put(f, SLICE_LIT(":scheme"), SLICE_LIT("http"));
    put(f, SLICE_LIT(":path"), head->target);
    if (head->authority.len > 0) {
        put(f, SLICE_LIT(":authority"), head->authority);
    }
    put_headers(f, head);
    if (head->takes_trailers) {
        put(f, SLICE_LIT("te"), SLICE_LIT("trailers"));
    }
    if (head->body == HTTP_BODY_LENGTH) {
        put_length(f, head);
    }
    return !f->failed;
}

bool h2_fields_response(struct h2_fields *f, const struct http_head *head, struct slice date)
{
    f->n = 0;
    f->failed = false;
    int n = snprintf(f->status, sizeof(f->status), "%d", head->status);
    put(f, SLICE_LIT(":status"), slice_of(f->status, (size_t)n));
    put_headers(f, head);
    if (date.len > 0) {
        put(f, SLICE_LIT("date"), date);
    }
    if (head->status >= 200 && head->status != 204 &&
        (head->body == HTTP_BODY_LENGTH || head->has_length)) {
        put_length(f, head);
    }
    return !f->failed;
}

bool h2_fields_trailers(struct h2_fields *f, const struct http_head *head)
{
    f->n = 0;
    f->failed = false;
    put_headers(f, head);
    return !f->failed;
}

struct h1_message *h2_message_of_trailers(const struct http_head *trailers)
{
    struct http_limits limits = http_limits_default();
    const char *why;
    struct h1_message *m = NEW(struct h1_message);
    for (size_t i = 0; i < trailers->n_headers; i++) {
        const struct http_header *h = &trailers->headers[i];
        if (h->name.len == 0 || h->name.ptr[0] == ':' || !http_trailer_allowed(h)) {
            continue;
        }
        if (h2_message_add(m, h->name, slice_trim(h->value), &limits, &why) != 0) {
            m->head.n_headers = 0;
            break;
        }
    }
    if (m->head.n_headers == 0) {
        h2_message_free(m);
        return NULL;
    }
    return m;
}
