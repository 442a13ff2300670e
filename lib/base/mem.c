// SPDX-License-Identifier: Apache-2.0
/*
 * Memory that does not fail. The only failure mode is the end of the process, with a line that
 * says why: in a memory-limited container the kernel would have ended it anyway.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <unistd.h>

static NORETURN void out_of_memory(size_t size)
{
    fprintf(stderr, "fatal: out of memory (%zu bytes)\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);
    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size);
    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *xrealloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size == 0 ? 1 : size);
    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *xreallocarray(void *ptr, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        out_of_memory(SIZE_MAX);
    }
    return xrealloc(ptr, bytes);
}

char *xstrndup(const char *text, size_t len)
{
    char *p = xmalloc(len + 1);
    if (len > 0) {
        memcpy(p, text, len);
    }
    p[len] = '\0';
    return p;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

char *xasprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        out_of_memory(0);
    }
    return text;
}

void cleanup_free(void *pointer_to_pointer)
{
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof(p));
    free(p);
}

void cleanup_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void require_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "fatal: %s:%d: %s: requirement not met: %s\n", file, line, func, cond);
    abort();
}
