// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an API server does to every object whatever its kind: metadata, names, generation, the
 * line between spec and status, finalizers, deletion marks. Pure functions over JSON trees; the
 * trees given are never changed, new ones share parts of them. Errors carry Kubernetes' sentences
 * and the codes of local/store.h. The result has metadata in canonical order, and everything but
 * the resourceVersion, which rules_set_version() puts in last.
 */

#include "local/store.h"

/* "Deployment.apps", "Pod": how a kind is called in the sentence of an Invalid. */
#define RULES_KIND_MAX 160
char *rules_kind_text(const struct store_kind *kind, char *buf, size_t size);

/* The new object of a create; name is drawn when there is only a generateName. */
MUST_CHECK int rules_create(const struct store_kind *kind, const char *ns, const json_t *body,
                            int64_t wall_ns, json_t **out, struct error *err);

/*
 * What an update with `body` makes of `old`. *out_changed false: it is the same, *out is not
 * written. Checks resourceVersion and uid of the body when it has them.
 */
MUST_CHECK int rules_update(const struct store_kind *kind, const json_t *old, enum store_sub sub,
                            const json_t *body, json_t **out, bool *out_changed, struct error *err);

/* Marks for deletion, deletionTimestamp = now + grace. *out_changed false: was marked before. */
void rules_mark(const json_t *old, int64_t wall_ns, int64_t grace_s, json_t **out,
                bool *out_changed);

/* Adds or removes a finalizer in place; metadata of `root` must be its own. */
void rules_add_finalizer(json_t *root, const char *finalizer);
void rules_drop_finalizer(json_t *root, const char *finalizer);

/* Under deletion, and nothing holds it any more: no finalizers, no grace. */
bool rules_is_finished(const json_t *root);

/* The body without the owners whose uid is given; *out_changed false when it has none. */
void rules_drop_owner(const json_t *old, const char *uid, json_t **out, bool *out_changed);

void rules_set_version(json_t *root, uint64_t version);

/* "Operation cannot be fulfilled on pods "x": the object has been modified; …" */
int rules_conflict(struct error *err, const struct store_kind *kind, const char *name);
int rules_not_found(struct error *err, const struct store_kind *kind, const char *name);
