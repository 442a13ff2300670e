// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Destinations (`ref`, `uri`) to URLs: of a Service or Route of ours, a core Service, a Broker.
 * Pure. Owns: nothing.
 */

#include "base/strbuf.h"
#include "controller/conditions.h"
#include "controller/reconcile.h"

enum { DESTINATION_URL_MAX = 8192 };

/* Appends the URL. False: message says, in Knative's words where it has some, what is missing. ns:
 * of the object that names the destination. */
bool destination_resolve(const struct reconcile_env *env, const json_t *destination, const char *ns,
                         struct strbuf *out_url, char message[static ERROR_MSG_MAX]);

/* The same with the address that a function can call: on one machine it knows no names of the
 * cluster. */
bool destination_reach(const struct reconcile_env *env, const json_t *destination, const char *ns,
                       struct strbuf *out_url, char message[static ERROR_MSG_MAX]);

/* The condition DeadLetterSinkResolved of a Broker's or Trigger's own spec.delivery; borrows
 * message. url: what it is resolved to, empty where there is none. */
struct condition dead_letter_of(const struct reconcile_env *env, const json_t *object,
                                struct strbuf *url, char message[static ERROR_MSG_MAX]);

/* The kind that a reference names, where it is one that can be resolved; else KIND_COUNT. */
enum kind_id destination_kind(const json_t *ref);
