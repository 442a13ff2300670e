// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Kubernetes quantities ("100m", "64Mi", "1e3") as texts: whether one is valid, its canonical form,
 * and order. Pure. base/num.h reads them as numbers.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { QUANTITY_TEXT = 48 };

enum quantity_format { QUANTITY_DECIMAL, QUANTITY_EXPONENT, QUANTITY_BINARY };

/* value is in billionths, rounded away from zero. */
struct quantity {
    __int128 nano;
    enum quantity_format format;
};

/* Surrounding blanks are fine, as in JSON. False: not a quantity, or beyond 10^26. */
bool quantity_parse(struct slice text, struct quantity *out);
/* As Kubernetes prints it; buf of QUANTITY_TEXT. */
const char *quantity_print(const struct quantity *q, char buf[QUANTITY_TEXT]);
/* The text that Kubernetes stores for a valid quantity: as it was written where that is canonical
 * enough ("+5", "1.500"), else as printed. */
const char *quantity_canonical(struct slice text, char buf[QUANTITY_TEXT]);
