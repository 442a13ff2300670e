// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our own redis-server of `lull up`: its configuration, and what it means when it ends by itself.
 */

#include "base/error.h"

struct events_store {
    const char *home;  /* it keeps its files in HOME/events, its socket in HOME/run */
    const char *fsync; /* always or everysec */
    uint64_t memory;   /* bytes of events; 0: a quarter of the machine's, or of our cgroup's */
};

MUST_CHECK int events_store_configure(const struct events_store *store, const char *path,
                                      struct error *err);
/* What its last line means and what to do; NULL: nothing that we know. New memory. */
char *events_store_trouble(const struct events_store *store, const char *last_line);
