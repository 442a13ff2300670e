// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Events: what happened to an object, for people (`kubectl describe`, `lull describe`).
 * Owns: nothing beyond the call. Best effort: an Event that cannot be written is dropped. May not
 * carry state that any part depends on.
 */

#include "kube/client.h"

struct kube_event {
    const char *api_version; /* of the object it is about */
    const char *kind;
    const char *ns; /* "" for cluster-scoped: the Event goes to "default" */
    const char *name;
    const char *uid;       /* may be NULL */
    bool warning;          /* type Warning instead of Normal */
    const char *reason;    /* one CamelCase word */
    const char *message;   /* a sentence; cut at 1,024 bytes */
    const char *component; /* who says it: "lull-controller" */
};

/* Strings are copied. */
void kube_event_post(struct kube_client *client, const struct kube_event *event);
