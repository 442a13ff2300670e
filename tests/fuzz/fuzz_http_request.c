// SPDX-License-Identifier: Apache-2.0
/* A request: what was accepted and is written again reads as the same request, and ends at the same
 * byte. */
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct http_head *head)
{
    struct http_header room[40];
    struct http_head copy;
    struct strbuf out;
    struct fuzz_seen again;
    http_head_init(&copy, room, 40);
    FUZZ_CHECK(http_head_copy(head, &copy) == 0);
    if (copy.authority.len == 0) { /* HTTP/1.0 without Host */
        return;
    }
    copy.body = HTTP_BODY_NONE;
    strbuf_init(&out, 1 << 20);
    FUZZ_CHECK(h1_write_request(&out, &copy, H1_KEEP));
    fuzz_feed(&again, HTTP_REQUEST, out.ptr, out.len, out.len);
    FUZZ_CHECK(again.result == H1_DONE || again.status == 431);
    if (again.result == H1_DONE) {
        FUZZ_CHECK(again.used == out.len);
        FUZZ_CHECK(slice_eq(again.msg.head.target, head->target));
        FUZZ_CHECK(slice_eq(again.msg.head.authority, head->authority));
        FUZZ_CHECK(slice_eq(again.msg.head.method, head->method));
    }
    fuzz_free(&again);
    strbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_seen whole;
    struct fuzz_seen bytes;
    fuzz_both(&whole, &bytes, HTTP_REQUEST, data, size);
    if (whole.result == H1_DONE) {
        const struct http_head *head = &whole.msg.head;
        FUZZ_CHECK(head->version == 10 || head->version == 11);
        FUZZ_CHECK(head->version == 10 || h1_host_valid(head->authority));
        FUZZ_CHECK(head->target.len > 0 && (head->target.ptr[0] == '/' || head->target.len == 1));
        FUZZ_CHECK(slice_find(head->target, ' ') < 0);
        check_again(head);
    }
    fuzz_free(&whole);
    fuzz_free(&bytes);
    return 0;
}
