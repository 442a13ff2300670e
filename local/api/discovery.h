// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The documents by which clients learn what the server has: /api, /apis, resource lists, the
 * aggregated form of both, and /version. All made from the kinds table. Pure.
 */

#include "base/strbuf.h"
#include "local/api/route.h"

/* /api, /apis, /apis/GROUP and lists. false: there is no such group or version. */
bool discovery_write(const struct route *route, bool apis, struct strbuf *out);
/* APIGroupDiscoveryList (apidiscovery.k8s.io/v2) of the core group, or of all others. */
void discovery_aggregated(bool core, struct strbuf *out);
void discovery_version(struct strbuf *out);
