// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Events in memory, by their id in a broker's stream: one copy for all triggers that deliver it at
 * the moment. One that nobody uses stays a while, up to a bound of bytes, since triggers read a
 * reference soon after it was written. Owns: the bytes. May not: know Redis.
 */

#include "base/list.h"
#include "base/map.h"
#include "events/event.h"

#define PAYLOAD_ID_MAX 44 /* "18446744073709551615-18446744073709551615" and NUL */

/* Of a worker. */
struct payloads {
    struct list idle; /* oldest first */
    size_t idle_bytes;
    size_t used_bytes;
    size_t idle_max;
};

/* Of a broker. */
struct payload_set {
    struct payloads *all;
    struct map by_id;
};

struct payload {
    struct list link; /* private: all->idle */
    struct payload_set *set;
    unsigned refs; /* private */
    bool unknown;  /* private: forgotten while it was in use */
    size_t bytes;
    struct event event; /* borrows from text */
    char id[PAYLOAD_ID_MAX];
    char text[]; /* private */
};

void payloads_init(struct payloads *all, size_t idle_max);
void payload_set_init(struct payload_set *set, struct payloads *all);
/* None may be in use. */
void payload_set_fini(struct payload_set *set);

/* Nothing is found by its id any more: the stream may be another one. What is in use stays until it
 * is given back. */
void payload_set_forget(struct payload_set *set);

/* NULL: not here. Else a count that payload_let_go gives back. */
struct payload *payload_use(struct payload_set *set, struct slice id);
/*
 * Copies both texts (data.ptr NULL: none); when the id is here already that one is given. A count
 * as above. ERR_PROTOCOL: not the form in which we write events; ERR_INVALID: no id.
 */
MUST_CHECK int payload_put(struct payload_set *set, struct slice id, struct slice packed,
                           struct slice data, struct payload **out, struct error *err);
/* keep false: drop it at once if nobody else uses it. NULL is fine. */
void payload_let_go(struct payload *p, bool keep);
