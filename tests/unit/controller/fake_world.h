// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Objects in memory for the reconcilers: plans are applied as an API server would (uid, generation,
 * merge patch), Pods are made of numbers that a test sets.
 */

#include "controller/reconcile.h"

enum { WORLD_OBJECTS_MAX = 64 };

struct world {
    struct settings settings;
    json_t *objects[WORLD_OBJECTS_MAX]; /* owned */
    enum kind_id kinds[WORLD_OBJECTS_MAX];
    size_t count;
    int64_t now_ns;
    char now[40];
    struct replicas replicas; /* of every revision but those named in `broken` */
    const char *broken;       /* this revision has the trouble instead */
    struct replicas broken_replicas;
    struct broker_ingress broker; /* where events go in */
    const char *refused; /* the API does not take a Revision of this name; NULL: it takes all */
    /* Of the kinds that a SinkBinding may bind; and why they cannot be read. */
    enum known known;
    const char *trouble;
    /* A strategic merge patch; only tests that need one set it. */
    json_t *(*patch_lists)(const json_t *object, const json_t *patch);
    size_t writes;     /* operations applied so far */
    size_t max_writes; /* later ones are lost, as if the controller had been killed */
    size_t kill_at;    /* with this write the controller dies; what it planned beyond it is lost */
    uint64_t again_ms; /* of the last pass: the soonest wish to look again, 0: none */
};

void world_init(struct world *w);
void world_fini(struct world *w);
/* Takes object; gives it uid and generation. */
void world_put(struct world *w, enum kind_id kind, json_t *object);
/* Borrowed; NULL when absent. */
json_t *world_get(struct world *w, enum kind_id kind, const char *name);
void world_delete(struct world *w, enum kind_id kind, const char *name);
/* Time goes on. */
void world_advance(struct world *w, int64_t ns);
/* One pass over all objects; the number of operations that were planned. */
size_t world_pass(struct world *w);
/* Plans for all objects and drops the plans; whether they could be built does not matter. */
void world_dry_pass(struct world *w);
/* Passes until nothing is planned any more; fails the test when that takes more than 50. */
void world_settle(struct world *w);
/* The user's write: merges a patch (JSON with ' for "), counts the generation as an API does. */
void world_patch(struct world *w, enum kind_id kind, const char *name, const char *patch);
/* The objects' names, labels, annotations, specs and statuses as text, but times and uids. */
char *world_picture(struct world *w);
/* The status of a condition of the object, "" without. */
const char *world_condition(struct world *w, enum kind_id kind, const char *name, const char *type);
