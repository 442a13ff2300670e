// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The way from a source of events to its sink: a broker with one trigger, which no request can
 * name, so that events of a source are kept, retried and taken over as a Broker's are. A source
 * that has its events elsewhere until somebody took them (push.h) has one too: its dead are there,
 * and go to the sink from there when people want them tried again. Owns: nothing; broker and
 * trigger are the model's.
 */

#include "broker/model.h"
#include "broker/push.h"

#define OUTLET_ROOT "source/"

struct outlet {
    const char *ns; /* "source/KIND/NAMESPACE": one slash more than a path from outside may have */
    const char *name; /* of the source */
    const char *uid;
    const struct source_common *common; /* sink, dead letter sink, delivery */
};

/* Makes it, or changes it. */
void outlet_use(struct worker *w, const struct outlet *outlet);
/* Removes it, and what waits in it. */
void outlet_drop(struct worker *w, const char *ns, const char *name);

/* "source/KIND/NAMESPACE"; new memory. */
char *outlet_ns(const char *kind, const char *ns);
/* Takes such a namespace apart; false: it is that of a Broker. The parts borrow from it. */
bool outlet_split(const char *outlet_ns, struct slice *out_kind, struct slice *out_ns);

/* --- for sources that push ----------------------------------------------------------------- */

struct outlet_ref {
    struct worker *worker;
    const char *ns; /* as above */
    const char *name;
};

/* A push_route's on_try; arg is the struct outlet_ref. */
void outlet_tried(void *arg, const struct error *failed);
/* So many are read from where they come from, and nobody has taken them yet. */
void outlet_holds(const struct outlet_ref *o, unsigned n);
/*
 * Adds an event that nobody took to the dead, of which the newest are kept. again: it is all there,
 * so it can be tried again. cb as redis_conn_send's; ERR_NOT_FOUND: there is no such outlet.
 */
MUST_CHECK int outlet_bury(const struct outlet_ref *o, const struct push *p, bool again,
                           redis_conn_cb cb, void *arg, struct error *err);
