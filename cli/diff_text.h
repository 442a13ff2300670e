// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The difference of two texts line by line, in the unified form. Pure. */

#include "base/strbuf.h"

/* Appends the hunks with three lines around them; nothing when the texts are equal. False: equal.
 */
bool diff_text(struct slice before, struct slice after, struct strbuf *out);
