// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The sections of `lull top` about Triggers and sources: what waits, how fast it goes, what fails.
 * Owns: nothing. */

#include "cli/cli.h"

/*
 * The Triggers and sources of the namespace, or of all, with their numbers: {"triggers": […],
 * "sources": […]}, the caller's. NULL: there are none, or nobody answers (why: said into err;
 * ERR_OK where nothing takes events).
 */
json_t *top_events(struct cli *cli, bool all, struct error *err);
/* As tables; nothing for an empty one. */
void top_events_print(const json_t *events, bool all);
