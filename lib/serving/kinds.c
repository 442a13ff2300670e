// SPDX-License-Identifier: Apache-2.0
/*
 * The table of kinds. Happy path: a lookup walks the few rows. Failure mode: no row, NULL.
 */
#include "serving/kinds.h"

#include <string.h>
#include <strings.h>

#include "base/slice.h"

#define CELL(name, type, format, path, priority, description) \
    {                                                         \
        name, type, format, path, priority, description       \
    }
#define ROW(id, group, version, kind, plural, singular, shorts, categories, namespaced, subs, ...) \
    [KIND_##                                                                                       \
        id] = {KIND_##id,                                                                          \
               group,                                                                              \
               version,                                                                            \
               kind,                                                                               \
               plural,                                                                             \
               singular,                                                                           \
               shorts,                                                                             \
               categories,                                                                         \
               namespaced,                                                                         \
               subs,                                                                               \
               (const struct kind_column[]){__VA_ARGS__},                                          \
               sizeof((const struct kind_column[]){__VA_ARGS__}) / sizeof(struct kind_column)},

static const struct kind rows[KIND_ALL] = {
#define COLUMN(...) CELL(__VA_ARGS__)
#define KIND(...)   ROW(__VA_ARGS__)
#include "serving/kinds.def"
#define COLUMN(...) CELL(__VA_ARGS__)
#define KIND(...)   ROW(__VA_ARGS__)
#include "serving/kinds_cluster.def"
};

const struct kind *kind_row(enum kind_id id)
{
    return &rows[id];
}

const struct kind *kind_by_plural(const char *group, const char *version, const char *plural)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (strcmp(rows[i].group, group) == 0 && strcmp(rows[i].version, version) == 0 &&
            strcmp(rows[i].plural, plural) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const struct kind *kind_by_object(const char *api_version, const char *kind)
{
    const char *slash = strchr(api_version, '/');
    size_t group_len = slash == NULL ? 0 : (size_t)(slash - api_version);
    const char *version = slash == NULL ? api_version : slash + 1;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (strlen(rows[i].group) == group_len &&
            strncmp(rows[i].group, api_version, group_len) == 0 &&
            strcmp(rows[i].version, version) == 0 && strcmp(rows[i].kind, kind) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool word_is(const char *word, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(word, name, len) == 0;
}

static bool word_in(const char *word, size_t len, const char *names)
{
    while (*names != '\0') {
        size_t part = strcspn(names, ",");
        if (part == len && strncasecmp(word, names, len) == 0) {
            return true;
        }
        names += part + (names[part] == ',');
    }
    return false;
}

const struct kind *kind_by_word(const char *word)
{
    size_t len = strcspn(word, ".");
    const char *group = word[len] == '.' ? word + len + 1 : NULL;
    if (len == 0) {
        return NULL;
    }
    for (size_t i = 0; i < KIND_COUNT; i++) {
        const struct kind *k = &rows[i];
        if ((group == NULL || strcasecmp(group, k->group) == 0) &&
            (word_is(word, len, k->plural) || word_is(word, len, k->singular) ||
             word_is(word, len, k->kind) || word_in(word, len, k->short_names))) {
            return k;
        }
    }
    return NULL;
}

static const char *const api_versions[KIND_ALL] = {
#define API_VERSION(id, group, version, ...) \
    [KIND_##id] = sizeof(group) > 1 ? group "/" version : version,
#define KIND(...) API_VERSION(__VA_ARGS__)
#include "serving/kinds.def"
#define KIND(...) API_VERSION(__VA_ARGS__)
#include "serving/kinds_cluster.def"
};

const char *kind_api_version(const struct kind *kind)
{
    return api_versions[kind->id];
}

bool kind_is_custom(const struct kind *kind)
{
    struct slice group = slice_str(kind->group);
    return slice_ends_with(group, SLICE_LIT("knative.dev")) ||
           slice_ends_with(group, SLICE_LIT("lull.dev"));
}
