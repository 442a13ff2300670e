// SPDX-License-Identifier: Apache-2.0
#pragma once

/* UTF-8: where a character ends, and whether all is well formed. Pure. */

#include "base/slice.h"

/*
 * Length of the well-formed sequence at p (n > 0 bytes there); 0 when it is none: broken off,
 * overlong, a surrogate, or beyond U+10FFFF.
 */
size_t utf8_len(const char *p, size_t n);
/* The code point of a well-formed sequence of this length. */
uint32_t utf8_code(const char *p, size_t len);
/* How many bytes at the front are ASCII. */
size_t utf8_ascii(struct slice text);
bool utf8_valid(struct slice text);
/* Characters of a valid text. */
size_t utf8_count(struct slice text);
/* Writes a code point (at most U+10FFFF, no surrogate): 1 to 4 bytes at out; returns how many. */
size_t utf8_put(char *out, uint32_t code);
