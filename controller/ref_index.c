// SPDX-License-Identifier: Apache-2.0
/* The index: a map of small arrays. Nothing can fail but the memory. */
#include "controller/ref_index.h"

#include "base/mem.h"

enum { KEY_MAX = 600 };

struct refs {
    char **names;
    size_t count;
};

static struct slice key_of(char buf[static KEY_MAX], const char *ns, const char *target)
{
    int len = snprintf(buf, KEY_MAX, "%s/%s", ns, target);
    return slice_of(buf, len < 0 ? 0 : len < KEY_MAX ? (size_t)len : KEY_MAX - 1);
}

static void refs_free(struct refs *refs)
{
    for (size_t i = 0; i < refs->count; i++) {
        free(refs->names[i]);
    }
    free(refs->names);
    free(refs);
}

void ref_index_init(struct ref_index *index)
{
    map_init(&index->map, MAP_COPY_KEYS);
}

void ref_index_fini(struct ref_index *index)
{
    map_foreach (it, &index->map) {
        refs_free(it.value);
    }
    map_fini(&index->map);
}

static size_t refs_find(const struct refs *refs, const char *from)
{
    size_t i = 0;
    while (i < refs->count && strcmp(refs->names[i], from) != 0) {
        i++;
    }
    return i;
}

void ref_index_add(struct ref_index *index, const char *ns, const char *target, const char *from)
{
    char buf[KEY_MAX];
    struct slice key = key_of(buf, ns, target);
    struct refs *refs = map_get(&index->map, key);
    if (refs == NULL) {
        refs = NEW(struct refs);
        map_set(&index->map, key, refs);
    }
    if (refs_find(refs, from) == refs->count) {
        refs->names = xreallocarray(refs->names, refs->count + 1, sizeof(*refs->names));
        refs->names[refs->count++] = xstrdup(from);
    }
}

void ref_index_remove(struct ref_index *index, const char *ns, const char *target, const char *from)
{
    char buf[KEY_MAX];
    struct slice key = key_of(buf, ns, target);
    struct refs *refs = map_get(&index->map, key);
    size_t i = refs == NULL ? 0 : refs_find(refs, from);
    if (refs == NULL || i == refs->count) {
        return;
    }
    free(refs->names[i]);
    refs->count--;
    memmove(refs->names + i, refs->names + i + 1, (refs->count - i) * sizeof(*refs->names));
    if (refs->count == 0) {
        map_remove(&index->map, key);
        refs_free(refs);
    }
}

void ref_index_each(const struct ref_index *index, const char *ns, const char *target,
                    void (*fn)(void *arg, const char *ns, const char *from), void *arg)
{
    char buf[KEY_MAX];
    const struct refs *refs = map_get(&index->map, key_of(buf, ns, target));
    for (size_t i = 0; refs != NULL && i < refs->count; i++) {
        fn(arg, ns, refs->names[i]);
    }
}
