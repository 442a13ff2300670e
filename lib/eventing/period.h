// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Durations as ISO 8601 writes them: P[nY][nM][nW][nD][T[nH][nM][nS]], with a sign before the P and
 * a fraction (point or comma) in the last number: "PT0.2S", "P1DT12H", "-PT1.5M". A year counts
 * 365.2425 days, a month a twelfth of it. Pure.
 */

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/* Milliseconds, rounded. ERR_INVALID says what is wrong with the text; at most 100 years. */
MUST_CHECK int period_parse_ms(struct slice text, int64_t *out_ms, struct error *err);
