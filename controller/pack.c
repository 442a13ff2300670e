// SPDX-License-Identifier: Apache-2.0
/*
 * Greedy matching: at each place the last earlier place with the same four bytes is tried, in the
 * text and in the sample; the longer match counts. Failure mode: packed bytes that reach outside of
 * what is there are refused, whatever they are.
 */
#include "controller/pack.h"

#include "base/mem.h"

enum {
    MATCH_MIN = 4,
    NIBBLE = 15,
    DISTANCE_MAX = 65535,
    SAMPLE_MAX = 32 << 10,
    HASHES = 1 << PACK_HASH_BITS,
};

static uint32_t four(const char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static unsigned hash(const char *at)
{
    return (four(at) * UINT32_C(2654435761)) >> (32 - PACK_HASH_BITS);
}

void pack_init(struct pack *pack, struct slice sample)
{
    REQUIRE(sample.len <= SAMPLE_MAX);
    *pack = (struct pack){.sample = sample};
    for (size_t i = 0; i + MATCH_MIN <= sample.len; i++) {
        pack->heads[hash(sample.ptr + i)] = (uint16_t)(i + 1);
    }
}

/* --- packing -----------------------------------------------------------------------------------
 */

/* The sample with the text behind it. */
struct window {
    char *bytes;
    size_t start; /* of the text */
    size_t end;
    uint32_t heads[HASHES]; /* places in the text, plus one; 0: none */
};

static size_t length_of(const struct window *w, size_t from, size_t at)
{
    size_t len = 0;
    while (at + len < w->end && w->bytes[from + len] == w->bytes[at + len]) {
        len++;
    }
    return len;
}

/* The longest match for what stands at `at`: its length, 0 without; *out_from where it begins. */
static size_t match_at(const struct pack *pack, const struct window *w, size_t at, size_t *out_from)
{
    size_t best = 0;
    unsigned slot = hash(w->bytes + at);
    const size_t places[2] = {w->heads[slot], pack->heads[slot]};
    for (size_t i = 0; i < 2; i++) {
        size_t from = places[i] - 1;
        if (places[i] == 0 || at - from > DISTANCE_MAX) {
            continue;
        }
        size_t len = length_of(w, from, at);
        if (len >= MATCH_MIN && len > best) {
            best = len;
            *out_from = from;
        }
    }
    return best;
}

static void put_more(struct strbuf *out, size_t rest)
{
    for (; rest >= 255; rest -= 255) {
        strbuf_append_char(out, (char)(unsigned char)255);
    }
    strbuf_append_char(out, (char)(unsigned char)rest);
}

/* match 0: the last item. */
static void put(struct strbuf *out, struct slice literals, size_t match, size_t distance)
{
    size_t rest = match == 0 ? 0 : match - MATCH_MIN;
    size_t high = literals.len < NIBBLE ? literals.len : NIBBLE;
    size_t low = rest < NIBBLE ? rest : NIBBLE;
    strbuf_append_char(out, (char)(unsigned char)(high << 4 | low));
    if (high == NIBBLE) {
        put_more(out, literals.len - NIBBLE);
    }
    strbuf_append_slice(out, literals);
    if (match == 0) {
        return;
    }
    strbuf_append_char(out, (char)(unsigned char)(distance & 255));
    strbuf_append_char(out, (char)(unsigned char)(distance >> 8));
    if (low == NIBBLE) {
        put_more(out, rest - NIBBLE);
    }
}

static void pack_window(const struct pack *pack, struct window *w, struct strbuf *out)
{
    size_t literals = w->start; /* where those that are not written yet begin */
    size_t at = w->start;
    while (at + MATCH_MIN <= w->end) {
        size_t from = 0;
        size_t len = match_at(pack, w, at, &from);
        size_t next = len == 0 ? at + 1 : at + len;
        if (len > 0) {
            put(out, slice_of(w->bytes + literals, at - literals), len, at - from);
            literals = next;
        }
        for (; at < next; at++) {
            if (at + MATCH_MIN <= w->end) {
                w->heads[hash(w->bytes + at)] = (uint32_t)(at + 1);
            }
        }
    }
    put(out, slice_of(w->bytes + literals, w->end - literals), 0, 0);
}

char *pack_text(const struct pack *pack, struct slice text, size_t *out_len)
{
    struct window *w = NEW(struct window);
    CLEANUP(strbuf_fini) struct strbuf out;
    w->start = pack->sample.len;
    w->end = pack->sample.len + text.len;
    w->bytes = xmalloc(w->end + 1);
    memcpy(w->bytes, pack->sample.ptr, pack->sample.len);
    memcpy(w->bytes + w->start, text.ptr, text.len);
    strbuf_init(&out, 2 * text.len + 64); /* the worst case is a few bytes more than the text */
    pack_window(pack, w, &out);
    REQUIRE(strbuf_ok(&out));
    free(w->bytes);
    free(w);
    *out_len = out.len;
    char *packed = xmalloc(out.len);
    memcpy(packed, out.ptr, out.len);
    return packed;
}

/* --- unpacking ---------------------------------------------------------------------------------
 */

/* A nibble and the bytes that go on from it. False at the end of the packed bytes. */
static bool read_length(struct slice *in, size_t nibble, size_t *out)
{
    *out = nibble;
    for (bool more = nibble == NIBBLE; more;) {
        if (in->len == 0) {
            return false;
        }
        unsigned char byte = (unsigned char)in->ptr[0];
        *in = slice_sub(*in, 1, in->len);
        *out += byte;
        more = byte == 255;
    }
    return true;
}

/* Copies what is `distance` before the end of the text; it may reach into itself. */
static bool copy_match(const struct pack *pack, struct strbuf *out, size_t begin, size_t distance,
                       size_t len)
{
    size_t have = out->len - begin;
    if (distance == 0 || distance > pack->sample.len + have) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        have = out->len - begin;
        char c = distance > have ? pack->sample.ptr[pack->sample.len - (distance - have)]
                                 : out->ptr[out->len - distance];
        if (strbuf_append_char(out, c) < 0) {
            return true; /* full: the caller sees it */
        }
    }
    return true;
}

static bool unpack(const struct pack *pack, struct slice in, struct strbuf *out)
{
    size_t begin = out->len;
    while (in.len > 0) {
        size_t literals;
        size_t match;
        unsigned char token = (unsigned char)in.ptr[0];
        in = slice_sub(in, 1, in.len);
        if (!read_length(&in, token >> 4, &literals) || literals > in.len) {
            return false;
        }
        strbuf_append_slice(out, slice_sub(in, 0, literals));
        in = slice_sub(in, literals, in.len);
        if (in.len == 0) {
            return (token & NIBBLE) == 0;
        }
        if (in.len < 2) {
            return false;
        }
        size_t distance = (unsigned char)in.ptr[0] | (size_t)(unsigned char)in.ptr[1] << 8;
        in = slice_sub(in, 2, in.len);
        if (!read_length(&in, token & NIBBLE, &match) ||
            !copy_match(pack, out, begin, distance, match + MATCH_MIN) || !strbuf_ok(out)) {
            return false;
        }
    }
    return false; /* the last item was missing */
}

int unpack_text(const struct pack *pack, struct slice packed, struct strbuf *out, struct error *err)
{
    bool whole = unpack(pack, packed, out);
    if (!strbuf_ok(out)) {
        return error_set(err, ERR_TOO_BIG, "a packed text is too long");
    }
    return whole ? 0 : error_set(err, ERR_INVALID, "no packed text");
}
