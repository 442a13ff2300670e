// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What came first: resourceVersions as numbers, and what was deleted lately. An API server gives
 * each watch its events in order and once; a proxy between, or one of several servers that lags
 * behind, may not. Pure; owns nothing but itself.
 */

#include <stdint.h>

#include "base/slice.h"

#define ORDER_GONE_MAX 128 /* deletions that are remembered */

/* The number that a resourceVersion is; 0: it is none, and nothing is known of its order. */
uint64_t order_number(struct slice version);

/* The last deletions. Zeroed is empty. */
struct order_gone {
    struct {
        uint64_t uid; /* its hash */
        uint64_t number;
    } rows[ORDER_GONE_MAX];
    unsigned next;
};
/* The object with this uid was deleted, or left what is watched, at this number. */
void order_gone_add(struct order_gone *gone, struct slice uid, uint64_t number);
/* This state of it is from before that. */
bool order_gone_has(const struct order_gone *gone, struct slice uid, uint64_t number);
