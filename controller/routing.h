// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which Routes use a Revision or a Configuration: its annotation `routes`, and a Revision's label
 * routingState. Pure. Owns: nothing. May not: write.
 */

#include "controller/reconcile.h"

enum { ROUTES_TEXT_MAX = 16 << 10 };

/*
 * The Routes that name the revision in spec or status, and those that follow its Configuration
 * while it is the latest one there. A Route that has used it and is not settled (neither Ready nor
 * failed) still counts. Comma-separated, sorted, each once. True when it must be looked at again
 * because of such a Route.
 */
bool routing_of_revision(const struct reconcile_env *env, const json_t *revision,
                         struct strbuf *out);
/* The Routes that follow the Configuration, and the one of its Service. */
void routing_of_configuration(const struct reconcile_env *env, const json_t *configuration,
                              struct strbuf *out);
/* The comma-separated list with `name` added; sorted. */
void routing_with(const char *list, const char *name, struct strbuf *out);

/* Plans what brings label and annotations of the revision to that. */
void routing_sync_revision(const struct reconcile_env *env, const json_t *revision,
                           struct plan *plan);
