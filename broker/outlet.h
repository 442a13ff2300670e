// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The way from a source of events to its sink: a broker with one trigger, which no request can
 * name, so that events of a source are kept, retried and taken over as a Broker's are. Owns:
 * nothing; broker and trigger are the model's.
 */

#include "broker/model.h"

struct outlet {
    const char *ns; /* "source/KIND/NAMESPACE": one slash more than a path from outside may have */
    const char *name; /* of the source */
    const char *uid;
    const char *sink;        /* NULL: not known yet */
    const char *dead_letter; /* NULL: none */
    struct retry_policy policy;
};

/* Makes it, or changes it. */
void outlet_use(struct worker *w, const struct outlet *outlet);
/* Removes it, and what waits in it. */
void outlet_drop(struct worker *w, const char *ns, const char *name);
