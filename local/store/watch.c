// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: every visible change goes into one ring. A watch is a position in that ring: dispatch walks
 * each watch from its position to the end and calls back for what matches. A watch that pauses
 * keeps its position and costs nothing; when the ring has moved past it, it gets GONE. So there is
 * no queue per watch, and nothing is copied.
 */

#include <stdlib.h>

#include "base/mem.h"
#include "local/store/state.h"

struct store_watch {
    struct list link;
    struct store *store;
    struct room *room;
    char *ns; /* NULL: all */
    struct selector selector;
    uint64_t position; /* sequence number of the next change to look at */
    uint64_t version;
    enum store_patience patience;
    bool paused;
    bool gone;
    bool closed;
    store_watch_cb cb;
    void *arg;
};

/* --- history ------------------------------------------------------------------------------- */

void history_init(struct history *h, uint32_t max, size_t bytes_max, uint64_t version)
{
    *h = (struct history){.max = max, .bytes_max = bytes_max, .floor_version = version};
    h->ring = xcalloc(max, sizeof(*h->ring));
}

struct change *history_at(const struct history *h, uint64_t sequence)
{
    return &h->ring[sequence % h->max];
}

static size_t change_bytes(const struct change *c)
{
    return object_json_len(c->after != NULL ? c->after : c->before);
}

static void forget_first(struct history *h)
{
    struct change *c = history_at(h, h->first);
    h->bytes -= change_bytes(c);
    h->floor_version = c->version;
    object_unref(c->before);
    object_unref(c->after);
    *c = (struct change){0};
    h->first++;
}

void history_fini(struct history *h)
{
    while (h->first < h->next) {
        forget_first(h);
    }
    free(h->ring);
    *h = (struct history){0};
}

void history_push(struct store *s, struct room *room, uint64_t version, struct object *before,
                  struct object *after)
{
    struct history *h = &s->history;
    while (h->next - h->first >= h->max || (h->bytes > h->bytes_max && h->first < h->next)) {
        forget_first(h);
    }
    struct change *c = history_at(h, h->next++);
    c->version = version;
    c->room = room;
    c->before = before == NULL ? NULL : object_ref(before);
    c->after = after == NULL ? NULL : object_ref(after);
    h->bytes += change_bytes(c);
}

uint64_t history_first_newer(const struct history *h, uint64_t from)
{
    uint64_t low = h->first, high = h->next;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (history_at(h, mid)->version <= from) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* --- dispatch ------------------------------------------------------------------------------ */

static bool matches(const struct store_watch *w, const struct object *o)
{
    return o != NULL && selector_match(&w->selector, o);
}

/* Whether the change is an event for this watch. */
static bool make_event(const struct store_watch *w, const struct change *c, struct store_event *out)
{
    struct object *any = c->after != NULL ? c->after : c->before;
    if (c->room != w->room || (w->ns != NULL && !slice_eq_str(slice_str(any->ns), w->ns))) {
        return false;
    }
    bool before = matches(w, c->before);
    bool after = matches(w, c->after);
    if (!before && !after) {
        return false;
    }
    out->version = c->version;
    out->object = after ? c->after : c->before;
    out->type = !after ? STORE_DELETED : before ? STORE_MODIFIED : STORE_ADDED;
    return true;
}

static void give_gone(struct store_watch *w)
{
    w->gone = true;
    (void)w->cb(&(struct store_event){.type = STORE_GONE, .version = w->store->version}, w->arg);
}

static void run_watch(struct store *s, struct store_watch *w)
{
    struct history *h = &s->history;
    while (!w->closed && !w->gone && !w->paused && w->patience < s->held) {
        if (w->position < h->first) {
            give_gone(w);
            return;
        }
        if (w->position == h->next) {
            w->version = s->version;
            return;
        }
        const struct change c = *history_at(h, w->position++);
        struct store_event e = {0};
        bool is_event = make_event(w, &c, &e);
        w->version = c.version;
        if (is_event) {
            struct object *held = object_ref(e.object); /* the ring may move on meanwhile */
            bool more = w->cb(&e, w->arg);
            object_unref(held);
            w->paused = w->paused || !more;
        }
    }
}

static void free_watch(struct store_watch *w)
{
    selector_fini(&w->selector);
    free(w->ns);
    free(w);
}

void watch_dispatch(struct store *s)
{
    if (s->dispatching) {
        loop_task_post(s->loop, &s->dispatch_task);
        return;
    }
    s->dispatching = true;
    struct list todo;
    list_init(&todo);
    list_splice_back(&todo, &s->watches);
    for (struct list *node = list_pop_front(&todo); node != NULL; node = list_pop_front(&todo)) {
        list_push_back(&s->watches, node);
        run_watch(s, LIST_ENTRY(node, struct store_watch, link));
    }
    s->dispatching = false;
    for (struct list *node = list_pop_front(&s->dead_watches); node != NULL;
         node = list_pop_front(&s->dead_watches)) {
        free_watch(LIST_ENTRY(node, struct store_watch, link));
    }
}

/* --- watches ------------------------------------------------------------------------------- */

int store_watch_start(struct store *s, const struct store_selector *sel, uint64_t from,
                      store_watch_cb cb, void *arg, struct store_watch **out, struct error *err)
{
    struct room *room = room_find(s, sel->resource);
    if (room == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no kind \"%s\"", sel->resource);
    }
    if (s->closing) {
        return error_set(err, ERR_CLOSED, "the store is closing");
    }
    if (from < s->history.floor_version || from > s->version) {
        return error_set(err, ERR_GONE, "too old resource version: %llu (%llu)",
                         (unsigned long long)from, (unsigned long long)s->history.floor_version);
    }
    struct store_watch *w = NEW(struct store_watch);
    int rc = selector_init(&w->selector, room->kind, sel->labels, sel->fields, err);
    if (rc < 0) {
        free(w);
        return rc;
    }
    w->store = s;
    w->room = room;
    w->ns =
        room->kind->namespaced && sel->ns != NULL && sel->ns[0] != '\0' ? xstrdup(sel->ns) : NULL;
    w->position = history_first_newer(&s->history, from);
    w->version = from;
    w->cb = cb;
    w->arg = arg;
    list_push_back(&s->watches, &w->link);
    loop_task_post(s->loop, &s->dispatch_task);
    *out = w;
    return 0;
}

void store_watch_set_patience(struct store_watch *w, enum store_patience patience)
{
    w->patience = patience;
}

void watch_on_hold_timer(struct timer *timer)
{
    struct store *s = timer->data;
    s->held = STORE_HOLD_NONE;
    watch_dispatch(s);
}

void store_hold(struct store *s, enum store_patience least, uint64_t ms)
{
    uint64_t now_ms = loop_now_ms(s->loop);
    if (s->closing) {
        return;
    }
    if (s->held == STORE_HOLD_NONE) {
        s->held_since_ms = now_ms;
    }
    uint64_t past = now_ms - s->held_since_ms;
    uint64_t left = past < STORE_HOLD_MAX_MS ? STORE_HOLD_MAX_MS - past : 0;
    if (left == 0 || ms == 0) {
        least = STORE_HOLD_NONE;
    }
    bool fewer = least > s->held;
    s->held = least;
    if (least == STORE_HOLD_NONE) {
        timer_stop(&s->hold_timer);
    } else {
        timer_start(&s->hold_timer, ms < left ? ms : left);
    }
    if (fewer) {
        loop_task_post(s->loop, &s->dispatch_task);
    }
}

void store_watch_pause(struct store_watch *w)
{
    w->paused = true;
}

void store_watch_resume(struct store_watch *w)
{
    if (w->paused && !w->closed) {
        w->paused = false;
        loop_task_post(w->store->loop, &w->store->dispatch_task);
    }
}

uint64_t store_watch_version(const struct store_watch *w)
{
    return w->version;
}

void store_watch_close(struct store_watch *w)
{
    if (w == NULL || w->closed) {
        return;
    }
    w->closed = true;
    list_remove(&w->link);
    if (w->store->dispatching) {
        list_push_back(&w->store->dead_watches, &w->link);
    } else {
        free_watch(w);
    }
}

void watch_close_all(struct store *s)
{
    /* The owners still hold their pointers and close them: only silence them here. */
    list_foreach (node, &s->watches) {
        LIST_ENTRY(node, struct store_watch, link)->gone = true;
    }
}
