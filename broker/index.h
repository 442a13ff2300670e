// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * All triggers of one broker, arranged so that an event is compared only with those that may want
 * it: by the first of type, source and subject that a filter needs to have one exact value. The
 * rest are looked at each time. Pure; borrows the filters.
 */

#include "base/map.h"
#include "events/filter.h"

/* Embedded in who is found. */
struct index_entry {
    const struct filter *filter;
    uint32_t at; /* its number, for who counts them */
};

struct index_list; /* private */

struct index {
    struct map by_value[EVENT_ATTR_N]; /* value → struct index_list */
    bool used[EVENT_ATTR_N];
    struct index_list *rest;
};

void index_init(struct index *x);
void index_fini(struct index *x);
/* entry lives until index_fini. */
void index_add(struct index *x, struct index_entry *entry);
/* Calls found for each entry whose filter takes the event. */
void index_match(const struct index *x, const struct event *ev,
                 void (*found)(void *arg, struct index_entry *entry), void *arg);
