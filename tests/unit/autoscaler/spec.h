// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A scaling_spec that a test changes where it means something else. */

#include "autoscaler/decider.h"

/* Knative's defaults with containerConcurrency 0: 70 per replica. */
static inline struct scaling_spec spec_defaults(void)
{
    return (struct scaling_spec){
        .kpa = true,
        .target = 70,
        .total = 100,
        .target_burst_capacity = 211,
        .panic_threshold = 2,
        .max_scale_up_rate = 1000,
        .max_scale_down_rate = 2,
        .stable_window_s = 60,
        .panic_window_s = 6,
        .activation_scale = 1,
        .initial_scale = 1,
        .scale_to_zero = true,
    };
}
