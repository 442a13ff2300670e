// SPDX-License-Identifier: Apache-2.0
// Input: a frame of ops from another shard. What is read is written again to the same bytes, and
// names what it must.

#include "activator/slot_ops.h"
#include "fuzz.h"

static void again(const struct slot_message *m, struct slice bytes)
{
    struct ops_out out;
    struct slice frame;
    size_t at = 0;
    ops_init(&out, 1 << 16);
    ops_put(&out, m);
    MUST_HOLD(ops_ok(&out) && ops_next_frame(&out, &at, &frame));
    MUST_HOLD(slice_eq(frame, bytes));
    MUST_HOLD(!ops_next_frame(&out, &at, &frame));
    ops_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data, size};
    struct slice before = rest;
    struct slot_message m;
    struct error err;
    while (ops_read(&rest, &m, &err) == 1) {
        MUST_HOLD(rest.len < before.len);
        MUST_HOLD(m.op != SLOT_RESERVE || (m.revision.len > 0 && m.replica.len == 0));
        MUST_HOLD(m.op != SLOT_CLAIM || (m.revision.len > 0 && m.replica.len > 0));
        MUST_HOLD(m.op != SLOT_GRANT || (m.revision.len == 0 && m.replica.len > 0));
        again(&m, slice_of(before.ptr, before.len - rest.len));
        before = rest;
    }
    return 0;
}
