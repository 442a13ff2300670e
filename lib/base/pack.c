// SPDX-License-Identifier: Apache-2.0
/*
 * Greedy matching: at each place three earlier ones are tried: the one where the last match would
 * go on (texts of one kind differ in short values), and the last ones with the same four bytes, in
 * the text and in the sample; the longest match counts. Failure mode: packed bytes that reach
 * outside of what is there are refused, whatever they are.
 */
#include "base/pack.h"

#include "base/mem.h"

enum {
    MATCH_MIN = 4,
    NIBBLE = 15,
    DISTANCE_MAX = 65535,
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
    REQUIRE(sample.len <= PACK_SAMPLE_MAX);
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
    size_t distance;        /* of the last match */
    uint32_t heads[HASHES]; /* places in the text, plus one; 0: none */
};

static size_t length_of(const struct window *w, size_t from, size_t at)
{
    size_t len = 0;
    uint64_t a, b;
    while (at + len + sizeof(a) <= w->end) {
        memcpy(&a, w->bytes + from + len, sizeof(a));
        memcpy(&b, w->bytes + at + len, sizeof(b));
        if (a != b) {
            break;
        }
        len += sizeof(a);
    }
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
    const size_t places[3] = {at - w->distance + 1, w->heads[slot], pack->heads[slot]};
    for (size_t i = w->distance == 0; i < ARRAY_LEN(places); i++) {
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

static char *put_more(char *out, size_t rest)
{
    for (; rest >= 255; rest -= 255) {
        *out++ = (char)(unsigned char)255;
    }
    *out++ = (char)(unsigned char)rest;
    return out;
}

/* match 0: the last item. */
static char *put(char *out, struct slice literals, size_t match, size_t distance)
{
    size_t rest = match == 0 ? 0 : match - MATCH_MIN;
    size_t high = literals.len < NIBBLE ? literals.len : NIBBLE;
    size_t low = rest < NIBBLE ? rest : NIBBLE;
    *out++ = (char)(unsigned char)(high << 4 | low);
    if (high == NIBBLE) {
        out = put_more(out, literals.len - NIBBLE);
    }
    memcpy(out, literals.ptr, literals.len);
    out += literals.len;
    if (match == 0) {
        return out;
    }
    *out++ = (char)(unsigned char)(distance & 255);
    *out++ = (char)(unsigned char)(distance >> 8);
    return low == NIBBLE ? put_more(out, rest - NIBBLE) : out;
}

static void remember(struct window *w, size_t at)
{
    if (at + MATCH_MIN <= w->end) {
        w->heads[hash(w->bytes + at)] = (uint32_t)(at + 1);
    }
}

/* Returns where the packed text ends. */
static char *pack_window(const struct pack *pack, struct window *w, char *out)
{
    size_t literals = w->start; /* where those that are not written yet begin */
    size_t at = w->start;
    while (at + MATCH_MIN <= w->end) {
        size_t from = 0;
        size_t len = match_at(pack, w, at, &from);
        remember(w, at);
        if (len == 0) {
            at++;
            continue;
        }
        w->distance = at - from;
        out = put(out, slice_of(w->bytes + literals, at - literals), len, w->distance);
        at += len;
        literals = at;
        remember(w, at - 1); /* the rest of it is found where it was matched */
        remember(w, at - 2);
    }
    return put(out, slice_of(w->bytes + literals, w->end - literals), 0, 0);
}

char *pack_text(const struct pack *pack, struct slice text, size_t *out_len)
{
    struct window *w = NEW(struct window);
    w->start = pack->sample.len;
    w->end = pack->sample.len + text.len;
    w->bytes = xmalloc(w->end + 1);
    memcpy(w->bytes, pack->sample.ptr, pack->sample.len);
    memcpy(w->bytes + w->start, text.ptr, text.len);
    /* An item is at most as long as what it stands for, but for what counts its literals. */
    char *packed = xmalloc(text.len + text.len / 255 + 16);
    *out_len = (size_t)(pack_window(pack, w, packed) - packed);
    free(w->bytes);
    free(w);
    return xrealloc(packed, *out_len);
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

struct item {
    struct slice literals;
    size_t distance;
    size_t match; /* 0: the last item */
};

static bool read_item(struct slice *in, struct item *out)
{
    size_t literals;
    if (in->len == 0) {
        return false; /* the last item was missing */
    }
    unsigned char token = (unsigned char)in->ptr[0];
    *in = slice_sub(*in, 1, in->len);
    if (!read_length(in, token >> 4, &literals) || literals > in->len) {
        return false;
    }
    *out = (struct item){.literals = slice_sub(*in, 0, literals)};
    *in = slice_sub(*in, literals, in->len);
    if (in->len == 0) {
        return (token & NIBBLE) == 0;
    }
    if (in->len < 2) {
        return false;
    }
    out->distance = (unsigned char)in->ptr[0] | (size_t)(unsigned char)in->ptr[1] << 8;
    *in = slice_sub(*in, 2, in->len);
    bool whole = read_length(in, token & NIBBLE, &out->match);
    out->match += MATCH_MIN;
    return whole;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Copies what is `distance` before the end of the text, which has `have` bytes; it may reach into
 * itself. */
static void copy_match(const struct pack *pack, char *text, size_t have, size_t distance,
                       size_t len)
{
    if (distance > have) { /* begins in the sample */
        size_t before = distance - have;
        size_t n = least(before, len);
        memcpy(text + have, pack->sample.ptr + pack->sample.len - before, n);
        have += n;
        len -= n;
    }
    while (len > 0) { /* what is there doubles */
        size_t n = least(distance, len);
        memcpy(text + have, text + have - distance, n);
        have += n;
        len -= n;
    }
}

int unpack_first(const struct pack *pack, struct slice packed, char *out, size_t len,
                 struct error *err)
{
    struct item item = {.match = 1};
    size_t have = 0;
    while (have < len && item.match > 0) {
        if (!read_item(&packed, &item)) {
            return error_set(err, ERR_INVALID, "no packed text");
        }
        size_t n = least(item.literals.len, len - have);
        memcpy(out + have, item.literals.ptr, n);
        have += n;
        if (item.match > 0 && have < len) {
            if (item.distance == 0 || item.distance > pack->sample.len + have) {
                return error_set(err, ERR_INVALID, "no packed text");
            }
            n = least(item.match, len - have);
            copy_match(pack, out, have, item.distance, n);
            have += n;
        }
    }
    return have == len ? 0 : error_set(err, ERR_INVALID, "the packed text is shorter");
}

/* The length of the text. False: no packed text. */
static bool length_unpacked(struct slice packed, size_t *out)
{
    struct item item = {.match = 1};
    *out = 0;
    while (item.match > 0) {
        if (!read_item(&packed, &item)) {
            return false;
        }
        *out += item.literals.len + item.match;
    }
    return true;
}

int unpack_text(const struct pack *pack, struct slice packed, struct strbuf *out, struct error *err)
{
    size_t len;
    if (!length_unpacked(packed, &len)) {
        return error_set(err, ERR_INVALID, "no packed text");
    }
    char *room = strbuf_reserve(out, len);
    if (room == NULL) {
        return error_set(err, ERR_TOO_BIG, "a packed text is too long");
    }
    int rc = unpack_first(pack, packed, room, len, err);
    if (rc == 0) {
        strbuf_commit(out, len);
    }
    return rc;
}
