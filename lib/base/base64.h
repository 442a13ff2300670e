// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Bytes as base64 text and back (RFC 4648, padded). Pure. */

#include "base/error.h"
#include "base/strbuf.h"

/* Appends the text of bytes to out; strbuf_ok(out) says whether it fitted. */
void base64_append(struct strbuf *out, struct slice bytes);
/*
 * Appends the bytes of text to out; white space in the text is passed over. ERR_INVALID: it is no
 * base64 or lacks its padding; ERR_TOO_BIG: out is full.
 */
MUST_CHECK int base64_decode(struct slice text, struct strbuf *out, struct error *err);
