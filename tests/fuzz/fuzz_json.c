// SPDX-License-Identifier: Apache-2.0
// Input: two JSON texts with a NUL between them. What parses must survive being written and read
// again; the merge patch made of two values must turn the one into the other.

#include "json/jedit.h"
#include "json/jparse.h"
#include "fuzz.h"

#define TEXT_MAX (64u * 1024)

static void round_trip(const json_t *value)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    CLEANUP(jfree) json_t *again = NULL;
    struct error err;
    strbuf_init(&text, 8 * TEXT_MAX);
    if (jdump(value, &text, &err) < 0) {
        return; // escapes can make a text longer than there is room
    }
    MUST_HOLD(jparse(strbuf_slice(&text), 8 * TEXT_MAX, &again, &err) == 0);
    MUST_HOLD(jequal(value, again));
}

// A null inside a value means "remove" in a patch, so the law is for values without one.
static bool has_null(json_t *value)
{
    const char *key;
    json_t *child;
    if (json_is_object(value)) {
        json_object_foreach(value, key, child)
        {
            if (has_null(child)) {
                return true;
            }
        }
    }
    return json_is_null(value);
}

static void merge(json_t *from, json_t *to)
{
    if (!json_is_object(from) || !json_is_object(to) || has_null(from) || has_null(to)) {
        return;
    }
    CLEANUP(jfree) json_t *diff = jmerge_diff(from, to);
    CLEANUP(jfree) json_t *got = jmerge_patch(from, diff);
    MUST_HOLD(jequal(got, to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    size_t first = cut ? (size_t)(cut - data) : size;
    struct slice a = {(const char *)data, first};
    struct slice b = {(const char *)data + (cut ? first + 1 : first), cut ? size - first - 1 : 0};
    CLEANUP(jfree) json_t *left = NULL;
    CLEANUP(jfree) json_t *right = NULL;
    struct error err;

    if (jparse(a, TEXT_MAX, &left, &err) == 0) {
        round_trip(left);
    } else {
        MUST_HOLD(err.msg[0] != '\0');
    }
    if (jparse(b, TEXT_MAX, &right, &err) == 0 && left) {
        merge(left, right);
        CLEANUP(jfree) json_t *patched = jmerge_patch(left, right);
        MUST_HOLD(patched);
    }
    return 0;
}
