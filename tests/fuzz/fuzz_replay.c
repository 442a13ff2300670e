// SPDX-License-Identifier: Apache-2.0
// Input: a recording for `lull-autoscaler replay`. Whatever it says, decisions keep within their
// bounds, and what cannot be used is said in words.

#include "base/slice.h"
#include "autoscaler/replay.h"
#include "fuzz.h"

#define LINES_MAX 2000

static void believable(const struct replay *r)
{
    const struct revision *rev = r->rev;
    if (rev == NULL) {
        return;
    }
    const struct decision *d = &rev->last;
    MUST_HOLD(!d->valid || d->desired >= 0);
    MUST_HOLD(!d->valid || (d->stable >= 0 && d->panic >= 0));
    MUST_HOLD(rev->plan.want >= -1);
    MUST_HOLD(!rev->plan.write || rev->spec.max_scale == 0 ||
              rev->plan.want <= rev->spec.max_scale);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data, size};
    struct replay r;
    struct strbuf out;
    replay_init(&r);
    strbuf_init(&out, REPLAY_DECISION_MAX);
    for (int i = 0; i < LINES_MAX && rest.len > 0; i++) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr) + 1;
        struct error err = {0};
        int rc = replay_line(&r, slice_of(rest.ptr, len), &out, &err);
        MUST_HOLD(rc == 0 || err.msg[0] != '\0');
        MUST_HOLD(rc != ERR_TOO_BIG || out.len == 0);
        believable(&r);
        strbuf_clear(&out);
        rest.ptr += len;
        rest.len -= len;
    }
    strbuf_fini(&out);
    replay_fini(&r);
    return 0;
}
