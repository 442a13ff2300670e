// SPDX-License-Identifier: Apache-2.0
/* Paths are written in our sources: a malformed one is a programmer's error. */
#include "json/jpath.h"

#include "base/mem.h"
#include "base/num.h"

static void take_index(const char **path, struct jstep *out)
{
    const char *p = *path + 1;
    const char *end = strchr(p, ']');
    REQUIRE(end != NULL);
    struct slice inside = slice_of(p, (size_t)(end - p));
    if (slice_eq_str(inside, "+")) {
        *out = (struct jstep){.kind = JSTEP_APPEND};
    } else {
        *out = (struct jstep){.kind = JSTEP_INDEX};
        int rc = num_parse_i64(inside, -1, INT32_MAX, &out->index, NULL);
        REQUIRE(rc == 0);
    }
    *path = end + 1;
}

bool jpath_next(const char **path, struct jstep *out)
{
    const char *p = *path;
    if (*p == '\0') {
        return false;
    }
    if (*p == '[') {
        take_index(path, out);
    } else {
        bool quoted = *p == '`';
        p += quoted ? 1 : 0;
        size_t len = strcspn(p, quoted ? "`" : ".[");
        REQUIRE(len > 0 && (!quoted || p[len] == '`'));
        *out = (struct jstep){.kind = JSTEP_KEY, .key = slice_of(p, len)};
        *path = p + len + (quoted ? 1 : 0);
    }
    if (**path == '.') {
        (*path)++;
        REQUIRE(**path != '\0');
    }
    return true;
}
