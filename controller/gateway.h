// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For those who have a gateway already: one Ingress or HTTPRoute per public host, in the system
 * namespace, that leads to Service lull-activator (config-network: gateway-kind). Its name is the
 * host. It belongs to a Route or DomainMapping of another namespace, which no owner reference can
 * say: labels do, and an object that nobody wants is deleted when it is looked at. Pure. Owns:
 * nothing. May not: touch an object of that name that is somebody else's.
 */

#include "controller/reconcile.h"

/* The kind that config-network asks for; KIND_COUNT: none. */
enum kind_id gateway_kind(const struct settings *settings);
/* Plans the object of a host. route: "" for a DomainMapping, whose name the host is. */
void gateway_sync(const struct reconcile_env *env, const json_t *owner, const char *route,
                  const char *host, struct plan *plan);
/* The same for all hosts in a Route's status as it is to be. */
void gateway_sync_route(const struct reconcile_env *env, const json_t *route, const json_t *status,
                        struct plan *plan);
