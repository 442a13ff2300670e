// SPDX-License-Identifier: Apache-2.0
/* Plan: digits by hand; a broker writes some hundred thousand of them a second. */
#include "redis/command.h"

#define DIGITS_MAX 24

/* Writes "<mark><n>\r\n" to the end of buf; returns where it begins. */
static char *line(char mark, uint64_t n, char *buf, size_t size)
{
    char *p = buf + size;
    *--p = '\n';
    *--p = '\r';
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    *--p = mark;
    return p;
}

static void append_line(struct strbuf *out, char mark, uint64_t n)
{
    char buf[DIGITS_MAX];
    char *p = line(mark, n, buf, sizeof(buf));
    strbuf_append(out, p, (size_t)(buf + sizeof(buf) - p));
}

void redis_command_begin(struct strbuf *out, size_t count)
{
    append_line(out, '*', count);
}

void redis_command_arg(struct strbuf *out, struct slice arg)
{
    append_line(out, '$', arg.len);
    strbuf_append_slice(out, arg);
    strbuf_append(out, "\r\n", 2);
}

void redis_command_u64(struct strbuf *out, uint64_t n)
{
    char buf[DIGITS_MAX];
    char *p = line(' ', n, buf, sizeof(buf)) + 1;
    redis_command_arg(out, slice_of(p, (size_t)(buf + sizeof(buf) - p) - 2));
}
