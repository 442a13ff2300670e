// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Runs somebody else's program as a part: it does not outlive the supervisor, and only one at a
 * time has the lock. Used by `lull up` alone: lull --guard LOCK PROGRAM ARGUMENT…
 */

#define GUARD_FLAG "--guard"

/* argv: LOCK PROGRAM ARGUMENT…, NULL ends. Becomes the program; returns only an exit status. */
int guard_run(char **argv);
