// SPDX-License-Identifier: Apache-2.0
/*
 * What is known of the objects of one kind.
 *
 * Happy path: an object is projected, kept under its name, and reported as new or changed. What is
 * older than what is known (an event that comes twice or late) changes nothing: numbers of versions
 * are compared (kube/order.h), also with those of objects that are gone. Failure modes: an object
 * that cannot be projected is left out, and no longer known if it was.
 */
#include "kube/known.h"

#include "base/log.h"
#include "base/mem.h"
#include "json/jget.h"

enum {
    KEY_MAX = 2 * 254,
    UID_MAX = 40,
};

struct item {
    struct kube_entry entry; /* points into this struct */
    uint64_t list_id;        /* the last list that named it */
    uint64_t number;         /* of version; 0: unknown */
    char uid[UID_MAX];
    char version[KNOWN_VERSION_MAX];
    size_t key_len;
    char key[]; /* ns NUL name NUL */
};

/* Returns the key's length, 0 when it is too long. */
static size_t make_key(char out[static KEY_MAX], struct slice ns, struct slice name)
{
    size_t len = ns.len + 1 + name.len;
    if (len + 1 > KEY_MAX) {
        return 0;
    }
    memcpy(out, ns.ptr, ns.len);
    out[ns.len] = '\0';
    memcpy(out + ns.len + 1, name.ptr, name.len);
    out[len] = '\0';
    return len;
}

static struct item *item_find(const struct known *k, struct slice ns, struct slice name)
{
    char key[KEY_MAX];
    size_t len = make_key(key, ns, name);
    return len == 0 ? NULL : map_get(&k->items, slice_of(key, len));
}

static struct item *item_new(struct slice ns, struct slice name)
{
    char key[KEY_MAX];
    size_t len = make_key(key, ns, name);
    if (len == 0) {
        return NULL;
    }
    struct item *item = xcalloc(1, sizeof(*item) + len + 1);
    item->key_len = len;
    memcpy(item->key, key, len + 1);
    item->entry.ns = item->key;
    item->entry.name = item->key + ns.len + 1;
    item->entry.uid = item->uid;
    item->entry.resource_version = item->version;
    return item;
}

static void value_free(const struct known *k, void *value)
{
    if (value != NULL && k->options->release != NULL) {
        k->options->release(k->options->arg, value);
    }
    free(value);
}

static void item_free(const struct known *k, struct item *item)
{
    value_free(k, item->entry.value);
    free(item);
}

static void item_remove(struct known *k, struct item *item)
{
    map_remove(&k->items, slice_of(item->key, item->key_len));
    order_gone_add(k->gone, slice_str(item->uid), item->number);
    if (k->options->on_delete != NULL && !k->stopped) {
        k->options->on_delete(k->options->arg, &item->entry);
    }
    item_free(k, item);
}

/* The object's value, or NULL when it does not matter. */
static void *project(struct known *k, const json_t *object)
{
    size_t size = k->options->value_size == 0 ? 1 : k->options->value_size;
    void *value = xcalloc(1, size);
    struct error err = {0};
    int rc = k->options->project(k->options->arg, object, value, &err);
    if (rc == 0) {
        return value;
    }
    if (rc < 0) {
        LOG_DEBUG("object left out", LOG_STR("resource", k->options->kind.plural),
                  LOG_STR("name", jpeek_cstr(object, "metadata.name")), LOG_ERR(&err));
    }
    value_free(k, value);
    return NULL;
}

static void item_set(struct item *item, struct slice uid, struct slice version, uint64_t list_id)
{
    slice_copy(uid, item->uid, sizeof(item->uid));
    slice_copy(version, item->version, sizeof(item->version));
    item->number = order_number(version);
    item->list_id = list_id;
}

static void add(struct known *k, const json_t *object, struct slice ns, struct slice name,
                struct slice uid, struct slice version)
{
    void *value = project(k, object);
    struct item *item = value == NULL ? NULL : item_new(ns, name);
    if (item == NULL) {
        value_free(k, value);
        return;
    }
    item->entry.value = value;
    item_set(item, uid, version, k->list_id);
    map_set(&k->items, slice_of(item->key, item->key_len), item);
    if (k->options->on_add != NULL) {
        k->options->on_add(k->options->arg, &item->entry);
    }
}

static void update(struct known *k, struct item *item, const json_t *object, struct slice uid,
                   struct slice version)
{
    void *value = project(k, object);
    if (value == NULL) {
        item_remove(k, item);
        return;
    }
    void *old = item->entry.value;
    item->entry.value = value;
    item_set(item, uid, version, k->list_id);
    if (k->options->on_update != NULL) {
        k->options->on_update(k->options->arg, &item->entry, old);
    }
    value_free(k, old);
}

/* From before what is known. */
static bool is_stale(struct known *k, const struct item *item, struct slice uid, uint64_t number)
{
    if (k->set_back || number == 0) {
        return false;
    }
    if (item != NULL && slice_eq_str(uid, item->uid)) {
        return number < item->number;
    }
    return order_gone_has(k->gone, uid, number) || (item != NULL && number < item->number);
}

void known_apply(struct known *k, const json_t *object)
{
    struct slice ns = jpeek_str(object, "metadata.namespace");
    struct slice name = jpeek_str(object, "metadata.name");
    struct slice uid = jpeek_str(object, "metadata.uid");
    struct slice version = jpeek_str(object, "metadata.resourceVersion");
    if (name.len == 0) {
        return;
    }
    struct item *item = item_find(k, ns, name);
    if (is_stale(k, item, uid, order_number(version))) {
        if (item != NULL) {
            item->list_id = k->list_id;
        }
        return;
    }
    if (item != NULL && !slice_eq_str(uid, item->uid)) {
        item_remove(k, item); /* made anew under its name */
        item = NULL;
    }
    if (k->stopped) {
        return;
    }
    if (item == NULL) {
        add(k, object, ns, name, uid, version);
    } else if (version.len > 0 && slice_eq_str(version, item->version)) {
        item->list_id = k->list_id;
    } else {
        update(k, item, object, uid, version);
    }
}

void known_delete(struct known *k, const json_t *object)
{
    uint64_t number = order_number(jpeek_str(object, "metadata.resourceVersion"));
    struct item *item =
        item_find(k, jpeek_str(object, "metadata.namespace"), jpeek_str(object, "metadata.name"));
    struct slice uid = jpeek_str(object, "metadata.uid");
    if (item == NULL || !slice_eq_str(uid, item->uid)) {
        order_gone_add(k->gone, uid, number);
    } else if (number == 0 || number >= item->number) {
        item->number = number;
        item_remove(k, item);
    }
}

void known_seen(struct known *k, struct slice version)
{
    uint64_t number = order_number(version);
    k->newest = number > k->newest ? number : k->newest;
}

bool known_is_past(const struct known *k, struct slice version)
{
    uint64_t number = order_number(version);
    return !k->set_back && number != 0 && number < k->newest;
}

void known_list_begin(struct known *k, bool set_back)
{
    k->list_id++;
    k->set_back = set_back;
}

/* What the list did not name is gone. */
static void sweep(struct known *k)
{
    map_foreach (it, &k->items) {
        struct item *item = it.value;
        if (item->list_id != k->list_id) {
            item->number = k->newest;
            item_remove(k, item);
        }
        if (k->stopped) {
            return;
        }
    }
}

void known_list_end(struct known *k, struct slice version)
{
    if (k->set_back) {
        k->set_back = false;
        k->newest = 0;
    }
    known_seen(k, version);
    sweep(k);
}

const struct kube_entry *known_get(const struct known *k, const char *ns, const char *name)
{
    const struct item *item = item_find(k, slice_str(ns), slice_str(name));
    return item == NULL ? NULL : &item->entry;
}

void known_each(const struct known *k, void (*fn)(void *arg, const struct kube_entry *entry),
                void *arg)
{
    map_foreach (it, &k->items) {
        const struct item *item = it.value;
        fn(arg, &item->entry);
    }
}

void known_init(struct known *k, const struct kube_cache_options *options)
{
    *k = (struct known){.options = options, .gone = NEW(struct order_gone)};
    map_init(&k->items, MAP_BORROW_KEYS);
}

void known_stop(struct known *k)
{
    k->stopped = true;
}

void known_fini(struct known *k)
{
    map_foreach (it, &k->items) {
        item_free(k, it.value);
    }
    map_fini(&k->items);
    free(k->gone);
}
