// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the controller keeps of an object of any kind but Pod: its JSON text, packed, without what
 * no reconciler reads (managed fields, a Deployment's template), and the few facts that the indexes
 * are made of. Owns: the packing. May not: know who refers to whom.
 */

#include <jansson.h>

#include "base/pack.h"
#include "serving/kinds.h"
#include "serving/names.h"

/* What is kept of an object (all kinds but Pod). */
struct kept {
    char *packed; /* its text, by pack_text */
    size_t len;
    enum kind_id owner_kind; /* KIND_COUNT: none of ours */
    bool at_rest;            /* its status is that of its spec, and nothing is under way or wrong */
    char *owner;
    /* Of a Route the Revisions that spec and status name, of a Configuration the latest ones. */
    char **revisions; /* NULL ends; NULL: none */
    char **follows;   /* Routes: Configurations whose latest revision it follows */
    char **
        needs; /* Brokers, Triggers, sources: what they name, as kept_need_text has it; NULL ends */
    char *target; /* DomainMappings: the name in spec.ref; ClusterDomainClaims: the namespace;
                objects for another     gateway: that of the owner */
};

/* Of a Revision. */
struct revision_kept {
    struct kept kept; /* first: a pointer to this is one to that */
    int64_t created_ns;
    int64_t active_ns;
    bool reserve;
    bool keep;
};

struct keeper {
    struct pack pack;      /* private */
    struct strbuf scratch; /* private: one object's text */
};

void keeper_init(struct keeper *k);
void keeper_fini(struct keeper *k);

/* Of what kept_read fills: struct kept, or struct revision_kept. */
size_t kept_size(enum kind_id kind);
/* Members that are left out anyway, where there is much of them, for a cache of any kind (Pods
 * too): NULL-ended paths. */
const char *const *kept_without(enum kind_id kind);

/* In the place of a name: all objects of the kind in the namespace. */
#define NEED_ANY "*"
/* "KIND/NAMESPACE/NAME" of an object that another one needs, or of that one; KIND is its number. */
enum { NEED_TEXT_MAX = 2 * OBJECT_BUF + 16 };
void kept_need_text(enum kind_id kind, const char *ns, const char *name,
                    char out[static NEED_TEXT_MAX]);

/* kept: zeroed, of kept_size(kind); kept_release it, unless this fails. ERR_TOO_BIG. */
MUST_CHECK int kept_read(struct keeper *k, enum kind_id kind, const json_t *object,
                         struct kept *kept, struct error *err);
/* A new reference; NULL when it cannot be read, which would be our own fault. */
json_t *kept_object(struct keeper *k, const struct kept *kept);
void kept_release(struct kept *kept);
