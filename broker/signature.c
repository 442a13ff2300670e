// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the header to at most a handful of digests (and for Stripe the time that was signed), each
 * secret to the digest that there should be, every one compared with every other. Failure: any
 * other form, a digest of another length, too old a time: not who it should be.
 */
#include "broker/signature.h"

#include "base/base64.h"
#include "base/num.h"
#include "base/sha256.h"

#define DIGESTS_MAX   16
#define SECONDS_MAX   (1ull << 40)
#define GITHUB_PREFIX "sha256="
#define GITHUB_HEADER "X-Hub-Signature-256"
#define STRIPE_HEADER "Stripe-Signature"
#define DIGEST_BASE64 44 /* of 32 bytes */

struct digests {
    unsigned char items[DIGESTS_MAX][SHA256_BYTES];
    size_t n;
    struct slice seconds; /* Stripe: as it was signed */
};

static const char *const names[] = {[SIGNATURE_NONE] = "none",
                                    [SIGNATURE_GITHUB] = "github",
                                    [SIGNATURE_STRIPE] = "stripe",
                                    [SIGNATURE_GENERIC] = "generic"};

enum signature_scheme signature_scheme_of(struct slice name)
{
    unsigned i = 0;
    while (i < SIGNATURE_SCHEMES && !slice_eq_str(name, names[i])) {
        i++;
    }
    return (enum signature_scheme)i;
}

const char *signature_header(const struct signature_rule *rule)
{
    return rule->scheme == SIGNATURE_GITHUB    ? GITHUB_HEADER
           : rule->scheme == SIGNATURE_STRIPE  ? STRIPE_HEADER
           : rule->scheme == SIGNATURE_GENERIC ? rule->header
                                               : NULL;
}

/* --- the header ---------------------------------------------------------------------------- */

static int nibble(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool read_hex(struct slice text, unsigned char out[static SHA256_BYTES])
{
    if (text.len != SHA256_HEX) {
        return false;
    }
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = nibble(text.ptr[2 * i]);
        int low = nibble(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool read_base64(struct slice text, unsigned char out[static SHA256_BYTES])
{
    CLEANUP(strbuf_fini) struct strbuf bytes;
    strbuf_init(&bytes, SHA256_BYTES);
    if (text.len != DIGEST_BASE64 || base64_decode(text, &bytes, NULL) < 0 ||
        bytes.len != SHA256_BYTES) {
        return false;
    }
    memcpy(out, bytes.ptr, SHA256_BYTES);
    return true;
}

static int read_plain(struct slice value, const char *prefix, bool base64, struct digests *out,
                      struct error *err)
{
    struct slice text = slice_trim(value);
    struct slice before = slice_str(prefix);
    if (!slice_starts_with(text, before)) {
        return error_set(err, ERR_UNAUTHORIZED, "the signature does not begin with %s", prefix);
    }
    text = slice_sub(text, before.len, text.len);
    if (!(base64 ? read_base64(text, out->items[0]) : read_hex(text, out->items[0]))) {
        return error_set(err, ERR_UNAUTHORIZED, "the signature is not %s",
                         base64 ? "32 bytes in base64" : "64 hexadecimal digits");
    }
    out->n = 1;
    return 0;
}

static int read_stripe(struct slice value, struct digests *out, struct error *err)
{
    struct slice rest = value;
    struct slice part;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (slice_starts_with(part, SLICE_LIT("t="))) {
            if (out->seconds.ptr != NULL) {
                return error_set(err, ERR_UNAUTHORIZED, "the signature has two times");
            }
            out->seconds = slice_sub(part, 2, part.len);
        } else if (slice_starts_with(part, SLICE_LIT("v1="))) {
            if (out->n == DIGESTS_MAX) {
                return error_set(err, ERR_UNAUTHORIZED, "the header has more than %d signatures",
                                 DIGESTS_MAX);
            }
            out->n += read_hex(slice_sub(part, 3, part.len), out->items[out->n]);
        }
    }
    if (out->seconds.ptr == NULL) {
        return error_set(err, ERR_UNAUTHORIZED, "the signature has no time (t=)");
    }
    if (out->n == 0) {
        return error_set(err, ERR_UNAUTHORIZED,
                         "the header has no signature v1= of 64 hexadecimal digits");
    }
    return 0;
}

static int check_time(const struct signature_rule *rule, struct slice seconds, int64_t now_s,
                      struct error *err)
{
    uint64_t t = 0;
    if (num_parse_u64(seconds, 0, SECONDS_MAX, &t, NULL) < 0) {
        return error_set(err, ERR_UNAUTHORIZED, "the time of the signature is no number");
    }
    int64_t age_s = now_s - (int64_t)t;
    if (age_s > rule->tolerance_s || age_s < -rule->tolerance_s) {
        return error_set(err, ERR_UNAUTHORIZED,
                         "the signature was made %lld s %s, more than the %lld s that are allowed",
                         (long long)(age_s < 0 ? -age_s : age_s),
                         age_s < 0 ? "in the future" : "ago", (long long)rule->tolerance_s);
    }
    return 0;
}

/* --- the digests --------------------------------------------------------------------------- */

/* All are compared, whether one fitted already or not. */
static bool is_signed(const struct digests *digests, struct slice body, const struct slice *secrets,
                      size_t n_secrets)
{
    const struct slice parts[] = {digests->seconds, SLICE_LIT("."), body};
    size_t from = digests->seconds.ptr != NULL ? 0 : 2;
    unsigned fits = 0;
    for (size_t i = 0; i < n_secrets; i++) {
        unsigned char want[SHA256_BYTES];
        if (slice_empty(secrets[i])) {
            continue; /* everybody knows that one */
        }
        hmac_sha256(secrets[i], parts + from, ARRAY_LEN(parts) - from, want);
        for (size_t k = 0; k < digests->n; k++) {
            fits |= secret_eq(slice_of((const char *)want, SHA256_BYTES),
                              slice_of((const char *)digests->items[k], SHA256_BYTES));
        }
    }
    return fits != 0;
}

int signature_check(const struct signature_rule *rule, struct slice value, struct slice body,
                    const struct slice *secrets, size_t n_secrets, int64_t now_s, struct error *err)
{
    struct digests digests = {.n = 0};
    const char *header = signature_header(rule);
    if (header == NULL) {
        return 0;
    }
    if (value.ptr == NULL) {
        return error_set(err, ERR_UNAUTHORIZED, "the request has no header %s", header);
    }
    int rc = rule->scheme == SIGNATURE_STRIPE ? read_stripe(value, &digests, err)
             : rule->scheme == SIGNATURE_GITHUB
                 ? read_plain(value, GITHUB_PREFIX, false, &digests, err)
                 : read_plain(value, rule->prefix, rule->base64, &digests, err);
    if (rc == 0 && digests.seconds.ptr != NULL) {
        rc = check_time(rule, digests.seconds, now_s, err);
    }
    if (rc < 0) {
        return rc;
    }
    return is_signed(&digests, body, secrets, n_secrets)
               ? 0
               : error_set(err, ERR_UNAUTHORIZED,
                           "the signature fits none of the secrets of this web hook");
}
