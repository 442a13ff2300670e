// SPDX-License-Identifier: Apache-2.0
// Input: header lines, an empty line, a body. What is taken for CloudEvents keeps the rules, and is
// the same after it was packed, and written in either mode and read again.
#include "base/strbuf.h"
#include "events/event_http.h"
#include "fuzz.h"

enum { HEADERS_ROOM = 64, TEXT_BYTES = 1 << 20 };

static struct slice trim_json(struct slice text)
{
    while (text.len > 0 && memchr(" \t\r\n", text.ptr[0], 4) != NULL) {
        text = slice_sub(text, 1, text.len);
    }
    while (text.len > 0 && memchr(" \t\r\n", text.ptr[text.len - 1], 4) != NULL) {
        text.len--;
    }
    return text;
}

static void must_be_same(const struct event *a, const struct event *b, bool kinds)
{
    for (int id = 0; id < EVENT_ATTR_N; id++) {
        MUST_HOLD(slice_eq(slice_trim(a->known[id]), slice_trim(b->known[id])) ||
                  (id == EVENT_DATACONTENTTYPE && a->known[id].ptr == NULL));
        MUST_HOLD(id == EVENT_DATACONTENTTYPE || slice_eq(a->known[id], b->known[id]));
    }
    MUST_HOLD(a->n_extensions == b->n_extensions);
    for (unsigned i = 0; i < a->n_extensions; i++) {
        const struct event_attr *attr = event_extension(b, a->extensions[i].name);
        MUST_HOLD(attr != NULL && slice_eq(attr->value, a->extensions[i].value));
        MUST_HOLD(!kinds || attr->kind == a->extensions[i].kind);
    }
    MUST_HOLD(slice_eq(trim_json(a->data), trim_json(b->data)));
}

static void check_packed(const struct event *ev, struct strbuf *text)
{
    struct event back;
    strbuf_clear(text);
    event_pack(ev, text);
    MUST_HOLD(strbuf_ok(text) && event_unpack(strbuf_slice(text), ev->data, &back, NULL) == 0);
    must_be_same(ev, &back, true);
    MUST_HOLD(ev->n_carried == back.n_carried);
    event_fini(&back);
}

static void check_written(const struct event *ev, struct strbuf *text)
{
    struct event_headers headers;
    struct event_batch back;
    struct error err;
    if (event_http_binary(ev, &headers, &err) == 0) {
        struct slice body = ev->data.ptr == NULL ? SLICE_EMPTY : ev->data;
        MUST_HOLD(event_http_read(headers.items, headers.n, body, &back, &err) == 0);
        must_be_same(ev, &back.items[0], false);
        event_batch_fini(&back);
        event_headers_fini(&headers);
    }
    strbuf_clear(text);
    if (event_http_structured(ev, text, &err) == 0) {
        struct event again;
        MUST_HOLD(event_json_read(strbuf_slice(text), &again, &err) == 0);
        must_be_same(ev, &again, true);
        event_fini(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct slice line, rest = {(const char *)bytes, size};
    struct event_header headers[HEADERS_ROOM];
    struct event_batch batch;
    struct error err = {.code = 0};
    size_t n = 0;
    if (size > 64u * 1024) {
        return 0;
    }
    while (rest.len > 0 && slice_split(&rest, '\n', &line) && line.len > 0) {
        ptrdiff_t colon = slice_find(line, ':');
        if (colon > 0 && n < HEADERS_ROOM) {
            headers[n].name = slice_sub(line, 0, (size_t)colon);
            headers[n++].value = slice_sub(line, (size_t)colon + 1, line.len);
        }
    }
    rest = rest.ptr == NULL ? SLICE_EMPTY : rest;
    if (event_http_read(headers, n, rest, &batch, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        return 0;
    }
    struct strbuf text;
    strbuf_init(&text, TEXT_BYTES);
    for (size_t i = 0; i < batch.len; i++) {
        MUST_HOLD(event_check(&batch.items[i], NULL) == 0);
        check_packed(&batch.items[i], &text);
        check_written(&batch.items[i], &text);
    }
    strbuf_fini(&text);
    event_batch_fini(&batch);
    return 0;
}
