// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one table of lines, walked for writing and for reading. Failure mode: the first line that
 * is not as it must be; nothing of it is believed then.
 */
#include "serving/announce.h"

#include <stddef.h>

#include "base/num.h"

#define FIRST_LINE SLICE_LIT("lull announcement 1\n")
#define NAME_MAX_  253u
#define UID_MAX    64u
#define IP_MAX     45u
#define TIME_MAX   13u

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_name(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '.';
}

static bool is_uid(char c)
{
    return is_name(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_ip(char c)
{
    return is_hex(c) || c == '.' || c == ':';
}

static const struct line {
    struct slice label;
    size_t offset; /* of the slice in struct announcement */
    size_t min;
    size_t max;
    bool (*allowed)(char c);
} lines[] = {
    {SLICE_LIT("namespace "), offsetof(struct announcement, ns), 1, 63, is_name},
    {SLICE_LIT("revision "), offsetof(struct announcement, revision), 1, NAME_MAX_, is_name},
    {SLICE_LIT("revision-uid "), offsetof(struct announcement, revision_uid), 1, UID_MAX, is_uid},
    {SLICE_LIT("pod "), offsetof(struct announcement, pod), 1, NAME_MAX_, is_name},
    {SLICE_LIT("pod-uid "), offsetof(struct announcement, pod_uid), 1, UID_MAX, is_uid},
    {SLICE_LIT("address "), offsetof(struct announcement, address), 2, IP_MAX, is_ip},
};

static const struct line nonce_line = {SLICE_LIT("nonce "), offsetof(struct announcement, nonce),
                                       ANNOUNCE_NONCE, ANNOUNCE_NONCE, is_hex};
static const struct line code_line = {SLICE_LIT("code "), offsetof(struct announcement, code),
                                      SHA256_HEX, SHA256_HEX, is_hex};

static bool fits(const struct line *line, struct slice value)
{
    if (value.len < line->min || value.len > line->max) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (!line->allowed(value.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* --- keys and codes ------------------------------------------------------------------------- */

void announce_key(struct slice secret, struct slice revision_uid, char out[static SHA256_HEX + 1])
{
    unsigned char digest[SHA256_BYTES];
    const struct slice parts[] = {SLICE_LIT("lull announce key\n"), revision_uid};
    hmac_sha256(secret, parts, ARRAY_LEN(parts), digest);
    sha256_hex(digest, out);
}

static void code_of(struct slice key, struct slice text, char out[static SHA256_HEX + 1])
{
    unsigned char digest[SHA256_BYTES];
    const struct slice parts[] = {SLICE_LIT("lull announcement\n"), text};
    hmac_sha256(key, parts, ARRAY_LEN(parts), digest);
    sha256_hex(digest, out);
}

void announce_proof(struct slice key, struct slice challenge, struct slice pod_uid,
                    struct slice address, char out[static SHA256_HEX + 1])
{
    unsigned char digest[SHA256_BYTES];
    const struct slice lf = SLICE_LIT("\n");
    const struct slice parts[] = {
        SLICE_LIT("lull proof\n"), challenge, lf, pod_uid, lf, address, lf};
    hmac_sha256(key, parts, ARRAY_LEN(parts), digest);
    sha256_hex(digest, out);
}

bool announce_challenge_valid(struct slice challenge)
{
    return fits(&nonce_line, challenge);
}

bool announcement_is_signed(const struct announcement *a, struct slice key)
{
    char code[SHA256_HEX + 1];
    code_of(key, a->signed_, code);
    return secret_eq(slice_of(code, SHA256_HEX), a->code);
}

/* --- writing -------------------------------------------------------------------------------- */

static const struct slice *value_of(const struct announcement *a, const struct line *line)
{
    return (const struct slice *)(const void *)((const char *)a + line->offset);
}

static bool put(struct strbuf *out, const struct announcement *a, const struct line *line)
{
    struct slice value = *value_of(a, line);
    strbuf_append_slice(out, line->label);
    strbuf_append_slice(out, value);
    strbuf_append_char(out, '\n');
    return fits(line, value);
}

int announcement_write(const struct announcement *a, struct slice key, struct strbuf *out,
                       struct error *err)
{
    char code[SHA256_HEX + 1];
    size_t from = out->len;
    strbuf_append_slice(out, FIRST_LINE);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (!put(out, a, &lines[i])) {
            return error_set(err, ERR_INVALID, "an announcement without a proper %.*s",
                             (int)lines[i].label.len - 1, lines[i].label.ptr);
        }
    }
    strbuf_appendf(out, "time %lld\n", (long long)a->time_ms);
    if (!put(out, a, &nonce_line)) {
        return error_set(err, ERR_INVALID, "an announcement without a proper nonce");
    }
    code_of(key, slice_of(out->ptr + from, out->len - from), code);
    strbuf_appendf(out, "code %s\n", code);
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "the announcement is too long");
}

/* --- reading -------------------------------------------------------------------------------- */

/* Takes one line with this label off the front; false when it is another one. */
static bool take(struct slice *rest, struct slice label, struct slice *out)
{
    ptrdiff_t end = slice_find(*rest, '\n');
    if (end < 0 || !slice_starts_with(*rest, label)) {
        return false;
    }
    *out = slice_sub(*rest, label.len, (size_t)end - label.len);
    *rest = slice_sub(*rest, (size_t)end + 1, rest->len);
    return true;
}

static int read_line(struct slice *rest, const struct line *line, struct announcement *out,
                     struct error *err)
{
    struct slice *value = (struct slice *)(void *)((char *)out + line->offset);
    if (take(rest, line->label, value) && fits(line, *value)) {
        return 0;
    }
    return error_set(err, ERR_INVALID, "announcement: no proper line \"%.*s\"",
                     (int)line->label.len - 1, line->label.ptr);
}

int announcement_read(struct slice text, struct announcement *out, struct error *err)
{
    struct announcement a = {.time_ms = 0};
    struct slice rest = text;
    struct slice value = SLICE_EMPTY;
    int rc = 0;
    if (!slice_starts_with(text, FIRST_LINE)) {
        return error_set(err, ERR_INVALID, "not an announcement of version 1");
    }
    rest = slice_sub(rest, FIRST_LINE.len, rest.len);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(lines); i++) {
        rc = read_line(&rest, &lines[i], &a, err);
    }
    if (rc == 0 && (!take(&rest, SLICE_LIT("time "), &value) || value.len > TIME_MAX ||
                    num_parse_i64(value, 0, INT64_MAX, &a.time_ms, NULL) < 0)) {
        rc = error_set(err, ERR_INVALID, "announcement: no proper line \"time\"");
    }
    rc = rc < 0 ? rc : read_line(&rest, &nonce_line, &a, err);
    a.signed_ = slice_of(text.ptr, text.len - rest.len);
    rc = rc < 0 ? rc : read_line(&rest, &code_line, &a, err);
    if (rc == 0 && rest.len > 0) {
        rc = error_set(err, ERR_INVALID, "announcement: something follows its code");
    }
    if (rc == 0) {
        *out = a;
    }
    return rc;
}
