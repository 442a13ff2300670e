// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Settings to compare, from text: NAME[:KEY=VALUE[,KEY=VALUE…]]. A key is an annotation without its
 * prefix (window, target, min-scale, policy, …), config.KEY for a key of config-autoscaler,
 * container-concurrency, or start-time. They are judged by the rules of the API.
 */

#include "autoscaler/simulate_run.h"

/* start_us: where the text says none. On success sim_setting_fini is due. */
MUST_CHECK int sim_setting_parse(struct slice text, uint64_t start_us, struct sim_setting *out,
                                 struct error *err);
void sim_setting_fini(struct sim_setting *setting);
