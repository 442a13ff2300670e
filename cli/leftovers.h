// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a Lull leaves behind that was killed, or whose parts were: processes that are just ending,
 * half packed bundles, daemons of functions. Only for who holds the lock of the state directory.
 */

#include "cli/cli.h"

/*
 * Waits until the parts and replicas of an earlier supervisor, which end when their lifeline
 * closes, are gone. False: something still runs after `ms`.
 */
bool leftovers_wait(struct cli *cli, uint64_t ms);
/* Removes its up.json and what a killed `lull deploy` was packing. */
void leftovers_remove(const char *home);
/* Kills every child of this process, and what becomes its child by that, until none is left. */
void leftovers_kill(struct cli *cli, uint64_t ms);
