// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A scan that is asked for while a question is under way begins anew after its answer, which
 * then says nothing about where the scan stands.
 */
#include "broker/reading.h"

#include "base/mem.h"

void reading_scan(struct reading *r)
{
    r->scanning = true;
    r->more = true;
    r->was_scan = false;
    snprintf(r->from, sizeof(r->from), "0");
}

bool reading_wanted(const struct reading *r)
{
    return r->made && !r->under_way && (r->more || r->scanning);
}

struct slice reading_begin(struct reading *r)
{
    r->under_way = true;
    r->was_scan = r->scanning;
    if (r->scanning) {
        return slice_str(r->from);
    }
    r->more = false; /* set again by who adds something, or by a full answer */
    return SLICE_LIT(">");
}

void reading_failed(struct reading *r)
{
    r->under_way = false;
    r->more = true;
}

void reading_end(struct reading *r, size_t n, struct slice last, bool full)
{
    r->under_way = false;
    r->more = r->more || full;
    if (!r->was_scan) {
        return;
    }
    r->more = true; /* what nobody has read was not asked for yet */
    if (n == 0) {
        r->scanning = false;
    } else {
        (void)slice_copy(last, r->from, sizeof(r->from));
    }
}

void reading_lost(struct reading *r)
{
    r->under_way = false;
}
