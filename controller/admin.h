// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The controller's admin port: /healthz, /readyz, /metrics. Reads the controller, changes nothing.
 */

#include "controller/controller.h"

/* Sets c->admin. */
MUST_CHECK int admin_start(struct controller *c, struct error *err);
