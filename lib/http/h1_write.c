// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1.1, write side: one pass to add up the length, one to copy. Names and values are written as
 * they are; who made the head answers for them (head.h).
 */

#include <inttypes.h>

#include "http/h1.h"

#define FIXED_MAX 512 /* status line, framing and connection headers, Date */

static inline char *put(char *to, const char *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static inline char *put_slice(char *to, struct slice s)
{
    return s.len == 0 ? to : put(to, s.ptr, s.len);
}

#define PUT_LIT(to, lit) put((to), "" lit, sizeof(lit) - 1)

static char *put_u64(char *to, uint64_t n)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return put(to, digits + i, sizeof(digits) - i);
}

static size_t headers_size(const struct http_head *head)
{
    size_t n = 0;
    for (size_t i = 0; i < head->n_headers; i++) {
        n += head->headers[i].name.len + head->headers[i].value.len + 4;
    }
    return n;
}

static char *put_headers(char *to, const struct http_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        to = put_slice(to, head->headers[i].name);
        to = PUT_LIT(to, ": ");
        to = put_slice(to, head->headers[i].value);
        to = PUT_LIT(to, "\r\n");
    }
    return to;
}

/* A request that asks for trailers says so, and that this is for the next hop only. */
static char *put_te(char *to, const struct http_head *head, enum h1_connection conn)
{
    if (!head->takes_trailers) {
        return to;
    }
    to = PUT_LIT(to, "TE: trailers\r\n");
    return conn == H1_KEEP ? PUT_LIT(to, "Connection: TE\r\n") : to;
}

static char *put_connection(char *to, const struct http_head *head, enum h1_connection conn)
{
    switch (conn) {
    case H1_KEEP_SAY:
        return PUT_LIT(to, "Connection: keep-alive\r\n");
    case H1_CLOSE:
        to = PUT_LIT(to, "Connection: close");
        return head->takes_trailers ? PUT_LIT(to, ", TE\r\n") : PUT_LIT(to, "\r\n");
    case H1_UPGRADE:
        to = PUT_LIT(to, "Connection: upgrade");
        to = head->takes_trailers ? PUT_LIT(to, ", TE") : to;
        to = PUT_LIT(to, "\r\nUpgrade: ");
        to = put_slice(to, head->upgrade);
        return PUT_LIT(to, "\r\n");
    case H1_KEEP:
    case H1_SAY_NOTHING:
        break;
    }
    return to;
}

bool h1_write_request(struct strbuf *out, const struct http_head *head, enum h1_connection conn)
{
    size_t room = FIXED_MAX + head->method.len + head->target.len + head->authority.len +
                  head->upgrade.len + headers_size(head);
    char *start = strbuf_reserve(out, room);
    if (start == NULL) {
        return false;
    }
    char *to = put_slice(start, head->method);
    *to++ = ' ';
    to = put_slice(to, head->target);
    to = PUT_LIT(to, " HTTP/1.1\r\nHost: ");
    /* HTTP/1.0 need not say a host; HTTP/1.1 must */
    to = head->authority.len > 0 ? put_slice(to, head->authority) : PUT_LIT(to, "localhost");
    to = PUT_LIT(to, "\r\n");
    to = put_headers(to, head);
    if (head->body == HTTP_BODY_STREAM) {
        to = PUT_LIT(to, "Transfer-Encoding: chunked\r\n");
    } else if (head->body == HTTP_BODY_LENGTH) {
        to = PUT_LIT(to, "Content-Length: ");
        to = put_u64(to, head->content_length);
        to = PUT_LIT(to, "\r\n");
    }
    to = put_te(to, head, conn);
    to = put_connection(to, head, conn);
    to = PUT_LIT(to, "\r\n");
    strbuf_commit(out, (size_t)(to - start));
    return true;
}

bool h1_write_trailers(struct strbuf *out, const struct http_head *trailers)
{
    size_t room = headers_size(trailers);
    char *start = strbuf_reserve(out, room);
    if (start == NULL) {
        return false;
    }
    strbuf_commit(out, (size_t)(put_headers(start, trailers) - start));
    return true;
}

bool h1_write_response(struct strbuf *out, const struct http_head *head, enum h1_connection conn,
                       bool chunked, struct slice date)
{
    const char *text = http_status_text(head->status);
    size_t text_len = strlen(text);
    size_t room = FIXED_MAX + text_len + head->upgrade.len + headers_size(head);
    char *start = strbuf_reserve(out, room);
    if (start == NULL) {
        return false;
    }
    char *to = PUT_LIT(start, "HTTP/1.1 ");
    *to++ = (char)('0' + head->status / 100 % 10);
    *to++ = (char)('0' + head->status / 10 % 10);
    *to++ = (char)('0' + head->status % 10);
    *to++ = ' ';
    to = put(to, text, text_len);
    to = PUT_LIT(to, "\r\n");
    to = put_headers(to, head);
    if (date.len > 0) {
        to = PUT_LIT(to, "Date: ");
        to = put_slice(to, date);
        to = PUT_LIT(to, "\r\n");
    }
    if (chunked) {
        to = PUT_LIT(to, "Transfer-Encoding: chunked\r\n");
    } else if (head->body == HTTP_BODY_LENGTH ||
               (head->has_length && head->status >= 200 && head->status != 204)) {
        to = PUT_LIT(to, "Content-Length: ");
        to = put_u64(to, head->content_length);
        to = PUT_LIT(to, "\r\n");
    }
    to = put_connection(to, head, conn);
    to = PUT_LIT(to, "\r\n");
    strbuf_commit(out, (size_t)(to - start));
    return true;
}

size_t h1_chunk_head(char *buf, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 1;
    for (size_t rest = len >> 4; rest > 0; rest >>= 4) {
        n++;
    }
    for (size_t i = n; i-- > 0; len >>= 4) {
        buf[i] = hex[len & 15];
    }
    buf[n] = '\r';
    buf[n + 1] = '\n';
    return n + 2;
}
