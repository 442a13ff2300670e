// SPDX-License-Identifier: Apache-2.0
// Input: an announcement of a replica. What is read can be written again to the same bytes, but for
// the code; and only with the right key is it signed.

#include "serving/announce.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct announcement a;
    struct announcement b;
    struct strbuf again;
    struct error err;
    char key[SHA256_HEX + 1];
    if (announcement_read(text, &a, &err) < 0) {
        MUST_HOLD(err.code == ERR_INVALID);
        return 0;
    }
    MUST_HOLD(size <= ANNOUNCE_MAX && a.nonce.len == ANNOUNCE_NONCE && a.code.len == SHA256_HEX);
    announce_key(SLICE_LIT("a secret that nobody guesses"), a.revision_uid, key);
    strbuf_init(&again, ANNOUNCE_MAX);
    MUST_HOLD(announcement_write(&a, slice_str(key), &again, &err) == 0);
    MUST_HOLD(announcement_read(strbuf_slice(&again), &b, &err) == 0);
    MUST_HOLD(announcement_is_signed(&b, slice_str(key)));
    MUST_HOLD(b.time_ms == a.time_ms && slice_eq(a.pod_uid, b.pod_uid) && slice_eq(a.ns, b.ns));
    MUST_HOLD(announcement_is_signed(&a, slice_str(key)) == slice_eq(a.code, b.code) ||
              again.len != size);
    strbuf_fini(&again);
    return 0;
}
