// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The table of the API's kinds: names, scope, subresources and columns of each.
 * Owns: the rows (constants). May not: know an object's content beyond the paths of its columns.
 *
 *     kube_get(client, &(struct kube_call){.kind = KUBE_KIND(kind_row(KIND_SERVICE)), …}, …);
 */

#include <stdbool.h>
#include <stddef.h>

enum kind_id {
#define KIND(id, ...) KIND_##id,
#include "serving/kinds.def"
    KIND_COUNT, // of those that the one-machine API serves
#define KIND(id, ...) KIND_##id,
#include "serving/kinds_cluster.def"
    KIND_ALL
};

enum {
    KIND_SUB_STATUS = 1 << 0,
    KIND_SUB_SCALE = 1 << 1,
    KIND_SUB_LOG = 1 << 2,
};

// One column of `kubectl get`, after NAME. A path of "" means that the server computes the cell
// (kind and name tell which: Deployment/Ready, Pod/Ready, …).
struct kind_column {
    const char *name;
    const char *type; // string, integer, date
    const char *format;
    const char *path;
    int priority; // 1: only with -o wide
    const char *description;
};

struct kind {
    enum kind_id id;
    const char *group; // "" for core
    const char *version;
    const char *kind;
    const char *plural;
    const char *singular;
    const char *short_names; // comma-separated, "" for none
    const char *categories;  // comma-separated, "" for none
    bool namespaced;
    unsigned subresources; // KIND_SUB_*
    const struct kind_column *columns;
    size_t n_columns;
};

// The row of a kind; id must be below KIND_ALL and not KIND_COUNT. The other lookups know those of
// kinds.def only.
const struct kind *kind_row(enum kind_id id);

// The row with these names as they stand in a path, or NULL.
const struct kind *kind_by_plural(const char *group, const char *version, const char *plural);

// The row of an object's apiVersion ("v1", "apps/v1") and kind, or NULL.
const struct kind *kind_by_object(const char *api_version, const char *kind);

// What a user typed: plural, singular, short name or kind, in any case, optionally followed by
// ".group" ("services.serving.knative.dev"). "service" and "services" alone mean ours. NULL:
// unknown.
const struct kind *kind_by_word(const char *word);

// "serving.knative.dev/v1" or "v1"; the string is a constant.
const char *kind_api_version(const struct kind *kind);

// Whether on Kubernetes it is known by a CustomResourceDefinition of ours.
bool kind_is_custom(const struct kind *kind);
