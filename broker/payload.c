// SPDX-License-Identifier: Apache-2.0
/* Plan: a count per payload; at zero it goes to the end of the idle list, whose oldest go first. */
#include "broker/payload.h"

#include "base/mem.h"

void payloads_init(struct payloads *all, size_t idle_max)
{
    *all = (struct payloads){.idle_max = idle_max};
    list_init(&all->idle);
}

void payload_set_init(struct payload_set *set, struct payloads *all)
{
    set->all = all;
    map_init(&set->by_id, MAP_BORROW_KEYS);
}

static void drop(struct payload *p)
{
    if (!p->unknown) {
        map_remove(&p->set->by_id, slice_str(p->id));
    }
    if (list_linked(&p->link)) {
        list_remove(&p->link);
        p->set->all->idle_bytes -= p->bytes;
    }
    event_fini(&p->event);
    free(p);
}

void payload_set_fini(struct payload_set *set)
{
    map_foreach (it, &set->by_id) {
        struct payload *p = it.value;
        REQUIRE(p->refs == 0);
        drop(p);
    }
    map_fini(&set->by_id);
}

void payload_set_forget(struct payload_set *set)
{
    list_foreach_safe (node, &set->all->idle) {
        struct payload *p = LIST_ENTRY(node, struct payload, link);
        if (p->set == set) {
            drop(p);
        }
    }
    map_foreach (it, &set->by_id) {
        ((struct payload *)it.value)->unknown = true;
    }
    map_clear(&set->by_id);
}

static struct payload *take(struct payload *p)
{
    if (p->refs++ == 0) {
        if (list_linked(&p->link)) {
            list_remove(&p->link);
            p->set->all->idle_bytes -= p->bytes;
        }
        p->set->all->used_bytes += p->bytes;
    }
    return p;
}

struct payload *payload_use(struct payload_set *set, struct slice id)
{
    struct payload *p = map_get(&set->by_id, id);
    return p == NULL ? NULL : take(p);
}

int payload_put(struct payload_set *set, struct slice id, struct slice packed, struct slice data,
                struct payload **out, struct error *err)
{
    *out = payload_use(set, id);
    if (*out != NULL) {
        return 0;
    }
    size_t bytes = sizeof(struct payload) + packed.len + data.len;
    struct payload *p = xmalloc(bytes);
    *p = (struct payload){.set = set, .bytes = bytes};
    list_init(&p->link);
    memcpy(p->text, packed.ptr, packed.len);
    struct slice own_data = {0};
    if (data.ptr != NULL) {
        own_data = slice_of(p->text + packed.len, data.len);
        memcpy(p->text + packed.len, data.ptr, data.len);
    }
    int rc = slice_copy(id, p->id, sizeof(p->id))
                 ? event_unpack(slice_of(p->text, packed.len), own_data, &p->event, err)
                 : error_set(err, ERR_INVALID, "an id of %zu bytes", id.len);
    if (rc < 0) {
        free(p);
        return rc;
    }
    map_set(&set->by_id, slice_str(p->id), p);
    *out = take(p);
    return 0;
}

void payload_let_go(struct payload *p, bool keep)
{
    if (p == NULL || --p->refs > 0) {
        return;
    }
    struct payloads *all = p->set->all;
    all->used_bytes -= p->bytes;
    if (!keep || p->unknown) {
        drop(p);
        return;
    }
    list_push_back(&all->idle, &p->link);
    all->idle_bytes += p->bytes;
    while (all->idle_bytes > all->idle_max) {
        drop(LIST_ENTRY(list_first(&all->idle), struct payload, link));
    }
}
