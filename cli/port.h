// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Ports of this machine. Owns: nothing. */

#include "base/error.h"

/* Whether 127.0.0.1:*port can be listened at; 0 becomes a free one. ERR_IN_USE names the flag by
 * which another one is chosen. */
MUST_CHECK int port_check(unsigned *port, const char *flag, struct error *err);
/* The same, and *fd (owned) keeps it until it is closed: free ones that are chosen together differ.
 */
MUST_CHECK int port_hold(unsigned *port, const char *flag, int *fd, struct error *err);
