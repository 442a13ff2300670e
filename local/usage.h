// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The seam through which others in lull-local learn what replicas use. The node agent implements it
 * (it knows the processes); the API server serves it as metrics.k8s.io, and local/hpa scales by it.
 *
 * Rules: nothing is measured unless somebody asks. ask() takes a look that is at most max_age_ms
 * old and then calls cb on the loop, once, never inside ask(); get() then gives what was seen. A
 * Pod that was seen once only is given its average since its processes began, with that as its
 * window.
 */

#include <stdbool.h>
#include <stdint.h>

enum usage_part { USAGE_FUNCTION, USAGE_PROXY, USAGE_PARTS };

struct usage {
    int64_t at_ns;     /* wall clock: the end of the window */
    int64_t window_ns; /* over which the rate of cpu is */
    struct {
        bool known;           /* its process runs */
        int64_t cpu_nano;     /* billionths of a core */
        int64_t memory_bytes; /* its share of what is in memory */
    } parts[USAGE_PARTS];
};

struct usage_provider {
    /* False: it cannot be asked now (closing), no callback follows. */
    bool (*ask)(void *self, uint64_t max_age_ms, void (*cb)(void *arg), void *arg);
    /* No callback with this arg follows. */
    void (*forget)(void *self, void *arg);
    /* Of a Pod; false: nothing is known. */
    bool (*get)(void *self, const char *ns, const char *pod, struct usage *out);
    void *self;
};
