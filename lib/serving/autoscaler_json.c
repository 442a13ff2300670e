// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Gather the texts into pairs that borrow from the tree, then hand them on. Failure modes:
 * a value that is no text is ERR_INVALID where it stands under a name of ours; more members than
 * there are settings by far are too many.
 */
#include "serving/autoscaler_json.h"

#include "serving/names.h"

#define PAIRS_MAX 64

/* Members of object whose name begins with prefix. */
static int gather(const json_t *object, const char *prefix, struct config_pair *pairs,
                  size_t *out_count, struct error *err)
{
    *out_count = 0;
    /* jansson iterates over a tree that is not const, and does not change it. */
    json_t *tree = (json_t *)(uintptr_t)object;
    for (void *it = json_object_iter(tree); it != NULL; it = json_object_iter_next(tree, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        if (strncmp(key, prefix, strlen(prefix)) != 0) {
            continue;
        }
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
    int rc = gather(data, "", pairs, &count, err);
    return rc < 0 ? rc : autoscaler_config_parse(pairs, count, out, err);
}

int autoscaler_annotations_validate(const json_t *annotations,
                                    const struct autoscaler_config *config, const char *path,
                                    struct error *err)
{
    struct config_pair pairs[PAIRS_MAX];
    size_t count;
    int rc = gather(annotations, AUTOSCALING_PREFIX, pairs, &count, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", path);
    }
    CLEANUP(strbuf_fini) struct strbuf problems;
    strbuf_init(&problems, 16384);
    if (autoscaler_annotations_check(pairs, count, config, path, &problems) == 0) {
        return 0;
    }
    return error_set(err, ERR_INVALID, "%s", problems.ptr);
}
