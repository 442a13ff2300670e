// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The objects that are always there: namespaces default and the system namespace, and the
 * ConfigMaps config-* in the latter. What a user changed in them stays; only the two keys of
 * config-network that say our ports follow the options.
 */

#include "local/store.h"

struct bootstrap_options {
    struct store *store;
    const char *system_namespace;
    uint16_t public_port;
    uint16_t local_port;
};

typedef void (*bootstrap_cb)(int rc, const struct error *err, void *arg);
/* Zero: cb comes once. */
MUST_CHECK int bootstrap_start(const struct bootstrap_options *options, bootstrap_cb cb, void *arg,
                               struct error *err);
