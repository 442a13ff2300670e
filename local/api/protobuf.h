// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Kubernetes' protobuf form of its own kinds, which typed clients (kubectl create, run, expose,
 * auth can-i) send without asking whether JSON would be nicer.
 * Reading only: answers are JSON, which these clients accept. Pure.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

/* ERR_UNSUPPORTED for a kind that is not in the table, ERR_PROTOCOL for bytes that do not fit. */
MUST_CHECK int protobuf_read(struct slice body, json_t **out, struct error *err);
