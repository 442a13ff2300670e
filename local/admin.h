// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The admin port of lull-local: /healthz, /readyz, /metrics. Plain HTTP on a unix socket or port.
 */

#include "local/api/api.h"

struct admin;

/* store and api outlive it. */
MUST_CHECK int admin_start(struct admin **out, struct loop *loop, const char *listen,
                           const struct store *store, const struct api *api, struct error *err);
void admin_close(struct admin *admin, void (*cb)(void *arg), void *arg);
