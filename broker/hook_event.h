// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A web hook's request as an event. GitHub and Stripe say in their headers and bodies what happened
 * (in the form of the CloudEvents adapters for them); for others the source says where to look.
 * Pure.
 */

#include "http/head.h"
#include "broker/source_object.h"

#define HOOK_TYPE "dev.lull.webhook" /* when nobody says another */

/*
 * out borrows from head and body; event_fini it, also after an error. ERR_INVALID: what should be
 * there is not.
 */
MUST_CHECK int hook_event(const struct webhook_object *hook, const struct http_head *head,
                          struct slice body, int64_t wall_ns, struct event *out, struct error *err);
