// SPDX-License-Identifier: Apache-2.0
/*
 * Reads `299 - "one", 299 agent "two" "date"`. Happy path: up to the quote, then to the quote that
 * closes; whatever stands before the next comma is left out. Failure modes: a text without an end
 * counts as none, and so does what follows it.
 */
#include "kube/warning.h"

#include "base/mem.h"

bool warning_next(struct slice *rest, char *buf, size_t size)
{
    REQUIRE(size > 0);
    ptrdiff_t quote = slice_find(*rest, '"');
    size_t len = 0, at = (size_t)quote + 1;
    if (quote < 0) {
        return false;
    }
    for (; at < rest->len && rest->ptr[at] != '"'; at++) {
        at += rest->ptr[at] == '\\';
        if (at < rest->len && len + 1 < size) {
            unsigned char c = (unsigned char)rest->ptr[at];
            buf[len++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
        }
    }
    buf[len] = '\0';
    if (at >= rest->len) {
        return false;
    }
    *rest = slice_sub(*rest, at + 1, rest->len);
    ptrdiff_t comma = slice_find(*rest, ',');
    *rest = slice_sub(*rest, comma < 0 ? rest->len : (size_t)comma + 1, rest->len);
    return true;
}
