// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What others wrote (names, log lines, messages, answers) is shown on a terminal without being
 * obeyed by it: escape codes and other control characters appear as \x1b, and so do characters that
 * turn the direction of writing. What does not go to a terminal is left alone.
 */

#include "base/strbuf.h"

/* What is kept between two pieces of one stream. */
struct term_filter {
    unsigned char held[4]; /* the begin of a character, or a carriage return */
    size_t n_held;
};

/* Appends the harmless form of data. Pure. */
void term_harmless(struct term_filter *filter, struct slice data, struct strbuf *out);
/* Puts what is still held into out: the stream has ended. */
void term_end(struct term_filter *filter, struct strbuf *out);

/* Lets everything that is printed on stdout and stderr pass through, where they are terminals. */
void term_guard(void);
