// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The core Services of a Route: one of type ExternalName per name that it has, its own and one per
 * tag. In a cluster their names are what DNS knows; everywhere a label on one makes that name
 * cluster-local. Pure. Owns: nothing. May not: touch a Service that the Route does not control.
 */

#include "controller/reconcile.h"

/*
 * Plans what is missing, and unless keep, the end of those whose tag is gone. False: `name` is the
 * name of a Service in the way that is not the Route's.
 */
bool placeholders_sync(const struct reconcile_env *env, const json_t *route, bool keep,
                       struct plan *plan, char name[static OBJECT_BUF]);
/* Whether the name (tag "": the Route's own) is to be reached from inside only. */
bool placeholder_is_local(const struct reconcile_env *env, const json_t *route, const char *tag);
