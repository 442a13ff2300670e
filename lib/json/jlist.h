// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A list of objects in JSON, as an API answers it ({"metadata": …, "items": […]}), read item by
 * item: only one of them is a tree at a time. Pure.
 */

#include "json/jparse.h"

/* item: an object, borrowed. False: no more is wanted. */
typedef bool (*jlist_item_cb)(void *arg, const json_t *item);

/*
 * fn for each of the items, in order; *out_rest is a new reference to the object without them.
 * without: paths of members of an item that nobody needs, as in jread.h; NULL: none. They may be
 * there all the same. ERR_INVALID for what is no object, or has an item that is none; ERR_CANCELED
 * when fn has had enough. In both cases fn may have been called already.
 */
MUST_CHECK int jlist_read(struct slice text, const char *const *without, jlist_item_cb fn,
                          void *arg, json_t **out_rest, struct error *err);
