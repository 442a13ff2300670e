// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A borrowed view of bytes: a pointer and a length, never NUL-terminated by promise.
 * Owns nothing; valid only as long as the memory behind it.
 */

#include "base/attr.h"

struct slice {
    const char *ptr; /* borrowed; may be NULL only when len is 0 */
    size_t len;
};

/* A string literal as a slice: SLICE_LIT("host"). */
#define SLICE_LIT(lit) ((struct slice){"" lit, sizeof(lit) - 1})
#define SLICE_EMPTY    ((struct slice){"", 0})
/* For printf("%.*s", SLICE_FMT(s)). */
#define SLICE_FMT(s) (int)(s).len, (s).ptr == NULL ? "" : (s).ptr

static inline struct slice slice_of(const char *ptr, size_t len)
{
    return (struct slice){ptr, len};
}

/* text may be NULL: the slice is then empty. */
static inline struct slice slice_str(const char *text)
{
    return text == NULL ? (struct slice){"", 0} : (struct slice){text, strlen(text)};
}

static inline bool slice_empty(struct slice s)
{
    return s.len == 0;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Compare with a NUL-terminated text. */
static inline bool slice_eq_str(struct slice a, const char *text)
{
    return slice_eq(a, slice_str(text));
}

/* ASCII letters compare without regard to case; no locale. */
bool slice_eq_nocase(struct slice a, struct slice b);
/* Order by bytes, shorter first when one is the start of the other: <0, 0, >0. */
int slice_cmp(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_ends_with(struct slice s, struct slice suffix);

/* The part from `from`, at most `len` bytes; both are cut to what is there. */
struct slice slice_sub(struct slice s, size_t from, size_t len);
/* Without spaces and tabs at both ends. */
struct slice slice_trim(struct slice s);
/* Position of a byte, or -1. */
ptrdiff_t slice_find(struct slice s, char c);
/* Position of the last such byte, or -1. */
ptrdiff_t slice_rfind(struct slice s, char c);

/*
 * Take the text before the next `sep` off *rest. Returns false when *rest is used up:
 *     while (slice_split(&rest, ',', &part)) { … }
 * "a,,b" gives "a", "", "b"; "a," gives "a", ""; "" gives one empty part; a NULL ptr gives nothing.
 */
bool slice_split(struct slice *rest, char sep, struct slice *out_part);

/* A NUL-terminated copy in new memory; the caller frees. */
char *slice_dup(struct slice s) __attribute__((malloc, returns_nonnull));
/* The same; NULL for an empty one. */
char *slice_dup_or_null(struct slice s);
/* Copy into buf with NUL; false (and an empty buf) when it does not fit. size > 0. */
bool slice_copy(struct slice s, char *buf, size_t size);
