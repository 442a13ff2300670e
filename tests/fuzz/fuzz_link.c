// SPDX-License-Identifier: Apache-2.0
/* Frames from anywhere: never more bytes than there are, and nothing passes without its code. */
#include "base/error.h"
#include "base/mem.h"
#include "link/proto.h"

static void decode_all(struct link_session *session, struct slice in, bool coded)
{
    struct link_frame frame;
    size_t used = 0;
    while (link_decode(session, in, &frame, &used, NULL) == 1) {
        REQUIRE(!coded && used >= LINK_HEAD_BYTES && used <= in.len);
        REQUIRE(frame.payload.len <= used);
        /* What was read is written again to the same bytes. */
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, 2 << 20);
        int rc = link_encode(session, frame.type, frame.payload, &out, NULL);
        REQUIRE(rc == 0 && slice_eq(strbuf_slice(&out), slice_sub(in, 0, used)));
        in = slice_sub(in, used, in.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of((const char *)data, size);
    struct link_session plain = {.sent = 0};
    struct link_session coded = {.sent = 0};
    const struct link_nonces nonces = {.server = "s", .client = "c"};
    decode_all(&plain, in, false);
    int rc = link_session_begin(&coded, SLICE_LIT("0123456789abcdef"), true, &nonces, NULL);
    REQUIRE(rc == 0);
    decode_all(&coded, in, true);
    link_session_fini(&coded);
    return 0;
}
