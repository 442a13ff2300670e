// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Conditions as Knative has them: a living set in which Ready follows from the others. Pure.
 * Owns: nothing. Texts are borrowed.
 */

#include <jansson.h>

#include "base/attr.h"

#define STATUS_TRUE    "True"
#define STATUS_FALSE   "False"
#define STATUS_UNKNOWN "Unknown"

struct condition {
    const char *type;
    const char *status;  /* STATUS_*; "" when the condition is absent */
    const char *reason;  /* "": none */
    const char *message; /* "": none */
    bool info;           /* severity Info: does not count for Ready */
};

/* The condition of this type in status.conditions of object; absent: status "". Borrowed. */
struct condition condition_get(const json_t *object, const char *type);
bool condition_is(const json_t *object, const char *type, const char *status);
/* status.observedGeneration is metadata.generation. */
bool condition_observed(const json_t *object);
/* Ready is True and the generation was observed. */
bool object_is_ready(const json_t *object);

/*
 * The list for status.conditions, by type: those given and, unless it is among them, Ready, which
 * is False with the first False one's reason and message, else Unknown with those of the first
 * Unknown one that has a reason, else True. object: as it is now; a condition whose status stays
 * keeps its lastTransitionTime, others get `now` (RFC 3339).
 */
json_t *conditions_build(const struct condition *list, size_t count, const json_t *object,
                         const char *now);
/* The Ready that conditions_build would make. */
struct condition conditions_ready(const struct condition *list, size_t count);
