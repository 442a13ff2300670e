// SPDX-License-Identifier: Apache-2.0
/*
 * Expectations: a few versions per key. Versions are compared as numbers, which both API servers
 * make them; what is no number counts as seen.
 */
#include "controller/expect.h"

#include "base/mem.h"
#include "base/num.h"

enum { KEY_MAX = 600 };

/* One write. As small as can be: thousands of keys have some when many objects are made at once. */
struct expected {
    struct expected *next; /* of the same key; NULL: the last */
    enum kind_id kind;
    uint64_t version;
    char *ns; /* behind the name */
    char name[];
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

static void free_all(struct expected *item)
{
    while (item != NULL) {
        struct expected *next = item->next;
        free(item);
        item = next;
    }
}

void expect_fini(struct expectations *e)
{
    map_foreach (it, &e->keys) {
        free_all(it.value);
    }
    map_fini(&e->keys);
}

void expect_add(struct expectations *e, struct work_key key, enum kind_id kind, const char *ns,
                const char *name, const char *version)
{
    char buf[KEY_MAX];
    uint64_t number = 0;
    if (num_parse_u64(slice_str(version), 0, UINT64_MAX, &number, NULL) < 0) {
        return;
    }
    size_t len = strlen(name) + 1;
    size_t ns_len = strlen(ns) + 1;
    struct expected *item = xmalloc(sizeof(*item) + len + ns_len);
    item->next = map_get(&e->keys, key_of(buf, key));
    item->kind = kind;
    item->version = number;
    item->ns = item->name + len;
    memcpy(item->name, name, len);
    memcpy(item->ns, ns, ns_len);
    map_set(&e->keys, key_of(buf, key), item);
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
    const struct expected *item = map_get(&e->keys, key_of(buf, key));
    for (; item != NULL; item = item->next) {
        if (!seen(item, version(arg, item->kind, item->ns, item->name))) {
            return false;
        }
    }
    expect_drop(e, key);
    return true;
}

void expect_drop(struct expectations *e, struct work_key key)
{
    char buf[KEY_MAX];
    free_all(map_remove(&e->keys, key_of(buf, key)));
}
