// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1.1, read side. llhttp calls back with spans; target, names and values are appended to the
 * message's text, so a head in several reads costs no second parse. At the end of the head the
 * checks of h1_check.c run, then the owner sees it. Trailer fields are gathered in a message of
 * their own, made for the first of them; those that may not stand there are left out. At the end of
 * a message llhttp is paused, which gives the exact place where the next one starts.
 *
 * Failure: any refusal sets bad_status (of an answer always 502) and bad_text, and ends the parser.
 */

#include "base/mem.h"
#include "http/h1.h"

#define TEXT_KEEP     1024 /* a message's memory that is kept from one use to the next */
#define TEXT_FIRST    256
#define HEADERS_FIRST 4
#define HEADERS_KEEP  32
/* Bytes around the body that one byte of it pays for ("1\r\na\r\n" takes 5), and how many more may
   come, in max_head_bytes: head, trailers, what pads them. */
#define OVERHEAD_PAID 8
#define OVERHEAD_MAX  3

void h1_message_init(struct h1_message *m)
{
    *m = (struct h1_message){0};
}

static void drop_trailers(struct h1_message *m)
{
    if (m->trailers != NULL) {
        free(m->trailers->text);
        free(m->trailers->headers);
        free(m->trailers);
        m->trailers = NULL;
    }
}

void h1_message_fini(struct h1_message *m)
{
    drop_trailers(m);
    free(m->text);
    free(m->headers);
    h1_message_init(m);
}

void h1_message_reset(struct h1_message *m)
{
    if (m->cap > TEXT_KEEP || m->head.cap_headers > HEADERS_KEEP) {
        h1_message_fini(m);
        return;
    }
    drop_trailers(m);
    http_head_init(&m->head, m->headers, m->head.cap_headers);
    m->len = 0;
}

/* Moves every slice of the head that points into the old text. */
static void rebase(struct h1_message *m, const char *from, char *to)
{
    struct http_head *h = &m->head;
    if (h->target.len > 0) {
        h->target.ptr = to + (h->target.ptr - from);
    }
    for (size_t i = 0; i < h->n_headers; i++) {
        h->headers[i].name.ptr = to + (h->headers[i].name.ptr - from);
        h->headers[i].value.ptr = to + (h->headers[i].value.ptr - from);
    }
}

static void text_append(struct h1_message *m, const char *at, size_t len)
{
    if (m->len + len > m->cap) {
        size_t cap = m->cap == 0 ? TEXT_FIRST : m->cap * 2;
        while (cap < m->len + len) {
            cap *= 2;
        }
        char *text = xmalloc(cap);
        if (m->len > 0) {
            memcpy(text, m->text, m->len);
        }
        rebase(m, m->text, text);
        free(m->text);
        m->text = text;
        m->cap = cap;
    }
    memcpy(m->text + m->len, at, len);
    m->len += len;
}

static int refuse(struct h1_parser *p, int status, const char *text)
{
    if (p->bad_status == 0) {
        p->bad_status = (uint16_t)(p->ll.type == HTTP_REQUEST ? status : 502);
        p->bad_text = text;
    }
    return HPE_USER;
}

static struct h1_parser *self(llhttp_t *ll)
{
    return ll->data;
}

static int on_message_begin(llhttp_t *ll)
{
    struct h1_parser *p = self(ll);
    p->started = true;
    p->head_done = false;
    p->tunnel = false;
    p->is_head = false;
    p->name_len = 0;
    p->value_len = 0;
    p->trailers = 0;
    p->overhead = 0;
    return 0;
}

/* Where a byte that is being fed stands in all that was fed. */
static uint32_t place(const struct h1_parser *p, const char *at)
{
    return (uint32_t)(uintptr_t)at - p->shift;
}

/* llhttp takes any number of spaces in the request line; RFC 9112 has exactly one. */
static int on_method(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    p->word_end = place(p, at) + (uint32_t)len;
    return 0;
}

static int on_method_complete(llhttp_t *ll)
{
    self(ll)->is_head = ll->method == HTTP_HEAD;
    return 0;
}

static int on_version(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    uint32_t gap = place(p, at) - p->word_end; /* 0: the rest of a version in two reads */
    if (ll->type == HTTP_REQUEST && gap != 0 && gap != sizeof(" HTTP/") - 1) {
        return refuse(p, 400, "more than one space in the request line");
    }
    p->word_end = place(p, at) + (uint32_t)len;
    return 0;
}

/* Where fields go now: the head's message or that of the trailer section. */
static struct h1_message *fields_of(struct h1_parser *p)
{
    if (!p->head_done) {
        return p->msg;
    }
    if (p->msg->trailers == NULL) {
        p->msg->trailers = NEW(struct h1_message);
    }
    return p->msg->trailers;
}

static int head_append(struct h1_parser *p, struct h1_message *m, const char *at, size_t len)
{
    if (m->len + len > p->limits->max_head_bytes) {
        return refuse(p, 431,
                      p->head_done ? "the trailer fields are too large"
                                   : "the header fields are too large");
    }
    text_append(m, at, len);
    return 0;
}

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    struct h1_message *m = p->msg;
    if (m->head.target.len == 0 && place(p, at) != p->word_end + 1) {
        return refuse(p, 400, "more than one space in the request line");
    }
    p->word_end = place(p, at) + (uint32_t)len;
    if (m->head.target.len + len > p->limits->max_target_bytes) {
        return refuse(p, 414, "the request target is too long");
    }
    int rc = head_append(p, m, at, len);
    if (rc == 0) {
        m->head.target = slice_of(m->text, m->head.target.len + len);
    }
    return rc;
}

static int on_field(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    struct h1_message *m = fields_of(p);
    if (p->name_len == 0) {
        p->name_at = (uint32_t)m->len;
    }
    p->name_len += (uint32_t)len;
    return head_append(p, m, at, len);
}

static int on_value(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    p->value_len += (uint32_t)len;
    return head_append(p, fields_of(p), at, len);
}

static int on_value_complete(llhttp_t *ll)
{
    struct h1_parser *p = self(ll);
    struct h1_message *m = fields_of(p);
    struct http_head *head = &m->head;
    if (p->head_done && ++p->trailers > p->limits->max_headers) {
        return refuse(p, 431, "too many trailer fields");
    }
    if (head->n_headers >= p->limits->max_headers) {
        return refuse(p, 431, "too many header fields");
    }
    if (head->n_headers >= head->cap_headers) {
        size_t cap = head->cap_headers == 0 ? HEADERS_FIRST : head->cap_headers * 2;
        m->headers = xreallocarray(m->headers, cap, sizeof(*m->headers));
        head->headers = m->headers;
        head->cap_headers = cap;
    }
    struct slice name = slice_of(m->text + p->name_at, p->name_len);
    struct slice value = slice_of(m->text + p->name_at + p->name_len, p->value_len);
    struct http_header *h = &head->headers[head->n_headers];
    *h = (struct http_header){.name = name, .value = slice_trim(value), .id = http_header_id(name)};
    if (!p->head_done || http_trailer_allowed(h)) {
        head->n_headers++;
        head->ids |= HTTP_ID_BIT(h->id);
    } else {
        m->len = p->name_at; /* as if it had not been sent */
    }
    p->name_len = 0;
    p->value_len = 0;
    return 0;
}

static void fill_method(struct http_head *head, llhttp_method_t method)
{
    static const struct {
        struct slice name;
        enum http_method_id id;
    } usual[] = {
        [HTTP_DELETE] = {{"DELETE", 6}, HTTP_METHOD_DELETE},
        [HTTP_GET] = {{"GET", 3}, HTTP_METHOD_GET},
        [HTTP_HEAD] = {{"HEAD", 4}, HTTP_METHOD_HEAD},
        [HTTP_POST] = {{"POST", 4}, HTTP_METHOD_POST},
        [HTTP_PUT] = {{"PUT", 3}, HTTP_METHOD_PUT},
    };
    if (method < ARRAY_LEN(usual)) {
        head->method = usual[method].name;
        head->method_id = usual[method].id;
        return;
    }
    head->method = slice_str(llhttp_method_name(method));
    head->method_id = http_method_id(head->method);
}

/* The fields that llhttp knows, into the head. */
static void fill_head(struct h1_parser *p)
{
    struct http_head *head = &p->msg->head;
    const llhttp_t *ll = &p->ll;
    head->version = ll->http_major * 10 + ll->http_minor;
    if (ll->type == HTTP_REQUEST) {
        fill_method(head, (llhttp_method_t)ll->method);
    } else {
        head->status = ll->status_code;
    }
    head->has_length = (ll->flags & F_CONTENT_LENGTH) != 0;
    head->content_length = head->has_length ? ll->content_length : 0;
    if (ll->flags & F_CHUNKED) {
        head->body = HTTP_BODY_STREAM;
    } else if (head->has_length) {
        head->body = HTTP_BODY_LENGTH;
    } else {
        head->body = HTTP_BODY_NONE;
    }
}

/* Answers: what has no body whatever the head says, and what ends with the connection. */
static void fill_response_body(struct http_head *head)
{
    int s = head->status;
    if (s / 100 == 1 || s == 204 || s == 304) {
        head->body = HTTP_BODY_NONE;
    } else if (head->body == HTTP_BODY_NONE) {
        head->body = HTTP_BODY_STREAM;
    }
}

/* llhttp does not see a "close" with a tab beside it. */
static void find_close(struct h1_parser *p)
{
    const struct http_head *head = &p->msg->head;
    if (!http_head_may_have(head, HTTP_ID_BIT(HTTP_H_CONNECTION))) {
        return;
    }
    for (size_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].id == HTTP_H_CONNECTION &&
            http_list_has(head->headers[i].value, SLICE_LIT("close"))) {
            p->ll.flags |= F_CONNECTION_CLOSE;
        }
    }
}

static int on_headers_complete(llhttp_t *ll)
{
    struct h1_parser *p = self(ll);
    struct http_head *head = &p->msg->head;
    const char *text = NULL;
    p->head_done = true;
    fill_head(p);
    find_close(p);
    int status;
    if (ll->type == HTTP_REQUEST) {
        status = h1_check_request(p->msg, &text);
        if (status == 0 && head->body == HTTP_BODY_LENGTH && p->limits->max_body_bytes > 0 &&
            head->content_length > p->limits->max_body_bytes) {
            status = 413;
            text = "the body is too large";
        }
    } else {
        fill_response_body(head);
        status = h1_check_response(p->msg, &text);
    }
    if (status == 0 && (ll->flags & F_TRANSFER_ENCODING) && !(ll->flags & F_CHUNKED)) {
        status = 400; /* as "chunked" with a tab behind it: llhttp would refuse it after on_head */
        text = "Transfer-Encoding cannot be read";
    }
    if (status != 0) {
        return refuse(p, status, text);
    }
    ll->upgrade = 0; /* whether an upgrade happens is the owner's word */
    switch (p->events->on_head(p, p->owner)) {
    case H1_GO:
        return 0;
    case H1_NO_BODY:
        return 1;
    case H1_TUNNEL:
        p->tunnel = true;
        return 1;
    case H1_STOP:
        break;
    }
    p->stopped = true;
    return HPE_USER;
}

static int on_body(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    p->overhead -= (OVERHEAD_PAID + 1) * (int64_t)len; /* h1_feed counts all bytes */
    if (p->events->on_body(p, slice_of(at, len), p->owner)) {
        return 0;
    }
    p->stopped = true;
    return HPE_USER;
}

/* Names and values of chunk extensions are not passed on, but must be there. */
static int on_extension(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    p->extension = p->extension || len > 0;
    return 0;
}

/* A value is a token or a quoted string; llhttp takes a token with a quoted string behind it, too,
   and DEL inside the quotes. */
static int on_extension_value(llhttp_t *ll, const char *at, size_t len)
{
    struct h1_parser *p = self(ll);
    if (!p->extension && len > 0) {
        p->quoted = at[0] == '"';
    }
    if (!p->quoted && memchr(at, '"', len) != NULL) {
        return refuse(p, 400, "a quote inside a chunk extension's value");
    }
    if (memchr(at, '\x7f', len) != NULL) {
        return refuse(p, 400, "a control character in a chunk extension's value");
    }
    return on_extension(ll, at, len);
}

static int on_extension_complete(llhttp_t *ll)
{
    struct h1_parser *p = self(ll);
    bool is_there = p->extension;
    p->extension = false;
    return is_there ? 0 : refuse(p, 400, "a chunk extension without a name or value");
}

bool h1_keeps_alive(const struct h1_parser *p)
{
    return llhttp_should_keep_alive(&p->ll) && (p->ll.flags & F_CONNECTION_CLOSE) == 0;
}

static int on_message_complete(llhttp_t *ll)
{
    struct h1_parser *p = self(ll);
    p->started = false;
    p->is_head = false;
    p->line_done = false;
    p->keep_alive = h1_keeps_alive(p) && !p->tunnel;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_method = on_method,
    .on_method_complete = on_method_complete,
    .on_url = on_url,
    .on_version = on_version,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_name_complete = on_extension_complete,
    .on_chunk_extension_value = on_extension_value,
    .on_chunk_extension_value_complete = on_extension_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void h1_parser_init(struct h1_parser *p, enum llhttp_type type, const struct http_limits *limits,
                    const struct h1_events *events, void *owner)
{
    *p = (struct h1_parser){.limits = limits, .events = events, .owner = owner};
    llhttp_init(&p->ll, type, &settings);
    p->ll.data = p;
}

static enum h1_result bad(struct h1_parser *p, llhttp_errno_t code)
{
    if (p->bad_status != 0) {
        return H1_BAD;
    }
    if (code == HPE_PAUSED_H2_UPGRADE) {
        refuse(p, 505, "HTTP/2 is not spoken here");
    } else {
        refuse(p, 400, llhttp_get_error_reason(&p->ll));
    }
    if (p->bad_text == NULL || *p->bad_text == '\0') {
        p->bad_text = "malformed message";
    }
    return H1_BAD;
}

/* Empty lines before a request are passed over, but llhttp takes a lone CR or LF for one too. */
static bool empty_lines(struct h1_parser *p, const char *bytes, size_t len)
{
    if (p->ll.type == HTTP_RESPONSE && len > 0 && (bytes[0] == '\r' || bytes[0] == '\n')) {
        refuse(p, 502, "an empty line before the answer");
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\r' && !p->half_line) {
            p->half_line = true;
        } else if (bytes[i] == '\n' && p->half_line) {
            p->half_line = false;
        } else if (p->half_line || bytes[i] == '\r' || bytes[i] == '\n') {
            refuse(p, 400, "an empty line that does not end in CR LF");
            return false;
        } else {
            break;
        }
    }
    return true;
}

/* llhttp takes CR CR for the end of a status line. */
static bool status_line(struct h1_parser *p, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !p->line_done; i++) {
        if (p->half_line && bytes[i] != '\n') {
            refuse(p, 502, "a status line that does not end in CR LF");
            return false;
        }
        p->half_line = bytes[i] == '\r';
        p->line_done = bytes[i] == '\n';
    }
    return true;
}

/*
 * Bounds what no span shows: padding of values, zeros before a chunk's size, its extensions, empty
 * lines. Whether the message, of which more is to come, is still worth reading.
 */
static bool worth_reading(struct h1_parser *p, size_t len)
{
    p->overhead = p->overhead + (int64_t)len > 0 ? p->overhead + (int64_t)len : 0;
    if (p->overhead <= OVERHEAD_MAX * (int64_t)p->limits->max_head_bytes) {
        return true;
    }
    if (p->started && p->head_done) {
        refuse(p, 400, "too many bytes around the body");
    } else {
        refuse(p, 431, "the header fields are too large");
    }
    return false;
}

enum h1_result h1_feed(struct h1_parser *p, const char *bytes, size_t len, size_t *out_used)
{
    *out_used = len;
    if (p->bad_status != 0 || (!p->started && !empty_lines(p, bytes, len))) {
        return H1_BAD;
    }
    if (p->ll.type == HTTP_RESPONSE && !p->line_done && !status_line(p, bytes, len)) {
        return H1_BAD;
    }
    p->shift = (uint32_t)(uintptr_t)bytes - p->fed;
    llhttp_errno_t code = llhttp_execute(&p->ll, bytes, len);
    if (code == HPE_OK) {
        p->fed += (uint32_t)len;
        return worth_reading(p, len) ? H1_MORE : H1_BAD;
    }
    if (p->stopped) {
        return H1_STOPPED;
    }
    if (code != HPE_PAUSED || p->started) {
        return bad(p, code);
    }
    *out_used = (size_t)(llhttp_get_error_pos(&p->ll) - bytes);
    p->fed += (uint32_t)*out_used;
    p->overhead = 0;
    llhttp_resume(&p->ll);
    return H1_DONE;
}

enum h1_result h1_finish(struct h1_parser *p)
{
    if (!p->started) {
        return H1_MORE;
    }
    llhttp_errno_t code = llhttp_finish(&p->ll);
    if (code == HPE_PAUSED && !p->started) {
        p->keep_alive = false;
        return H1_DONE;
    }
    if (p->stopped) {
        return H1_STOPPED;
    }
    refuse(p, 400, "the connection ended in the middle of a message");
    return H1_BAD;
}
