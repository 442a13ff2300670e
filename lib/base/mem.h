// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory of small fixed size, and programmer errors.
 *
 * The x* functions never return NULL: when the memory of a small thing is gone the process ends
 * with one line on stderr. They are not for sizes that an outside party chooses: cap those first
 * (struct strbuf does).
 */

#include "base/attr.h"

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
/* count * size, zeroed; ends the process when the product overflows. */
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1, 2)));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull, alloc_size(2)));
/* As xrealloc for an array; ends the process when the product overflows. */
void *xreallocarray(void *ptr, size_t count, size_t size)
    __attribute__((returns_nonnull, alloc_size(2, 3)));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));
/* printf into new memory; the caller frees. */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));

/* One zeroed struct: struct conn *c = NEW(struct conn); */
#define NEW(type) ((type *)xcalloc(1, sizeof(type)))

/* For CLEANUP on a pointer variable: CLEANUP(cleanup_free) char *name = xstrdup(x); */
void cleanup_free(void *pointer_to_pointer);
/* For CLEANUP on an int file descriptor; a negative one is left alone. */
void cleanup_close(int *fd);

/* The programmer promised this. Checked in every build; a broken promise ends the process. */
#define REQUIRE(cond)                                            \
    do {                                                         \
        if (__builtin_expect(!(cond), 0)) {                      \
            require_failed(#cond, __FILE__, __LINE__, __func__); \
        }                                                        \
    } while (0)

NORETURN void require_failed(const char *cond, const char *file, int line, const char *func);
