// SPDX-License-Identifier: Apache-2.0
// Input: a scheme's number, the header's value, a line break, the body. Nobody who does not know
// the secret gets in; what is signed with it does.
#include "base/sha256.h"
#include "broker/signature.h"
#include "fuzz.h"

static void run(const struct signature_rule *rule, struct slice value, struct slice body)
{
    static const struct slice secrets[] = {{"a secret that no input has", 26}, {"", 0}};
    struct error err = {.code = 0};
    int rc = signature_check(rule, value, body, secrets, ARRAY_LEN(secrets), 1492774577, &err);
    MUST_HOLD(rc < 0 && err.code == ERR_UNAUTHORIZED && err.msg[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct signature_rule rules[] = {
        {.scheme = SIGNATURE_GITHUB},
        {.scheme = SIGNATURE_STRIPE, .tolerance_s = 300},
        {.scheme = SIGNATURE_GENERIC, .header = "X", .prefix = "v="},
        {.scheme = SIGNATURE_GENERIC, .header = "X", .prefix = "", .base64 = true},
    };
    unsigned char digest[SHA256_BYTES];
    char good[8 + SHA256_HEX] = "sha256=";
    struct error err;
    struct slice text = {(const char *)bytes, size};
    if (size == 0 || size > 16u * 1024) {
        return 0;
    }
    ptrdiff_t line = slice_find(text, '\n');
    struct slice value = slice_sub(text, 1, line < 1 ? size : (size_t)line - 1);
    struct slice body = line < 0 ? SLICE_EMPTY : slice_sub(text, (size_t)line + 1, size);
    run(&rules[bytes[0] % ARRAY_LEN(rules)], value, body);

    hmac_sha256(value, &body, 1, digest);
    (void)sha256_hex(digest, good + 7);
    int rc = signature_check(&rules[0], slice_str(good), body, &value, 1, 0, &err);
    MUST_HOLD(rc == (value.len == 0 ? ERR_UNAUTHORIZED : 0));
    return 0;
}
