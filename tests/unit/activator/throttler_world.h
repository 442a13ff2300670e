// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One throttler with one revision and many tickets; time is a number. */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "activator/throttler.h"
#include "test.h"

#define MS(n) ((uint64_t)(n)*CLOCK_NS_PER_MS)
#define T0    MS(1000)
#define MANY  400

struct world {
    struct throttler t;
    struct revision *r;
    struct ticket tk[MANY];
};

static inline int setup(void **state)
{
    static const struct throttler_limits limits = {.max_held_per_revision = 300,
                                                   .max_held = 320,
                                                   .max_held_bytes = 100000,
                                                   .hold_ms = 60000,
                                                   .fail_grace_ms = 5000};
    struct world *w = calloc(1, sizeof(*w));
    throttler_init(&w->t, &limits, 7);
    w->r = throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("hello-00001"), true);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < MANY; i++) {
        throttler_cancel(&w->t, &w->tk[i], MS(900000));
    }
    assert_int_equal(w->t.held_count, 0);
    assert_int_equal(w->t.held_bytes, 0);
    throttler_fini(&w->t);
    free(w);
    return 0;
}

static inline void learn(struct world *w, uint32_t cc, const char *reason)
{
    struct revision_facts f = {.concurrency = cc,
                               .timeout_ms = 30000,
                               .reason = slice_str(reason),
                               .message = SLICE_LIT("because")};
    revision_learn(&w->t, w->r, &f, T0);
}

static inline struct replica *replica(struct world *w, const char *uid, bool ready, uint64_t now)
{
    struct replica_facts f = {.uid = slice_str(uid),
                              .name = slice_str(uid),
                              .address = SLICE_LIT("127.0.0.1:1"),
                              .ready = ready};
    return revision_put_replica(&w->t, w->r, &f, now);
}

static inline enum admit admit(struct world *w, int i, uint64_t now)
{
    return throttler_admit(&w->t, w->r, &w->tk[i], 100, now);
}

static inline int index_of(struct world *w, struct ticket *tk)
{
    return tk == NULL ? -1 : (int)(tk - w->tk);
}
