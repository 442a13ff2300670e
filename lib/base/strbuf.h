// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An owned, growable byte buffer with a maximum that is fixed at init.
 * Always NUL-terminated after init: buf.ptr can be printed.
 *
 * An append that would pass the maximum adds nothing, returns ERR_TOO_BIG and marks the buffer:
 * later appends add nothing either, so a series may be checked once with strbuf_ok().
 *
 *     CLEANUP(strbuf_fini) struct strbuf s;
 *     strbuf_init(&s, 4096);
 *     strbuf_appendf(&s, "%d items", n);
 *     strbuf_append_str(&s, "\n");
 *     if (!strbuf_ok(&s)) { … }
 */

#include <stdarg.h>

#include "base/slice.h"

struct strbuf {
    char *ptr;   /* owned; NUL at ptr[len]; read-only while cap is 0 */
    size_t len;  /* bytes in use, without the NUL */
    size_t cap;  /* private: allocated, 0 when ptr is the shared empty string */
    size_t max;  /* largest len */
    bool failed; /* private: an append did not fit */
};

/* max: most bytes that it will ever hold (without the NUL). Allocates nothing yet. */
void strbuf_init(struct strbuf *buf, size_t max);
/* Releases; the buffer is as after init with the same max. A zeroed struct is fine. */
void strbuf_fini(struct strbuf *buf);
/* Empties, keeps the memory, forgets a failure. */
void strbuf_clear(struct strbuf *buf);

/* 0 or ERR_TOO_BIG. */
int strbuf_append(struct strbuf *buf, const void *bytes, size_t len);
int strbuf_append_slice(struct strbuf *buf, struct slice s);
int strbuf_append_str(struct strbuf *buf, const char *text);
int strbuf_append_char(struct strbuf *buf, char c);
int strbuf_appendf(struct strbuf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
int strbuf_vappendf(struct strbuf *buf, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Appends s as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
int strbuf_append_json(struct strbuf *buf, struct slice s);

/* Makes room for `len` more bytes: write to the returned place, then strbuf_commit(). NULL: max. */
char *strbuf_reserve(struct strbuf *buf, size_t len);
/* len at most what was reserved. */
void strbuf_commit(struct strbuf *buf, size_t len);

/* Drops the first n bytes (n <= len); moves the rest. */
void strbuf_consume(struct strbuf *buf, size_t n);
/* Cuts to len (not longer than it is). */
void strbuf_truncate(struct strbuf *buf, size_t len);

/* Hands over the NUL-terminated memory (caller frees; never NULL); the buffer is empty then. */
char *strbuf_take(struct strbuf *buf, size_t *out_len);

static inline bool strbuf_ok(const struct strbuf *buf)
{
    return !buf->failed;
}

static inline struct slice strbuf_slice(const struct strbuf *buf)
{
    return slice_of(buf->ptr, buf->len);
}
