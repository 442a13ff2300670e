// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Checked parsing and printing of numbers, durations and quantities. No locale, no leading or
 * trailing junk, no silent overflow. Pure.
 * Every parser: 0, or ERR_INVALID with a sentence that quotes the text; *out written on success.
 */

#include "base/error.h"
#include "base/slice.h"

/* Decimal digits only. */
MUST_CHECK int num_parse_u64(struct slice text, uint64_t min, uint64_t max, uint64_t *out,
                             struct error *err);
/* An optional sign and decimal digits. */
MUST_CHECK int num_parse_i64(struct slice text, int64_t min, int64_t max, int64_t *out,
                             struct error *err);
/* A finite decimal number ("70", "0.5", "-1e3"); no hex, no inf, no nan. */
MUST_CHECK int num_parse_double(struct slice text, double min, double max, double *out,
                                struct error *err);
/* true/false as Go reads them: 1 t T true TRUE True, 0 f F false FALSE False. */
MUST_CHECK int num_parse_bool(struct slice text, bool *out, struct error *err);

/* A Go duration: "1h30m", "1.5s", "300ms", "-2us", "0". */
MUST_CHECK int num_parse_duration_ns(struct slice text, int64_t *out_ns, struct error *err);
/* As Go prints it: "1m30s", "1.5s", "300ms", "0s". buf of NUM_DURATION_MAX. */
#define NUM_DURATION_MAX 40
char *num_format_duration_ns(int64_t ns, char *buf, size_t size);

/* A Kubernetes quantity in thousandths: "100m" 100, "2" 2000, "64Mi" 67108864000. Rounds up. */
MUST_CHECK int num_parse_quantity_milli(struct slice text, int64_t *out_milli, struct error *err);
/* In whole units, rounded up: "64Mi" 67108864, "100m" 1. */
MUST_CHECK int num_parse_quantity(struct slice text, int64_t *out, struct error *err);

/* Shortest decimal text that reads back as the same double. buf of NUM_DOUBLE_MAX. */
#define NUM_DOUBLE_MAX 32
char *num_format_double(double value, char *buf, size_t size);
