// SPDX-License-Identifier: Apache-2.0
/*
 * A pattern is cut at its '%' into pieces. The first must stand at the beginning and the last at
 * the end, where no '%' is; each piece between is taken at the first place where it fits, which is
 * as good as any other, so nothing is ever tried twice. A piece without '_' is found by memmem in
 * linear time; one with '_' counts steps.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "events/cesql_impl.h"

struct piece {
    struct slice text; /* in like->bytes; a '_' that stands for any character is any byte here */
    const bool *any;   /* beside each byte; NULL: there is none */
    size_t n_chars;
};

struct cesql_like {
    char *bytes;
    bool *any;
    struct piece *pieces; /* n of them, one at least; empty ones stand where a '%' is at an end */
    unsigned n;
};

static void end_piece(struct cesql_like *like, size_t from, size_t to)
{
    struct piece *p = &like->pieces[like->n++];
    *p = (struct piece){.text = slice_of(like->bytes + from, to - from)};
    p->n_chars = utf8_count(p->text);
    for (size_t i = from; i < to; i++) {
        if (like->any[i]) {
            p->any = like->any + from;
        }
    }
}

struct cesql_like *cesql_like_new(struct slice pattern)
{
    struct cesql_like *like = NEW(struct cesql_like);
    size_t len = 0, from = 0, percents = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        percents += pattern.ptr[i] == '%';
    }
    like->bytes = xmalloc(pattern.len + 1);
    like->any = xcalloc(pattern.len + 1, sizeof(*like->any));
    like->pieces = xcalloc(percents + 1, sizeof(*like->pieces));
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        bool escaped = c == '\\' && i + 1 < pattern.len &&
                       (pattern.ptr[i + 1] == '%' || pattern.ptr[i + 1] == '_');
        if (c == '%') {
            end_piece(like, from, len);
            from = len;
            continue;
        }
        i += escaped;
        like->any[len] = c == '_';
        like->bytes[len++] = pattern.ptr[i];
    }
    end_piece(like, from, len);
    return like;
}

void cesql_like_free(struct cesql_like *like)
{
    if (like != NULL) {
        free(like->bytes);
        free(like->any);
        free(like->pieces);
        free(like);
    }
}

/* How many bytes at the front of text the piece takes; -1: it does not stand there. */
static ptrdiff_t fits(const struct piece *p, struct slice text, int64_t *steps)
{
    size_t at = 0;
    if (p->any == NULL) {
        return slice_starts_with(text, p->text) ? (ptrdiff_t)p->text.len : -1;
    }
    for (size_t i = 0; i < p->text.len; i++) {
        *steps -= 1;
        if (at == text.len || (!p->any[i] && text.ptr[at] != p->text.ptr[i])) {
            return -1;
        }
        at += p->any[i] ? utf8_len(text.ptr + at, text.len - at) : 1;
    }
    return (ptrdiff_t)at;
}

/* Behind the first place where the piece stands; ptr NULL: there is none. */
static struct slice behind(const struct piece *p, struct slice text, int64_t *steps)
{
    if (p->any == NULL) {
        const char *at =
            p->text.len == 0 ? text.ptr : memmem(text.ptr, text.len, p->text.ptr, p->text.len);
        size_t passed = at == NULL ? text.len : (size_t)(at - text.ptr);
        *steps -= 1 + (int64_t)(passed / 16);
        return at == NULL ? (struct slice){NULL, 0}
                          : slice_sub(text, passed + p->text.len, text.len);
    }
    while (text.len > 0 && *steps >= 0) {
        ptrdiff_t len = fits(p, text, steps);
        if (len >= 0) {
            return slice_sub(text, (size_t)len, text.len);
        }
        text = slice_sub(text, utf8_len(text.ptr, text.len), text.len);
    }
    return (struct slice){NULL, 0};
}

/* The last n characters; false: there are fewer. */
static bool last_chars(struct slice *text, size_t n)
{
    size_t at = text->len;
    for (; n > 0; n--) {
        if (at == 0) {
            return false;
        }
        do {
            at--;
        } while (at > 0 && ((unsigned char)text->ptr[at] & 0xc0) == 0x80);
    }
    *text = slice_sub(*text, at, text->len);
    return true;
}

bool cesql_like_match(const struct cesql_like *like, struct slice text, int64_t *steps)
{
    const struct piece *last = &like->pieces[like->n - 1];
    ptrdiff_t len = fits(&like->pieces[0], text, steps);
    if (len < 0) {
        return false;
    }
    if (like->n == 1) {
        return (size_t)len == text.len;
    }
    text = slice_sub(text, (size_t)len, text.len);
    for (unsigned i = 1; i + 1 < like->n; i++) {
        text = behind(&like->pieces[i], text, steps);
        if (text.ptr == NULL || *steps < 0) {
            return false;
        }
    }
    if (last->any == NULL) {
        return slice_ends_with(text, last->text);
    }
    return last_chars(&text, last->n_chars) && fits(last, text, steps) == (ptrdiff_t)text.len;
}
