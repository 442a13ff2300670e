// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The watches on Brokers and Triggers, which keep the model current. */

#include "broker/model.h"

/* on_synced: both lists are in. */
MUST_CHECK int watch_start(struct worker *w, void (*on_synced)(void *arg), void *arg,
                           struct error *err);
void watch_close(struct worker *w);
/* Why not synced or not connected; "" when all is well. */
const char *watch_trouble(const struct worker *w);
