// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An AdmissionReview of the API server and its answer: the defaults, rules and words of
 * lib/serving. Pure: the answer depends on nothing but the request and the settings, so that it is
 * the same from every replica, and a dry run is nothing special. Owns: nothing. May not: do I/O.
 *
 *     rc = review_answer(&env, REVIEW_VALIDATION, body, &out, &allowed, &err);
 */

#include "serving/defaults.h"

/* What is asked. */
enum review_door {
    REVIEW_DEFAULTING, /* answers with a JSON patch */
    REVIEW_VALIDATION,
    REVIEW_CONFIG, /* a ConfigMap of the system namespace */
};

struct review_env {
    const struct serving_config *config;
    const char *system_namespace;
};

enum {
    REVIEW_BODY_MAX = 8 << 20,    /* twice the largest object that an API server takes, and more */
    REVIEW_ANSWER_MAX = 12 << 20, /* a patch is base64 */
};

/*
 * Appends the answer to out. Only a create and an update of an object itself are looked at: status
 * and other sub-resources, deletes and objects that are being deleted pass. ERR_INVALID,
 * ERR_TOO_BIG: the body is no review that we understand; the error says what is wrong with it.
 */
MUST_CHECK int review_answer(const struct review_env *env, enum review_door door, struct slice body,
                             struct strbuf *out, bool *out_allowed, struct error *err);
