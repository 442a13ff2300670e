// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Binds the ports that requests come in through, before anything else is up: a busy port is an
 * error at once, and connections queue up in the kernel until somebody accepts.
 */

#include "base/error.h"

enum { PORT_PUBLIC, PORT_LOCAL, PORT_TLS, PORT_COUNT };

/*
 * count listening sockets on one address: text "IP:PORT". More than one share the port
 * (SO_REUSEPORT) and the kernel spreads connections over them; port 0 is any free one, the same for
 * all. fds[0 … count-1] are the caller's (all -1 after an error, and without a text: NULL or
 * empty). A unix address: fds[0] is -1, its
 * listener makes it later; several: ERR_INVALID.
 */
MUST_CHECK int ports_bind(const char *text, unsigned count, int *fds, struct error *err);
/* Closes those that are open and sets them to -1. */
void ports_close(int *fds, unsigned count);
/* The port of a bound socket, 0 for -1. */
unsigned ports_number(int fd);
