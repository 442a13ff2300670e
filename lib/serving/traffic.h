// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Traffic: from a Route's spec and the revisions of its Configurations to status.traffic, and the
 * host names under which it is reached. Pure.
 * Owns: nothing. May not: read a cache; the caller brings a lookup.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "serving/config_network.h"

/* config: of the Route (network_of). "http://hello.default.localhost:8080", with a tag
 * "http://TAG-hello…". tag NULL or "": none. */
void traffic_url(const struct network_config *config, const char *ns, const char *name,
                 const char *tag, struct strbuf *out);
/* "hello.default.localhost": no scheme, no port. */
void traffic_host(const struct network_config *config, const char *ns, const char *name,
                  const char *tag, struct strbuf *out);
/* status.address.url */
void traffic_address(const struct network_config *config, const char *ns, const char *name,
                     struct strbuf *out);

/* The rules of a Route's traffic. path: where the list stands ("spec.traffic"), for the messages.
 */
MUST_CHECK int traffic_validate(const json_t *traffic, const char *path, struct error *err);
