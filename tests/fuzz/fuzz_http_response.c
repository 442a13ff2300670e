// SPDX-License-Identifier: Apache-2.0
/* An answer as a function may send it. */
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_seen whole;
    struct fuzz_seen bytes;
    fuzz_both(&whole, &bytes, HTTP_RESPONSE, data, size);
    FUZZ_CHECK(whole.result != H1_BAD || whole.status == 502);
    if (whole.result == H1_DONE) {
        FUZZ_CHECK(whole.msg.head.status >= 100 && whole.msg.head.status <= 999);
    }
    fuzz_free(&whole);
    fuzz_free(&bytes);
    return 0;
}
