// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Texts as Go's standard library reads and prints them, where clients see them. Pure.
 */

#include "base/slice.h"
#include "base/strbuf.h"

/* %q: in double quotes, with escapes for what cannot be printed. */
void go_quote(struct slice text, struct strbuf *out);
/* As go_quote, in new memory; the caller frees. */
char *go_quoted(struct slice text);

/* strconv.ParseFloat: decimal and hexadecimal numbers, inf and nan. False: no number, or one that
 * does not fit. */
bool go_parse_float(struct slice text, double *out);
/* %v of a float64; buf of GO_FLOAT_TEXT. */
enum { GO_FLOAT_TEXT = 40 };
const char *go_float(double value, char buf[GO_FLOAT_TEXT]);

enum go_number { GO_NUMBER_FINE, GO_NUMBER_SYNTAX, GO_NUMBER_RANGE };
/* strconv.ParseInt with base 10 and so many bits (32 or 64). */
enum go_number go_parse_int(struct slice text, int bits, int64_t *out);

/* path.Clean, in new memory; the caller frees. */
char *go_clean_path(struct slice path);
