// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where reading stands in a stream of which we are a consumer: mostly behind what anybody has read
 * (">"); after a start, a lost connection or a take-over first through what is pending in our name.
 * One question at a time. Pure.
 */

#include "base/slice.h"
#include "broker/payload.h"

struct reading {
    bool under_way;
    bool more;        /* there may be entries that nobody has read */
    uint64_t made_ms; /* when that was tried last */
    bool made;        /* the group exists, as far as we know since the connection came up */
    bool scanning;    /* what is pending in our name comes first */
    char from[PAYLOAD_ID_MAX]; /* private, scanning: after this */
    bool was_scan;             /* private: the question under way is part of the scan */
};

/* What is pending in our name is to be looked through, from its beginning. */
void reading_scan(struct reading *r);
/* Whether there is something to ask for. */
bool reading_wanted(const struct reading *r);
/* A question begins: the id to ask after. When it could not be sent, reading_failed. */
struct slice reading_begin(struct reading *r);
void reading_failed(struct reading *r);
/* Its answer: n entries, the last of them with this id; full: as many as were asked for. */
void reading_end(struct reading *r, size_t n, struct slice last, bool full);
/* No answer came. Who notices sees to what follows: another scan, or a look later. */
void reading_lost(struct reading *r);
