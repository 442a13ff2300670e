// SPDX-License-Identifier: Apache-2.0
/*
 * Expectations: a few versions per key. Versions are compared as numbers, which both API servers
 * make them; what is no number counts as seen.
 */
#include "controller/expect.h"

#include "base/mem.h"
#include "base/num.h"
#include "controller/plan.h"

enum { KEY_MAX = 600 };

struct expected {
    enum kind_id kind;
    uint64_t version;
    char name[OBJECT_BUF];
};

struct expected_list {
    size_t count;
    struct expected items[PLAN_OPS_MAX];
};

static struct slice key_of(char buf[static KEY_MAX], struct work_key key)
{
    int len = snprintf(buf, KEY_MAX, "%d/%s/%s", (int)key.kind, key.ns, key.name);
    return slice_of(buf, len < 0 ? 0 : len < KEY_MAX ? (size_t)len : KEY_MAX - 1);
}

void expect_init(struct expectations *e)
{
    map_init(&e->keys, MAP_COPY_KEYS);
}

void expect_fini(struct expectations *e)
{
    map_foreach (it, &e->keys) {
        free(it.value);
    }
    map_fini(&e->keys);
}

void expect_add(struct expectations *e, struct work_key key, enum kind_id kind, const char *name,
                const char *version)
{
    char buf[KEY_MAX];
    uint64_t number = 0;
    if (num_parse_u64(slice_str(version), 0, UINT64_MAX, &number, NULL) < 0) {
        return;
    }
    struct expected_list *list = map_get(&e->keys, key_of(buf, key));
    if (list == NULL) {
        list = NEW(struct expected_list);
        map_set(&e->keys, key_of(buf, key), list);
    }
    if (list->count < PLAN_OPS_MAX) {
        struct expected *item = &list->items[list->count++];
        item->kind = kind;
        item->version = number;
        slice_copy(slice_str(name), item->name, sizeof(item->name));
    }
}

static bool seen(const struct expected *item, const char *version)
{
    uint64_t number = 0;
    if (version == NULL) {
        return false;
    }
    return num_parse_u64(slice_str(version), 0, UINT64_MAX, &number, NULL) < 0 ||
           number >= item->version;
}

bool expect_met(struct expectations *e, struct work_key key, expect_version_cb version, void *arg)
{
    char buf[KEY_MAX];
    const struct expected_list *list = map_get(&e->keys, key_of(buf, key));
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct expected *item = &list->items[i];
        if (!seen(item, version(arg, item->kind, key.ns, item->name))) {
            return false;
        }
    }
    expect_drop(e, key);
    return true;
}

void expect_drop(struct expectations *e, struct work_key key)
{
    char buf[KEY_MAX];
    free(map_remove(&e->keys, key_of(buf, key)));
}
