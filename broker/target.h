// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a delivery goes: the parts of a subscriber's URL, and which addresses a broker may not call
 * however a URL names them. Pure; resolves nothing.
 */

#include "base/error.h"
#include "base/slice.h"
#include "loop/addr.h"

#define TARGET_URL_MAX 2048

/* Slices of the URL's text. */
struct target {
    bool tls;
    struct slice authority; /* as the Host header says it: "host", "host:8080" */
    struct slice host;      /* without brackets and port */
    uint16_t port;
    struct slice path; /* "/a?b"; "/" when the URL has none */
    bool local;        /* a name of the cluster: "….svc.cluster.local" */
};

/* ERR_INVALID: no absolute http or https URL, or one with a user or a fragment in it. */
MUST_CHECK int target_parse(struct slice url, struct target *out, struct error *err);

enum target_rule {
    TARGET_PRIVATE_OK = 1 << 0,  /* 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7 */
    TARGET_LOOPBACK_OK = 1 << 1, /* 127/8, ::1 */
};

/*
 * ERR_DENIED with the reason: link-local addresses (where clouds keep their credentials),
 * multicast, unspecified and reserved ones always; private and loopback ones unless the rules allow
 * them. own_ports: of our own admin listeners; refused on loopback. An IPv4 address in IPv6 clothes
 * counts as what it is.
 */
MUST_CHECK int target_check(const struct addr *addr, unsigned rules, const uint16_t *own_ports,
                            size_t n_own, struct error *err);
