// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Warning header field of an API server's answer, as RFC 7234 section 5.5 has it: a list of
 * `CODE AGENT "TEXT"`. Pure. May not: know where the texts go.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

enum { WARNING_MAX = 1024 };

/*
 * Takes the next warning off *rest: its text, without quotes and escapes, in buf (cut off at size,
 * control characters as blanks). False: no further one that can be read.
 */
bool warning_next(struct slice *rest, char *buf, size_t size);
