// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The one translation from the API's Status to our errors. Private to lib/kube. */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

/*
 * http_status: of the answer, or a Status' code. status: the Status object, or NULL when the body
 * is none; raw: the body, for the sentence then. Returns the code.
 */
int error_from_kube_status(struct error *err, int http_status, const json_t *status,
                           struct slice raw);
