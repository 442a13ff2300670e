// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Small texts that look alike, kept small: what a text has in common with a sample of its kind, or
 * with itself, is kept as a reference. Owns: the sample's index. May not: lose a byte.
 *
 * A packed text is a row of  u8 (literals << 4 | match - 4) [u8 more literals …] literals
 * u16 distance [u8 more match …]; a nibble of 15 goes on in bytes of 255 until one is less. The
 * last item has no match. Distances count back in the sample followed by the text.
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define PACK_HASH_BITS  12
#define PACK_SAMPLE_MAX (32u << 10)

struct pack {
    struct slice sample;                 /* private: borrowed */
    uint16_t heads[1 << PACK_HASH_BITS]; /* private: last place of each four bytes, plus one */
};

/* sample: at most PACK_SAMPLE_MAX bytes, lives as long as pack. */
void pack_init(struct pack *pack, struct slice sample);
/* The packed text in new memory (the caller frees); *out_len its length. */
char *pack_text(const struct pack *pack, struct slice text, size_t *out_len);
/* Appends the text. ERR_INVALID for bytes that pack_text did not make, ERR_TOO_BIG when out is
 * full. */
MUST_CHECK int unpack_text(const struct pack *pack, struct slice packed, struct strbuf *out,
                           struct error *err);
/* The first `len` bytes of the text to out. ERR_INVALID when it is shorter or no packed text. */
MUST_CHECK int unpack_first(const struct pack *pack, struct slice packed, char *out, size_t len,
                            struct error *err);
