// SPDX-License-Identifier: Apache-2.0
/* Plan: a growing array per exact value, and one for all that have none. */
#include "broker/index.h"

#include "base/mem.h"

struct index_list {
    size_t n;
    size_t cap;
    struct index_entry **items;
};

static const enum event_attr_id keys[] = {EVENT_TYPE, EVENT_SOURCE, EVENT_SUBJECT};

static void push(struct index_list *list, struct index_entry *entry)
{
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 4 : list->cap * 2;
        list->items = xreallocarray(list->items, list->cap, sizeof(struct index_entry *));
    }
    list->items[list->n++] = entry;
}

static void list_free(struct index_list *list)
{
    free(list->items);
    free(list);
}

void index_init(struct index *x)
{
    *x = (struct index){.rest = NEW(struct index_list)};
    for (size_t i = 0; i < EVENT_ATTR_N; i++) {
        map_init(&x->by_value[i], MAP_COPY_KEYS);
    }
}

void index_fini(struct index *x)
{
    for (size_t i = 0; i < EVENT_ATTR_N; i++) {
        map_foreach (it, &x->by_value[i]) {
            list_free(it.value);
        }
        map_fini(&x->by_value[i]);
    }
    list_free(x->rest);
}

void index_add(struct index *x, struct index_entry *entry)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct slice value;
        if (!filter_needs(entry->filter, keys[i], &value)) {
            continue;
        }
        struct index_list *list = map_get(&x->by_value[keys[i]], value);
        if (list == NULL) {
            list = NEW(struct index_list);
            map_set(&x->by_value[keys[i]], value, list);
        }
        x->used[keys[i]] = true;
        push(list, entry);
        return;
    }
    push(x->rest, entry);
}

static void match_list(const struct index_list *list, const struct event *ev,
                       void (*found)(void *arg, struct index_entry *entry), void *arg)
{
    for (size_t i = 0; list != NULL && i < list->n; i++) {
        if (filter_match(list->items[i]->filter, ev)) {
            found(arg, list->items[i]);
        }
    }
}

void index_match(const struct index *x, const struct event *ev,
                 void (*found)(void *arg, struct index_entry *entry), void *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (x->used[keys[i]] && ev->known[keys[i]].ptr != NULL) {
            match_list(map_get(&x->by_value[keys[i]], ev->known[keys[i]]), ev, found, arg);
        }
    }
    match_list(x->rest, ev, found, arg);
}
