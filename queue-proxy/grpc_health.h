// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The two messages of gRPC's health checking protocol (grpc.health.v1.Health/Check), each behind
 * its prefix of five bytes. Pure. May not: know how they travel.
 */

#include "base/slice.h"
#include "base/strbuf.h"

#define GRPC_HEALTH_TARGET "/grpc.health.v1.Health/Check"

/* HealthCheckRequest{service} (empty: the server as a whole). False: out has too little room. */
bool grpc_health_request(struct slice service, struct strbuf *out);
/* Whether an answer's body is a HealthCheckResponse that says SERVING. */
bool grpc_health_serving(struct slice body);
