// SPDX-License-Identifier: Apache-2.0
/*
 * What a strict reader of RFC 9112 refuses and llhttp lets pass: version, Host, target form,
 * transfer codings, Expect. Pure: a complete head in, a status and a sentence out.
 */

#include "http/h1.h"

static bool port_valid(struct slice port)
{
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9') {
            return false;
        }
    }
    return port.len <= 5;
}

bool h1_host_valid(struct slice host)
{
    static const bool in_name[256] = {['0' ... '9'] = true, ['a' ... 'z'] = true,
                                      ['A' ... 'Z'] = true, ['.'] = true,
                                      ['-'] = true,         ['_'] = true};
    static const bool in_address[256] = {['0' ... '9'] = true,
                                         ['a' ... 'f'] = true,
                                         ['A' ... 'F'] = true,
                                         [':'] = true,
                                         ['.'] = true};
    size_t i = 0;
    if (host.len == 0 || host.len > 255 + 6) {
        return false;
    }
    if (host.ptr[0] == '[') {
        i = 1;
        while (i < host.len && in_address[(unsigned char)host.ptr[i]]) {
            i++;
        }
        if (i == 1 || i >= host.len || host.ptr[i++] != ']') {
            return false;
        }
    } else {
        while (i < host.len && in_name[(unsigned char)host.ptr[i]]) {
            i++;
        }
        if (i == 0) {
            return false;
        }
    }
    return i == host.len || (host.ptr[i] == ':' && port_valid(slice_sub(host, i + 1, host.len)));
}

/* "http://host/path" → authority and "/path". The text is ours, so "/" may be put before '?'. */
static bool absolute_form(struct http_head *head, struct h1_message *m)
{
    struct slice t = head->target;
    size_t skip = 0;
    if (t.len > 7 && slice_eq_nocase(slice_of(t.ptr, 7), SLICE_LIT("http://"))) {
        skip = 7;
    } else if (t.len > 8 && slice_eq_nocase(slice_of(t.ptr, 8), SLICE_LIT("https://"))) {
        skip = 8;
    } else {
        return false;
    }
    size_t end = skip;
    while (end < t.len && t.ptr[end] != '/' && t.ptr[end] != '?') {
        end++;
    }
    if (end == skip) {
        return false;
    }
    head->authority = slice_of(t.ptr + skip, end - skip);
    if (end == t.len) {
        head->target = SLICE_LIT("/");
    } else if (t.ptr[end] == '/') {
        head->target = slice_sub(t, end, t.len);
    } else { /* "http://host?q": the authority moves one to the left to make room for the slash */
        char *text = m->text + (t.ptr - m->text);
        memmove(text + skip - 1, text + skip, end - skip);
        text[end - 1] = '/';
        head->authority.ptr--;
        head->target = slice_of(text + end - 1, t.len - end + 1);
    }
    return true;
}

static int check_target(struct h1_message *m, const char **out_text)
{
    struct http_head *head = &m->head;
    struct slice t = head->target;
    if (head->method_id == HTTP_METHOD_CONNECT) {
        *out_text = "CONNECT is not served here";
        return 405;
    }
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '#') {
            *out_text = c == '#' ? "the request target has a fragment"
                                 : "the request target has a byte that does not belong there";
            return 400;
        }
    }
    if (t.len > 0 && t.ptr[0] == '/') {
        return 0;
    }
    if (slice_eq(t, SLICE_LIT("*"))) {
        if (head->method_id == HTTP_METHOD_OPTIONS) {
            return 0;
        }
    } else if (absolute_form(head, m)) {
        return 0;
    }
    *out_text = "the request target is neither a path nor an absolute URL";
    return 400;
}

static int check_host(struct http_head *head, const char **out_text)
{
    size_t n = 0;
    struct slice host = {0};
    for (size_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].id == HTTP_H_HOST) {
            host = head->headers[i].value;
            n++;
        }
    }
    if (n > 1) {
        *out_text = "more than one Host";
        return 400;
    }
    if (n == 0 && head->version >= 11) {
        *out_text = "no Host";
        return 400;
    }
    if (head->authority.len == 0) {
        head->authority = host;
    } else if (n == 1 && !h1_host_valid(host)) {
        *out_text = "the Host is not a host";
        return 400;
    }
    if ((n > 0 || head->authority.len > 0) && !h1_host_valid(head->authority)) {
        *out_text = "the Host is not a host";
        return 400;
    }
    return 0;
}

/* Transfer-Encoding: chunked, once, in HTTP/1.1, without Content-Length; nothing else. */
static int check_coding(const struct http_head *head, const char **out_text)
{
    size_t n_te = 0;
    size_t n_cl = 0;
    bool known = true;
    if (!http_head_may_have(head, HTTP_ID_BIT(HTTP_H_TRANSFER_ENCODING) |
                                      HTTP_ID_BIT(HTTP_H_CONTENT_LENGTH))) {
        return 0;
    }
    for (size_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].id == HTTP_H_TRANSFER_ENCODING) {
            n_te++;
            known = slice_eq_nocase(head->headers[i].value, SLICE_LIT("chunked"));
        } else if (head->headers[i].id == HTTP_H_CONTENT_LENGTH) {
            n_cl++;
        }
    }
    if (n_te > 0 && (n_cl > 0 || head->version < 11)) {
        *out_text = "Transfer-Encoding does not belong here";
        return 400;
    }
    if (n_te > 1 || n_cl > 1) {
        *out_text = "the length of the body is given twice";
        return 400;
    }
    if (head->has_length && head->content_length > INT64_MAX) {
        *out_text = "the Content-Length is no length of a body";
        return 400;
    }
    if (!known) {
        *out_text = "the only transfer coding here is chunked";
        return 501;
    }
    return 0;
}

static int check_expect(struct http_head *head, const char **out_text)
{
    bool expects = false;
    if (!http_head_may_have(head, HTTP_ID_BIT(HTTP_H_EXPECT))) {
        return 0; /* expect_continue is false since http_head_init */
    }
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http_header *h = &head->headers[i];
        if (h->id != HTTP_H_EXPECT) {
            continue;
        }
        if (!slice_eq_nocase(h->value, SLICE_LIT("100-continue"))) {
            *out_text = "this expectation is not known";
            return 417;
        }
        expects = true;
    }
    head->expect_continue = expects && head->version >= 11 && head->body != HTTP_BODY_NONE &&
                            !(head->body == HTTP_BODY_LENGTH && head->content_length == 0);
    return 0;
}

static void find_te(struct http_head *head)
{
    const struct http_header *h = http_head_find_id(head, HTTP_H_TE);
    head->takes_trailers =
        h != NULL && head->version >= 11 && http_list_has(h->value, SLICE_LIT("trailers"));
}

/* An upgrade is asked for by both headers; to HTTP/2 never: it is not spoken that way here. */
static void find_upgrade(struct http_head *head)
{
    const struct http_header *h = http_head_find_id(head, HTTP_H_UPGRADE);
    if (h == NULL || head->version < 11 || h->value.len == 0) {
        return;
    }
    struct slice rest = h->value;
    struct slice part;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (part.len >= 2 && slice_eq_nocase(slice_of(part.ptr, 2), SLICE_LIT("h2"))) {
            return;
        }
    }
    for (size_t i = 0; i < head->n_headers; i++) {
        if (head->headers[i].id == HTTP_H_CONNECTION &&
            http_list_has(head->headers[i].value, SLICE_LIT("upgrade"))) {
            head->upgrade = h->value;
        }
    }
}

int h1_check_request(struct h1_message *m, const char **out_text)
{
    struct http_head *head = &m->head;
    if (head->version != 10 && head->version != 11) {
        *out_text = "this HTTP version is not supported";
        return 505;
    }
    int status = check_coding(head, out_text);
    if (status == 0) {
        status = check_target(m, out_text);
    }
    if (status == 0) {
        status = check_host(head, out_text);
    }
    if (status == 0) {
        status = check_expect(head, out_text);
    }
    if (status == 0) {
        find_te(head);
        find_upgrade(head);
        if (head->upgrade.len > 0 && head->body != HTTP_BODY_NONE) {
            head->upgrade = (struct slice){0}; /* a body first, then a tunnel: not offered */
        }
    }
    return status;
}

int h1_check_response(const struct h1_message *m, const char **out_text)
{
    const struct http_head *head = &m->head;
    if (head->version != 10 && head->version != 11) {
        *out_text = "the answer is not HTTP/1.1";
        return 502;
    }
    if (head->status < 100 || head->status > 999) {
        *out_text = "the answer has no status";
        return 502;
    }
    return check_coding(head, out_text) == 0 ? 0 : 502;
}
