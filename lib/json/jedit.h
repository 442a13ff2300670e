// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Changing and comparing JSON: merge patch, pointers, deep equality. */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

/*
 * RFC 7386: the value that `patch` makes of `target`. Neither is changed; unchanged parts are
 * copied. The result is the caller's. target may be NULL (nothing there).
 */
json_t *jmerge_patch(const json_t *target, const json_t *patch);
/* The same, but what stays as it was is shared with target: neither may be changed any more. */
json_t *jmerge_patch_shared(const json_t *target, const json_t *patch);
/* The smallest merge patch that makes `to` of `from`; an empty object when they are equal. */
json_t *jmerge_diff(const json_t *from, const json_t *to);

/* Same type and value all the way down; 1 and 1.0 differ. Two NULLs are equal. */
bool jequal(const json_t *a, const json_t *b);

/* The object at key, made (in the place of anything else) when it is not there. Borrowed. */
json_t *jobject_at(json_t *object, const char *key);
/* text must be UTF-8. */
void jset_text(json_t *object, const char *key, const char *text);

/* RFC 6901: "/spec/containers/0/image"; "" is the root. NULL when absent. Borrowed. */
json_t *jpointer_get(const json_t *root, struct slice pointer);
/* Sets or replaces; takes the reference to value. "-" appends. The parent must exist. */
MUST_CHECK int jpointer_set(json_t *root, struct slice pointer, json_t *value, struct error *err);
/* ERR_NOT_FOUND when absent. */
MUST_CHECK int jpointer_remove(json_t *root, struct slice pointer, struct error *err);
