// SPDX-License-Identifier: Apache-2.0
/* Plan: a ring of the last deletions, looked through from end to end: it is short. */
#include "kube/order.h"

#include "base/map.h"
#include "base/num.h"

uint64_t order_number(struct slice version)
{
    uint64_t number;
    return num_parse_u64(version, 1, UINT64_MAX, &number, NULL) == 0 ? number : 0;
}

static uint64_t hash(struct slice uid)
{
    static const uint64_t seed[2] = {1, 2}; /* the server makes uids */
    return map_hash(seed, uid);
}

void order_gone_add(struct order_gone *gone, struct slice uid, uint64_t number)
{
    if (number == 0 || uid.len == 0) {
        return;
    }
    gone->rows[gone->next].uid = hash(uid);
    gone->rows[gone->next].number = number;
    gone->next = (gone->next + 1) % ORDER_GONE_MAX;
}

bool order_gone_has(const struct order_gone *gone, struct slice uid, uint64_t number)
{
    uint64_t wanted = hash(uid);
    for (unsigned i = 0; number > 0 && i < ORDER_GONE_MAX; i++) {
        if (gone->rows[i].uid == wanted && number <= gone->rows[i].number) {
            return true;
        }
    }
    return false;
}
