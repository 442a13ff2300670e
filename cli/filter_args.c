// SPDX-License-Identifier: Apache-2.0
//
// One entry of the list per dialect that was used. Whether names and expressions are right says
// whoever gets them.
#include "cli/filter_args.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"

int filter_args_take(struct filter_args *a, int *argc, char **argv)
{
    int rc = cli_repeated(argc, argv, "filter", 0, &a->exact);
    rc = rc ? rc : cli_repeated(argc, argv, "prefix", 0, &a->prefixes);
    return rc ? rc : cli_repeated(argc, argv, "suffix", 0, &a->suffixes);
}

// "type=order.paid" of each word into a map; *out NULL without any.
static int attributes_of(const struct cli_words *words, const char *flag, json_t **out,
                         struct error *err)
{
    json_t *map = words->count > 0 ? json_object() : NULL;

    for (int i = 0; i < words->count; i++) {
        const char *equals = strchr(words->items[i], '=');
        CLEANUP(cleanup_free)
        char *name =
            slice_dup(slice_of(words->items[i], equals ? (size_t)(equals - words->items[i]) : 0));
        if (json_object_get(map, name)) {
            json_decref(map);
            return error_set(err, ERR_INVALID,
                             "--%s: %s is there twice; all of them must hold (--cesql has OR)",
                             flag, name);
        }
        if (name[0] == '\0' || json_object_set_new(map, name, json_string(equals + 1)) != 0) {
            json_decref(map);
            return error_set(err, ERR_INVALID, "--%s %s: must be ATTRIBUTE=VALUE", flag,
                             words->items[i]);
        }
    }
    *out = map;
    return 0;
}

int filter_args_json(const struct filter_args *a, json_t **out, struct error *err)
{
    const struct {
        const struct cli_words *words;
        const char *flag, *dialect;
    } rows[] = {{&a->exact, "filter", "exact"},
                {&a->prefixes, "prefix", "prefix"},
                {&a->suffixes, "suffix", "suffix"}};
    json_t *filters = json_array();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *map = NULL;
        int rc = attributes_of(rows[i].words, rows[i].flag, &map, err);
        if (rc < 0) {
            json_decref(filters);
            return rc;
        }
        if (map) {
            json_array_append_new(filters, json_pack("{s:o}", rows[i].dialect, map));
        }
    }
    if (a->cesql) {
        json_array_append_new(filters, json_pack("{s:s}", "cesql", a->cesql));
    }
    if (json_array_size(filters) == 0) {
        json_decref(filters);
        filters = NULL;
    }
    *out = filters;
    return 0;
}
