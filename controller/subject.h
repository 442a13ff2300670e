// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a SinkBinding can bind: kinds with a Pod template, chosen by name or by labels, and the
 * patches that put its variables into their containers or take them out. Pure; owns nothing. May
 * not: know when, or whose binding it is.
 *
 * Of workloads (Kubernetes' own kinds) only what subject_slim leaves is known: names, labels, our
 * annotation and our variables, always under spec.template.spec, also where it is a CronJob's.
 */

#include <jansson.h>

#include "serving/kinds.h"

/* The variables; sink NULL: none. */
struct subject_vars {
    const char *sink;
    const char *overrides; /* K_CE_OVERRIDES */
};

/* KIND_COUNT: of a kind that cannot be bound. Deployments are KIND_WORKLOAD. */
enum kind_id subject_kind(const char *api_version, const char *kind);
/* The kinds of Kubernetes among them: watched only when a SinkBinding names one. */
bool subject_is_workload(enum kind_id kind);
/* i-th kind of those, KIND_COUNT at the end. */
enum kind_id subject_workload_at(size_t i);
/* A workload without what is not needed here. */
json_t *subject_slim(enum kind_id kind, const json_t *object);

/* spec.subject of a binding in the object's own namespace means the object. */
bool subject_meant(const json_t *subject, enum kind_id kind, const json_t *object);

/* It cannot be bound, for its Pods cannot be changed (Job). */
bool subject_is_fixed(enum kind_id kind);
/*
 * The patch (of workloads a strategic merge patch, else a merge patch) that brings variables and
 * annotation to this; NULL: they are so. binding NULL: the annotation goes. version: the object's
 * resourceVersion, NULL: whichever.
 */
json_t *subject_patch(enum kind_id kind, const json_t *object, const char *binding,
                      const struct subject_vars *vars, const char *version);
