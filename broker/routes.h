// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which Revisions answer at a name of the cluster: NAME.NS is a Route's own name, TAG-NAME.NS that
 * of a tag in its traffic. Owns a watch of the Routes. Where there are none (events also go where
 * no functions are) every name is unknown.
 */

#include "base/error.h"
#include "base/slice.h"

struct worker;
struct routes;

#define ROUTES_REVISIONS_MAX 16 /* of more than that the first are known */

/* Borrowed until the loop's next turn. */
struct routes_lead {
    const char *revisions[ROUTES_REVISIONS_MAX];
    size_t n; /* at least one */
};

MUST_CHECK int routes_start(struct worker *w, struct error *err);
/* Idempotent; what is asked later is not known. */
void routes_close(struct worker *w);
/* After the close. */
void routes_free(struct worker *w);

/* The first list has come, or there are no Routes here. */
bool routes_synced(const struct worker *w);

/* label: the first part of a host in that namespace. A Route's own name goes before a tag's, as in
 * the activator. False: it leads to no Revision that is known. */
bool routes_find(const struct worker *w, struct slice ns, struct slice label,
                 struct routes_lead *out);
