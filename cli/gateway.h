// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where functions are called from here: the activators' address. Owns: nothing.
 *
 * On this machine that is a port of its own Lull. On a cluster it is what the Service
 * lull-activator has for the world outside, a load balancer's address or external IP; whoever has
 * neither (a forwarded port, an ingress in front) says it.
 */

#include "cli/cli.h"

#define GATEWAY_HELP                                                                         \
    "where functions are called, http://HOST[:PORT] (else the Lull of this machine, or the " \
    "address "                                                                               \
    "of the cluster's Service lull-activator)"

/*
 * said: the user's own, or NULL. *out: "http://HOST[:PORT]", new memory. ERR_NOT_FOUND: the cluster
 * has none, with what to do. Connected, unless said is there.
 */
MUST_CHECK int gateway_find(struct cli *cli, const char *said, char **out, struct error *err);
