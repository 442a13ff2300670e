// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * metrics.k8s.io/v1beta1: PodMetrics, what Pods use at present, as a metrics server gives it.
 * Nothing is stored: a request has the node agent look (local/usage.h).
 */

#include "base/strbuf.h"
#include "http/simple.h"

struct api;

/* false: the path is not of this group and the request was not touched; else it owns the request.
 */
bool metrics_handle(struct api *api, struct http_simple_request *rq);

/* For discovery, as those of review.h; the group is always there. */
void metrics_append_group(struct strbuf *out, bool first);
bool metrics_append_own_group(struct strbuf *out, const char *group);
bool metrics_append_resources(struct strbuf *out, const char *group, const char *version);
void metrics_append_discovered(struct strbuf *out, bool first);
