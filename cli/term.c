// SPDX-License-Identifier: Apache-2.0
//
// A byte at a time: whole characters are judged; bytes that are no UTF-8 are shown as \xNN. A
// carriage return is let through only before a newline: alone it would overwrite the line.
#include "cli/term.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

#define PIECE_MAX (1u << 20)

static size_t length_of(unsigned char first)
{
    return first < 0x80                    ? 1
           : first >= 0xc2 && first < 0xe0 ? 2
           : (first & 0xf0) == 0xe0        ? 3
           : first >= 0xf0 && first < 0xf5 ? 4
                                           : 0;
}

static void put_bytes(struct strbuf *out, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        strbuf_appendf(out, "\\x%02x", bytes[i]);
    }
}

static bool harmless(uint32_t c)
{
    bool control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
    bool turns = (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    bool odd = c == 0x2028 || c == 0x2029 || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff;

    return !control && !turns && !odd;
}

static void put_character(struct strbuf *out, const unsigned char *bytes, size_t n)
{
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = n == 1 ? bytes[0] : bytes[0] & (0xffu >> (n + 1));

    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (bytes[i] & 0x3fu);
    }
    if (harmless(c) && c >= LEAST[n]) {
        strbuf_append(out, bytes, n);
    } else {
        put_bytes(out, bytes, n);
    }
}

void term_end(struct term_filter *f, struct strbuf *out)
{
    put_bytes(out, f->held, f->n_held);
    f->n_held = 0;
}

void term_harmless(struct term_filter *f, struct slice data, struct strbuf *out)
{
    for (size_t i = 0; i < data.len; i++) {
        unsigned char byte = (unsigned char)data.ptr[i];
        if (f->n_held == 1 && f->held[0] == '\r' && byte == '\n') {
            f->n_held = 0;
        } else if (f->n_held > 0 && (f->held[0] == '\r' || (byte & 0xc0) != 0x80)) {
            term_end(f, out);
        }
        f->held[f->n_held++] = byte;
        size_t whole = length_of(f->held[0]);
        if (whole == 0) {
            term_end(f, out);
        } else if (f->n_held == whole && byte != '\r') {
            put_character(out, f->held, f->n_held);
            f->n_held = 0;
        }
    }
}

// ---- the streams of this process

struct guard {
    int fd;
    struct term_filter filter;
};

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n <= 0) {
            return; // the terminal is gone
        }
        bytes += n;
        len -= (size_t)n;
    }
}

static ssize_t guard_write(void *arg, const char *bytes, size_t len)
{
    struct guard *g = arg;
    CLEANUP(strbuf_fini) struct strbuf out;
    size_t piece = len < PIECE_MAX / 8 ? len : PIECE_MAX / 8;

    strbuf_init(&out, PIECE_MAX);
    term_harmless(&g->filter, slice_of(bytes, piece), &out);
    write_all(g->fd, out.ptr, out.len);
    return (ssize_t)piece;
}

static FILE *guarded(FILE *stream, int fd)
{
    if (!isatty(fd)) {
        return stream;
    }
    struct guard *g = NEW(struct guard);
    g->fd = fd;
    FILE *made = fopencookie(g, "w", (cookie_io_functions_t){.write = guard_write});
    if (!made) {
        free(g);
        return stream;
    }
    setvbuf(made, NULL, _IOLBF, BUFSIZ);
    return made;
}

void term_guard(void)
{
    stdout = guarded(stdout, STDOUT_FILENO);
    stderr = guarded(stderr, STDERR_FILENO);
}
