// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One key's run: its reconciler makes a plan, the plan's writes start, and their answers end the
 * run. Owns: the runs under way. May not: choose keys, or begin a key again before the caches show
 * its own last writes.
 */

#include "controller/controller.h"

/* The work queue's callback; arg: the controller. Ends in one work_queue_done(token), also while
 * the controller stops. */
void run_key(void *arg, struct work_key key, struct work_item *token);
