// SPDX-License-Identifier: Apache-2.0
// Input: a template, a zero byte, a value that a client sends. What compiles writes exactly one
// line, and no value can end it or leave the string that it stands in.

#include "http/log_template.h"
#include "fuzz.h"

static size_t count(struct slice s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += s.ptr[i] == c;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct slice value = SLICE_EMPTY;
    struct log_template *t;
    struct error err;
    const char *zero = size == 0 ? NULL : memchr(data, '\0', size);
    if (zero != NULL) {
        text.len = (size_t)(zero - text.ptr);
        value = slice_of(zero + 1, size - text.len - 1);
    }
    if (log_template_new(text, &t, &err) < 0) {
        MUST_HOLD(err.code == ERR_INVALID && err.msg[0] != '\0');
        return 0;
    }
    struct http_header room[1];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.method = head.target = head.authority = value;
    MUST_HOLD(http_head_add(&head, SLICE_LIT("User-Agent"), value) == 0);
    struct log_entry entry = {.request = &head, .peer = value, .revision = value};
    CLEANUP(strbuf_fini) struct strbuf line;
    strbuf_init(&line, 1u << 20);
    log_template_write(t, &entry, &line);
    if (strbuf_ok(&line)) { /* line feeds and quotes are the template's own */
        MUST_HOLD(line.len > 0 && line.ptr[line.len - 1] == '\n');
        MUST_HOLD(count(strbuf_slice(&line), '\n') <= count(text, '\n') + 1);
        size_t open = 0;
        for (size_t i = 0; i < line.len; i++) {
            open += line.ptr[i] == '"' && (i == 0 || line.ptr[i - 1] != '\\');
        }
        MUST_HOLD(open <= count(text, '"'));
    }
    log_template_free(t);
    return 0;
}
