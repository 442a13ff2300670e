// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The kinds table (lib/serving/kinds) in the words of the store. Owns the group-resource names.
 */

#include "serving/kinds.h"
#include "local/store.h"

struct local_kinds {
    struct store_kind rows[KIND_COUNT]; /* by kind id */
    char names[KIND_COUNT][192];        /* private: group-resources */
};

/* The caller free()s it, after the store. */
struct local_kinds *local_kinds_new(void);
