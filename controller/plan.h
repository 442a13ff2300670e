// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a reconciler wants written: a short list of operations on objects of one namespace, made
 * without any I/O and executed by the controller. An empty plan means that all is as it should be.
 * Owns the bodies. May not: talk to the API.
 */

#include <jansson.h>

#include "base/error.h"
#include "serving/kinds.h"
#include "serving/names.h"

enum plan_verb {
    PLAN_CREATE,
    PLAN_PATCH,        /* merge patch of the object */
    PLAN_PATCH_LISTS,  /* strategic merge patch of the object: of Kubernetes' own kinds */
    PLAN_PATCH_STATUS, /* merge patch of its status */
    PLAN_DELETE,
};

enum {
    PLAN_OPS_MAX = 16,
    PLAN_EVENTS_MAX = 4,
};

struct plan_op {
    enum plan_verb verb;
    enum kind_id kind;
    char name[OBJECT_BUF];
    const char *ns; /* borrowed; NULL: that of the object that was looked at */
    bool minor;     /* a status that nobody acts on: may wait a moment for the next one */
    json_t *body;   /* owned; DeleteOptions with PLAN_DELETE */
};

struct plan_event {
    bool warning;
    char reason[64]; /* a copy: a condition's reason may be a replica's own word */
    char message[ERROR_MSG_MAX];
};

struct plan {
    struct plan_op ops[PLAN_OPS_MAX];
    size_t n_ops;
    struct plan_event events[PLAN_EVENTS_MAX];
    size_t n_events;
    const char *ns;    /* private: of the next operations */
    uint64_t again_ms; /* look again after so long even if nothing happens; 0: no need */
    struct error err;  /* code != ERR_OK: something could not be built; nothing is to be written */
};

void plan_init(struct plan *plan);
void plan_fini(struct plan *plan);

/* The operations that follow are on objects of this namespace, which outlives the plan; NULL: again
 * that of the object that is looked at. */
void plan_in(struct plan *plan, const char *ns);
/* All take body; NULL marks the plan as failed. */
void plan_create(struct plan *plan, enum kind_id kind, const char *name, json_t *body);
void plan_patch(struct plan *plan, enum kind_id kind, const char *name, json_t *body);
void plan_patch_lists(struct plan *plan, enum kind_id kind, const char *name, json_t *body);
/* Only the object of this uid is deleted; one that was made anew under the name is not. */
void plan_delete(struct plan *plan, enum kind_id kind, const char *name, const char *uid);
/* Nothing when status equals the one of object (the object as it is); else a patch of what differs.
 */
void plan_status(struct plan *plan, enum kind_id kind, const json_t *object, json_t *status);
/*
 * Brings labels, annotations and spec of actual to those of wanted (borrowed). True when something
 * has to be written.
 */
bool plan_sync(struct plan *plan, enum kind_id kind, const json_t *actual, const json_t *wanted);
/* How many operations still fit. */
size_t plan_room(const struct plan *plan);
/* Keeps the soonest. */
void plan_again(struct plan *plan, uint64_t delay_ms);
void plan_event(struct plan *plan, bool warning, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
