// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Small texts that look alike, kept small: LZ4 with a sample of their kind as the dictionary. Owns:
 * the sample's index. May not: lose a byte.
 *
 * A packed text is the text's length (u32, this machine's order) and one LZ4 block; it never leaves
 * the process.
 */

#include <lz4.h>

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define PACK_SAMPLE_MAX (32u << 10)
#define PACK_TEXT_MAX   (64u << 20)

struct pack {
    struct slice sample; /* private: borrowed */
    LZ4_stream_t index;  /* private: 16 KiB */
};

/* sample: at most PACK_SAMPLE_MAX bytes, lives as long as pack. */
void pack_init(struct pack *pack, struct slice sample);
/* text: at most PACK_TEXT_MAX. The packed text in new memory (the caller frees); *out_len its
 * length. */
char *pack_text(const struct pack *pack, struct slice text, size_t *out_len);
/* Appends the text. ERR_INVALID for bytes that pack_text did not make, ERR_TOO_BIG when out is
 * full. */
MUST_CHECK int unpack_text(const struct pack *pack, struct slice packed, struct strbuf *out,
                           struct error *err);
/* The first `len` bytes of the text to out. ERR_INVALID when it is shorter or no packed text. */
MUST_CHECK int unpack_first(const struct pack *pack, struct slice packed, char *out, size_t len,
                            struct error *err);
