// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Changes of a Service's spec.traffic: shares, tags, rollback. Pure: status says what there is.
 */

#include <jansson.h>

#include "base/error.h"

#define TRAFFIC_LATEST "@latest"

struct traffic_changes {
    const char *const *to;    /* "WHICH=PERCENT"; NULL ends; an empty list leaves the shares */
    const char *const *tag;   /* "WHICH=TAG" */
    const char *const *untag; /* "TAG" */
};

/*
 * Edits in place. WHICH is the name of a revision, a tag that there is, or @latest. With `to` the
 * shares are these and no others, and must add up to 100; a tag stays with its revision, at 0 %
 * when no share was given to it. ERR_INVALID names the word that is wrong.
 */
MUST_CHECK int traffic_edit(json_t *service, const struct traffic_changes *changes,
                            struct error *err);

/* All to this one revision; tags stay. Edits in place. */
MUST_CHECK int traffic_pin(json_t *service, const char *revision, struct error *err);

/*
 * The revision to go back to: the newest ready one older than the newest that has a share now.
 * revisions: the List. Borrowed from it; NULL with ERR_NOT_FOUND in err when there is none.
 */
const char *traffic_previous(const json_t *service, const json_t *revisions, struct error *err);
