// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Gather the texts into pairs that borrow from the tree, then hand them on. Failure modes:
 * a value that is no text is ERR_INVALID; more members than
 * there are settings by far are too many.
 */
#include "serving/autoscaler_json.h"

#define PAIRS_MAX 64

/* The members of object. */
static int gather(const json_t *object, struct config_pair *pairs, size_t *out_count,
                  struct error *err)
{
    *out_count = 0;
    /* jansson iterates over a tree that is not const, and does not change it. */
    json_t *tree = (json_t *)(uintptr_t)object;
    for (void *it = json_object_iter(tree); it != NULL; it = json_object_iter_next(tree, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        if (!json_is_string(value)) {
            return error_set(err, ERR_INVALID, "%s must be a text", key);
        }
        if (*out_count == PAIRS_MAX) {
            return error_set(err, ERR_INVALID, "more than %d settings", PAIRS_MAX);
        }
        pairs[(*out_count)++] = (struct config_pair){
            slice_str(key), slice_of(json_string_value(value), json_string_length(value))};
    }
    return 0;
}

int autoscaler_config_from_json(const json_t *data, struct autoscaler_config *out,
                                struct error *err)
{
    struct config_pair pairs[PAIRS_MAX];
    size_t count;
    int rc = gather(data, pairs, &count, err);
    return rc < 0 ? rc : autoscaler_config_parse(pairs, count, out, err);
}
