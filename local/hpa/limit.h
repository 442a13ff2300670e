// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From the number of replicas that the metrics propose to the one that is set: stabilization over
 * the proposals of the last minutes, the rate of change, the bounds; as Kubernetes does it. Pure;
 * owns the memory of proposals and changes, which is bounded.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPA_POLICIES_MAX 8
#define HPA_WINDOW_MAX_S 3600
#define HPA_PERIOD_MAX_S 1800

enum hpa_select { HPA_SELECT_MAX, HPA_SELECT_MIN, HPA_SELECT_DISABLED };

struct hpa_policy {
    bool percent;
    int32_t value;
    int32_t period_s;
};

/* spec.behavior.scaleUp or .scaleDown */
struct hpa_rules {
    int32_t window_s;
    enum hpa_select select;
    struct hpa_policy policies[HPA_POLICIES_MAX];
    size_t count;
};

struct hpa_bounds {
    int32_t min, max;
    bool behavior; /* the object has rules of its own; else at most doubled or 4 at a time */
    struct hpa_rules up, down; /* with behavior; else only down.window_s counts */
};

struct hpa_mark {
    int64_t at_ns; /* monotonic */
    int32_t value; /* a proposal, or by how many replicas the scale was changed */
};

struct hpa_marks {
    struct hpa_mark *marks; /* owned; oldest first */
    size_t count, room;
};

struct hpa_memory {
    struct hpa_marks proposals, ups, downs;
};

void hpa_memory_fini(struct hpa_memory *memory);

struct hpa_verdict {
    int32_t replicas;
    const char *able_reason, *able_message; /* of the condition AbleToScale */
    bool limited;                           /* ScalingLimited, and its reason */
    const char *limit_reason, *limit_message;
    int64_t held_ns; /* an earlier proposal holds the scale for so long yet; 0: none does */
};

/* Before the first proposal: the scale as it is counts as one. */
void hpa_begin(struct hpa_memory *memory, int32_t current, int64_t now_ns);
/* Remembers the proposal too. */
void hpa_limit(struct hpa_memory *memory, const struct hpa_bounds *bounds, int32_t current,
               int32_t proposal, int64_t now_ns, struct hpa_verdict *out);
/* The scale was changed. */
void hpa_changed(struct hpa_memory *memory, const struct hpa_bounds *bounds, int32_t from,
                 int32_t to, int64_t now_ns);
