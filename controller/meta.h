// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Small readers and builders of metadata: owners, labels, copies. Pure; owns nothing. */

#include <jansson.h>

#include "base/attr.h"
#include "serving/kinds.h"
#include "serving/names.h"

const char *meta_name(const json_t *object);
const char *meta_ns(const json_t *object);
const char *meta_uid(const json_t *object);
/* "" when absent. Borrowed. */
const char *meta_label(const json_t *object, const char *key);
const char *meta_annotation(const json_t *object, const char *key);
/* The first spelling that is there; old may be NULL. */
const char *meta_annotation_of(const json_t *object, const char *key, const char *old);
bool meta_deleting(const json_t *object);

/* The ownerReference with controller=true; NULL when there is none. */
const json_t *meta_controller(const json_t *object);
/* owner (by uid) controls object. */
bool meta_controlled_by(const json_t *object, const json_t *owner);
/* [{apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true}] */
json_t *meta_owner_refs(enum kind_id owner_kind, const json_t *owner);

/* The name of the Revision that the Configuration's generation has, or is to get. */
void meta_revision_name(const json_t *configuration, char out[static NAME_BUF]);

/* A new object with the string members of map (may be NULL) but those named in without (NULL ends).
 */
json_t *meta_copy(const json_t *map, const char *const *without);
/* Sets when value is not empty. */
void meta_set(json_t *map, const char *key, const char *value);
