// SPDX-License-Identifier: Apache-2.0
/*
 * Growable buffer. Happy path: grow by doubling up to max, copy, keep the NUL.
 * Failure: an append beyond max changes nothing but the failed mark.
 */
#include "base/strbuf.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"

static char *shared_empty(void)
{
    /* Never written: every writer asks strbuf_grow first, which leaves cap 0 behind. */
    static const char empty[1] = "";
    return (char *)(uintptr_t)empty;
}

void strbuf_init(struct strbuf *buf, size_t max)
{
    REQUIRE(max < SIZE_MAX / 2);
    *buf = (struct strbuf){.ptr = shared_empty(), .max = max};
}

void strbuf_fini(struct strbuf *buf)
{
    if (buf->cap > 0) {
        free(buf->ptr);
    }
    strbuf_init(buf, buf->max);
}

void strbuf_clear(struct strbuf *buf)
{
    strbuf_truncate(buf, 0);
    buf->failed = false;
}

static bool strbuf_grow(struct strbuf *buf, size_t more)
{
    if (buf->failed || more > buf->max - buf->len) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->len + more + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap < 32 ? 64 : buf->cap * 2;
        cap = cap < need ? need : cap;
        cap = cap > buf->max + 1 ? buf->max + 1 : cap;
        char *old = buf->cap == 0 ? NULL : buf->ptr;
        buf->ptr = xrealloc(old, cap);
        buf->cap = cap;
        buf->ptr[buf->len] = '\0';
    }
    return true;
}

int strbuf_append(struct strbuf *buf, const void *bytes, size_t len)
{
    if (!strbuf_grow(buf, len)) {
        return ERR_TOO_BIG;
    }
    if (len > 0) {
        memcpy(buf->ptr + buf->len, bytes, len);
        buf->len += len;
        buf->ptr[buf->len] = '\0';
    }
    return 0;
}

int strbuf_append_slice(struct strbuf *buf, struct slice s)
{
    return strbuf_append(buf, s.ptr, s.len);
}

int strbuf_append_str(struct strbuf *buf, const char *text)
{
    return strbuf_append(buf, text, strlen(text));
}

int strbuf_append_char(struct strbuf *buf, char c)
{
    if (buf->len + 1 < buf->cap && !buf->failed) {
        buf->ptr[buf->len++] = c;
        buf->ptr[buf->len] = '\0';
        return 0;
    }
    return strbuf_append(buf, &c, 1);
}

int strbuf_vappendf(struct strbuf *buf, const char *fmt, va_list ap)
{
    char small[256];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    REQUIRE(n >= 0);
    int rc;
    if ((size_t)n < sizeof(small)) {
        rc = strbuf_append(buf, small, (size_t)n);
    } else if (!strbuf_grow(buf, (size_t)n)) {
        rc = ERR_TOO_BIG;
    } else {
        vsnprintf(buf->ptr + buf->len, (size_t)n + 1, fmt, again);
        buf->len += (size_t)n;
        rc = 0;
    }
    va_end(again);
    return rc;
}

int strbuf_appendf(struct strbuf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = strbuf_vappendf(buf, fmt, ap);
    va_end(ap);
    return rc;
}

/* How many bytes at the front stand for themselves in JSON. */
static size_t plain_len(const unsigned char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\') {
        i++;
    }
    return i;
}

int strbuf_append_json(struct strbuf *buf, struct slice s)
{
    size_t before = buf->len;
    strbuf_append_char(buf, '"');
    for (size_t i = 0; i < s.len;) {
        size_t plain = plain_len((const unsigned char *)s.ptr + i, s.len - i);
        strbuf_append(buf, s.ptr + i, plain);
        i += plain;
        if (i == s.len) {
            break;
        }
        const unsigned char *p = (const unsigned char *)s.ptr + i;
        size_t n = utf8_len(s.ptr + i, s.len - i);
        if (n == 0) {
            strbuf_append_str(buf, "\\ufffd");
            i++;
            continue;
        }
        if (*p == '"' || *p == '\\') {
            char esc[2] = {'\\', (char)*p};
            strbuf_append(buf, esc, 2);
        } else if (*p == '\n') {
            strbuf_append_str(buf, "\\n");
        } else if (*p < 0x20 || *p == 0x7f) {
            strbuf_appendf(buf, "\\u%04x", *p);
        } else {
            strbuf_append(buf, p, n);
        }
        i += n;
    }
    int rc = strbuf_append_char(buf, '"');
    if (rc < 0) {
        strbuf_truncate(buf, before);
    }
    return rc;
}

char *strbuf_reserve(struct strbuf *buf, size_t len)
{
    return strbuf_grow(buf, len) ? buf->ptr + buf->len : NULL;
}

void strbuf_commit(struct strbuf *buf, size_t len)
{
    REQUIRE(len == 0 || buf->len + len < buf->cap);
    if (len > 0) {
        buf->len += len;
        buf->ptr[buf->len] = '\0';
    }
}

void strbuf_consume(struct strbuf *buf, size_t n)
{
    REQUIRE(n <= buf->len);
    if (n > 0) {
        memmove(buf->ptr, buf->ptr + n, buf->len - n + 1);
        buf->len -= n;
    }
}

void strbuf_truncate(struct strbuf *buf, size_t len)
{
    if (len < buf->len) {
        buf->len = len;
        buf->ptr[len] = '\0';
    }
}

char *strbuf_take(struct strbuf *buf, size_t *out_len)
{
    char *taken = buf->cap == 0 ? xstrdup("") : buf->ptr;
    if (out_len != NULL) {
        *out_len = buf->len;
    }
    strbuf_init(buf, buf->max);
    return taken;
}
