// SPDX-License-Identifier: Apache-2.0
/* Views of bytes. Nothing here can fail; lengths are always cut to what is there. */
#include "base/slice.h"

#include "base/mem.h"

static unsigned char ascii_lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + 32) : u;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    if (c != 0) {
        return c;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool slice_starts_with(struct slice s, struct slice prefix)
{
    return slice_eq(slice_sub(s, 0, prefix.len), prefix);
}

bool slice_ends_with(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len && slice_eq(slice_sub(s, s.len - suffix.len, suffix.len), suffix);
}

struct slice slice_sub(struct slice s, size_t from, size_t len)
{
    if (from >= s.len) {
        return SLICE_EMPTY;
    }
    size_t left = s.len - from;
    return slice_of(s.ptr + from, len < left ? len : left);
}

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

ptrdiff_t slice_find(struct slice s, char c)
{
    const char *p = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);
    return p == NULL ? -1 : p - s.ptr;
}

ptrdiff_t slice_rfind(struct slice s, char c)
{
    const char *p = s.len == 0 ? NULL : memrchr(s.ptr, c, s.len);
    return p == NULL ? -1 : p - s.ptr;
}

bool slice_split(struct slice *rest, char sep, struct slice *out_part)
{
    /* A NULL pointer marks "used up", so that a trailing separator still gives its empty part. */
    if (rest->ptr == NULL) {
        return false;
    }
    ptrdiff_t at = slice_find(*rest, sep);
    if (at < 0) {
        *out_part = *rest;
        *rest = slice_of(NULL, 0);
        return true;
    }
    *out_part = slice_of(rest->ptr, (size_t)at);
    *rest = slice_of(rest->ptr + at + 1, rest->len - (size_t)at - 1);
    return true;
}

char *slice_dup(struct slice s)
{
    return xstrndup(s.ptr, s.len);
}

char *slice_dup_or_null(struct slice s)
{
    return slice_empty(s) ? NULL : slice_dup(s);
}

bool slice_copy(struct slice s, char *buf, size_t size)
{
    if (s.len >= size) {
        buf[0] = '\0';
        return false;
    }
    if (s.len > 0) {
        memcpy(buf, s.ptr, s.len);
    }
    buf[s.len] = '\0';
    return true;
}
