// SPDX-License-Identifier: Apache-2.0
// Input: one byte that says how the rest is cut into reads and whether it is an answer, then the
// bytes of one side of a connection. However the bytes are cut, the parser must come to the same
// messages; what it accepts must stay the same when our writer has written it and it is read again.

#include "http/h1.h"
#include "fuzz.h"

#define MESSAGES_MAX 64

struct seen {
    uint64_t hash; // of every head and body byte, in order
    unsigned messages;
    unsigned heads;
    enum h1_result end;
    bool check; // write accepted heads and read them again
};

static void mix(struct seen *seen, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        seen->hash = (seen->hash ^ (uint8_t)bytes[i]) * 0x100000001b3u;
    }
}

static void mix_slice(struct seen *seen, struct slice s)
{
    mix(seen, s.ptr, s.len);
    mix(seen, "\n", 1);
}

static enum h1_go take_head(struct h1_parser *p, void *owner);

static bool take_body(struct h1_parser *p, struct slice chunk, void *owner)
{
    (void)p;
    mix(owner, chunk.ptr, chunk.len);
    return true;
}

static const struct h1_events EVENTS = {take_head, take_body};

// What a proxy would send on must mean one message with one head to the next parser.
static void write_and_read(const struct http_head *head)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    struct http_limits limits = http_limits_default();
    struct http_header room[HTTP_MAX_HEADERS];
    struct http_head copy;
    struct h1_message again;
    struct h1_parser p;
    struct seen seen = {0};
    size_t used;

    strbuf_init(&out, 256u * 1024);
    http_head_init(&copy, room, HTTP_MAX_HEADERS);
    if (http_head_copy(head, &copy) < 0) {
        return;
    }
    copy.authority = head->authority.len ? head->authority : (struct slice){"h", 1}; // HTTP/1.0
    copy.body = HTTP_BODY_LENGTH;
    copy.content_length = 0;
    copy.has_length = true;
    MUST_HOLD(h1_write_request(&out, &copy, H1_KEEP));
    h1_message_init(&again);
    limits.max_head_bytes *= 2;
    limits.max_headers = HTTP_MAX_HEADERS;
    h1_parser_init(&p, HTTP_REQUEST, &limits, &EVENTS, &seen);
    p.msg = &again;
    MUST_HOLD(h1_feed(&p, out.ptr, out.len, &used) == H1_DONE);
    MUST_HOLD(used == out.len && seen.heads == 1);
    MUST_HOLD(slice_eq(again.head.target, head->target));
    MUST_HOLD(slice_eq(again.head.method, head->method));
    h1_message_fini(&again);
}

static enum h1_go take_head(struct h1_parser *p, void *owner)
{
    struct seen *seen = owner;
    const char *text;
    seen->heads++;
    bool answer = p->msg->head.status != 0;
    int bad = answer ? h1_check_response(p->msg, &text) : h1_check_request(p->msg, &text);
    if (bad) {
        mix(seen, "bad", 3);
        return H1_STOP;
    }
    const struct http_head *head = &p->msg->head;
    mix_slice(seen, head->method);
    mix_slice(seen, head->target);
    mix_slice(seen, head->authority);
    for (size_t i = 0; i < head->n_headers; i++) {
        mix_slice(seen, head->headers[i].name);
        mix_slice(seen, head->headers[i].value);
        MUST_HOLD(http_name_valid(head->headers[i].name));
        MUST_HOLD(http_value_valid(head->headers[i].value));
    }
    if (seen->check && !answer) {
        write_and_read(head);
    }
    return H1_GO;
}

// Feeds the bytes in reads of `step` (0: all at once).
static struct seen run(const char *bytes, size_t len, enum llhttp_type type, size_t step,
                       bool check)
{
    struct http_limits limits = http_limits_default();
    struct h1_message m;
    struct h1_parser p;
    struct seen seen = {.end = H1_MORE, .check = check};

    h1_message_init(&m);
    h1_parser_init(&p, type, &limits, &EVENTS, &seen);
    p.msg = &m;
    while (len > 0 && seen.messages < MESSAGES_MAX) {
        size_t used = 0;
        size_t n = step && step < len ? step : len;
        char *exact = malloc(n); // so that a read past the end is seen
        MUST_HOLD(exact);
        memcpy(exact, bytes, n);
        seen.end = h1_feed(&p, exact, n, &used);
        free(exact);
        MUST_HOLD(used <= n);
        if (seen.end == H1_BAD) {
            MUST_HOLD(p.bad_status >= 400 && p.bad_text);
        }
        if (seen.end == H1_BAD || seen.end == H1_STOPPED || p.tunnel) {
            break;
        }
        MUST_HOLD(seen.end == H1_DONE || used == n);
        if (seen.end == H1_DONE) {
            seen.messages++;
            mix(&seen, "done", 4);
            if (!p.keep_alive) {
                break;
            }
            h1_message_reset(&m);
        }
        bytes += used;
        len -= used;
    }
    h1_message_fini(&m);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    enum llhttp_type type = data[0] & 0x80 ? HTTP_RESPONSE : HTTP_REQUEST;
    const char *bytes = (const char *)data + 1;
    struct seen whole = run(bytes, size - 1, type, 0, true);
    struct seen cut = run(bytes, size - 1, type, 1u + (data[0] & 0x7f) % 61, false);
    MUST_HOLD(whole.messages == cut.messages);
    if (whole.end != H1_BAD && cut.end != H1_BAD) {
        MUST_HOLD(whole.hash == cut.hash);
    }
    return 0;
}
