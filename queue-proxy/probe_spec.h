// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The function's readiness probe, read from Kubernetes' JSON. Pure; a small reader of its own,
 * since the queue-proxy links no JSON library. The port of the probe is not read, since on one
 * machine the function's is another one than the specification's: it is the function's, or
 * LULL_PROBE_PORT. An exec probe becomes a TCP connect here.
 */

#include "base/error.h"
#include "base/slice.h"

#define PROBE_HEADERS_MAX 8
#define PROBE_TEXT_MAX    2048

struct probe_header {
    struct slice name;
    struct slice value;
};

struct probe_spec {
    bool http;            /* GET path */
    bool grpc;            /* the health service is asked; neither: TCP connect */
    struct slice service; /* of gRPC's question */
    struct slice path;
    struct slice host; /* of a Host header among the headers; empty: none given */
    struct probe_header headers[PROBE_HEADERS_MAX];
    size_t n_headers;
    int64_t success_threshold;
    int64_t failure_threshold;
    int64_t period_s;
    int64_t timeout_s;
    char text[PROBE_TEXT_MAX]; /* where the slices point */
    size_t text_len;           /* private */
};

/* Empty text: TCP with defaults. ERR_INVALID says where. */
MUST_CHECK int probe_spec_parse(struct slice json, struct probe_spec *out, struct error *err);
