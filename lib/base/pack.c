// SPDX-License-Identifier: Apache-2.0
/*
 * LZ4 does the work, with the sample as its dictionary. The sample is indexed once; each text is
 * packed by a copy of that index. Failure mode: bytes that are no packed text are refused by LZ4,
 * or by the length that stands before them.
 */
#include "base/pack.h"

#include "base/mem.h"

enum {
    LEN_SIZE = sizeof(uint32_t), /* the text's length, before what LZ4 made of it */
    SMALL = 8 << 10,
};

void pack_init(struct pack *pack, struct slice sample)
{
    REQUIRE(sample.len <= PACK_SAMPLE_MAX);
    pack->sample = sample;
    (void)LZ4_initStream(&pack->index, sizeof(pack->index));
    (void)LZ4_loadDict(&pack->index, sample.ptr, (int)sample.len);
}

char *pack_text(const struct pack *pack, struct slice text, size_t *out_len)
{
    REQUIRE(text.len <= PACK_TEXT_MAX);
    LZ4_stream_t stream = pack->index;
    int room = LZ4_compressBound((int)text.len);
    char small[SMALL]; /* many thousands are packed: large blocks on the way would cost more */
    bool large = LEN_SIZE + (size_t)room > sizeof(small);
    char *out = large ? xmalloc(LEN_SIZE + (size_t)room) : small;
    uint32_t text_len = (uint32_t)text.len;
    memcpy(out, &text_len, LEN_SIZE);
    int packed =
        LZ4_compress_fast_continue(&stream, text.ptr, out + LEN_SIZE, (int)text.len, room, 1);
    REQUIRE(packed > 0); /* there is room for the worst */
    *out_len = LEN_SIZE + (size_t)packed;
    if (large) {
        return xrealloc(out, *out_len);
    }
    char *kept = xmalloc(*out_len);
    memcpy(kept, out, *out_len);
    return kept;
}

/* The length of the text; or ERR_INVALID. */
static int text_length(struct slice packed, size_t *len, struct error *err)
{
    uint32_t text_len = UINT32_MAX;
    if (packed.len > LEN_SIZE && packed.len <= INT32_MAX) {
        memcpy(&text_len, packed.ptr, LEN_SIZE);
    }
    if (text_len > PACK_TEXT_MAX) {
        return error_set(err, ERR_INVALID, "no packed text: it has no length");
    }
    *len = text_len;
    return 0;
}

static int check_unpacked(int got, size_t want, struct error *err)
{
    return got >= 0 && (size_t)got == want
               ? 0
               : error_set(err, ERR_INVALID, "no packed text: it does not make what it says");
}

int unpack_text(const struct pack *pack, struct slice packed, struct strbuf *out, struct error *err)
{
    size_t len = 0;
    int rc = text_length(packed, &len, err);
    if (rc < 0) {
        return rc;
    }
    char *room = strbuf_reserve(out, len);
    if (room == NULL) {
        return error_set(err, ERR_TOO_BIG, "a packed text is too long");
    }
    int got =
        LZ4_decompress_safe_usingDict(packed.ptr + LEN_SIZE, room, (int)(packed.len - LEN_SIZE),
                                      (int)len, pack->sample.ptr, (int)pack->sample.len);
    rc = check_unpacked(got, len, err);
    if (rc == 0) {
        strbuf_commit(out, len);
    }
    return rc;
}

int unpack_first(const struct pack *pack, struct slice packed, char *out, size_t len,
                 struct error *err)
{
    size_t text_len = 0;
    int rc = text_length(packed, &text_len, err);
    if (rc < 0) {
        return rc;
    }
    if (len > text_len) {
        return error_set(err, ERR_INVALID, "a packed text is shorter than %zu bytes", len);
    }
    int got = LZ4_decompress_safe_partial_usingDict(
        packed.ptr + LEN_SIZE, out, (int)(packed.len - LEN_SIZE), (int)len, (int)len,
        pack->sample.ptr, (int)pack->sample.len);
    return check_unpacked(got, len, err);
}
