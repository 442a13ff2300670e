// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/json: the steps of a path such as "spec.containers[0].`a.b/c`". */

#include "base/slice.h"

enum jstep_kind { JSTEP_KEY, JSTEP_INDEX, JSTEP_APPEND };

struct jstep {
    enum jstep_kind kind;
    struct slice key; /* borrowed from the path */
    int64_t index;    /* -1: the last element */
};

/* Takes the next step off *path; false at the end. A malformed path ends the process. */
bool jpath_next(const char **path, struct jstep *out);
