// SPDX-License-Identifier: Apache-2.0
/*
 * The queue. An item is idle (then it does not exist), waiting (for its turn, or until nothing else
 * is to be done), running, or delayed; "dirty" says that it was added while running. Delayed items
 * stand in a list that one timer serves; there are few of them.
 */
#include "controller/work_queue.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "loop/closer.h"
#include "loop/timer.h"

enum {
    BACKOFF_MIN_MS = 5,
    BACKOFF_MAX_MS = 5000,
    KEY_MAX = 600,
    SLICE_MS = 4, /* so long runs of what has time go on without a rest … */
    REST_MS = 4,  /* … of this length: the processor is for others then */
};

enum item_state { ITEM_WAITING, ITEM_LATER, ITEM_RUNNING, ITEM_DELAYED };

struct work_item {
    struct list link; /* in waiting, later or delayed */
    struct work_queue *q;
    enum item_state state;
    bool dirty;
    bool failed; /* the last run */
    bool waited; /* it runs because its time has come */
    uint64_t due_ms;
    struct backoff backoff;
    struct work_key key;
    size_t len;
    char text[]; /* kind, ns NUL name NUL */
};

struct work_queue {
    struct loop *loop;
    struct map items;
    struct list waiting;
    struct list later;
    struct list delayed;
    struct loop_task task;
    struct timer timer;
    struct timer rest;
    uint64_t soonest_ms; /* when the timer goes off; UINT64_MAX: it does not run */
    struct closer closer;
    size_t n_waiting; /* in waiting and later */
    size_t n_running;
    unsigned max_running;
    bool open;
    bool closing;
    work_run_cb run;
    void *arg;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void on_task(struct loop_task *task);
static void on_timer(struct timer *timer);
static void on_rested(struct timer *timer);

static size_t key_text(char out[static KEY_MAX], enum kind_id kind, const char *ns,
                       const char *name)
{
    int len = snprintf(out, KEY_MAX, "%c%s%c%s", 'A' + (int)kind, ns, '\0', name);
    return len > 0 && len < KEY_MAX ? (size_t)len : 0;
}

struct work_queue *work_queue_new(struct loop *loop, unsigned max_running, work_run_cb run,
                                  void *arg)
{
    struct work_queue *q = NEW(struct work_queue);
    q->loop = loop;
    q->max_running = max_running;
    q->soonest_ms = UINT64_MAX;
    q->run = run;
    q->arg = arg;
    map_init(&q->items, MAP_BORROW_KEYS);
    list_init(&q->waiting);
    list_init(&q->later);
    list_init(&q->delayed);
    closer_init(&q->closer);
    closer_hold(&q->closer); /* the timers */
    closer_hold(&q->closer);
    loop_task_init(&q->task, on_task, q);
    timer_init(&q->timer, loop, on_timer, q);
    timer_init(&q->rest, loop, on_rested, q);
    return q;
}

static void item_wait(struct work_item *item, enum item_state state)
{
    struct work_queue *q = item->q;
    if (list_linked(&item->link)) {
        list_remove(&item->link);
        q->n_waiting -= item->state == ITEM_LATER;
    }
    item->state = state;
    list_push_back(state == ITEM_LATER ? &q->later : &q->waiting, &item->link);
    q->n_waiting++;
    if (q->open) {
        loop_task_post(q->loop, &q->task);
    }
}

/* The timer goes off at the soonest due time, or earlier (an item that left is not searched for).
 */
static void timer_arm(struct work_queue *q, uint64_t due_ms)
{
    uint64_t now_ms = loop_now_ms(q->loop);
    q->soonest_ms = due_ms;
    timer_start(&q->timer, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void item_delay(struct work_item *item, uint64_t delay_ms)
{
    struct work_queue *q = item->q;
    item->state = ITEM_DELAYED;
    item->due_ms = loop_now_ms(q->loop) + delay_ms;
    list_push_back(&q->delayed, &item->link);
    if (item->due_ms < q->soonest_ms) {
        timer_arm(q, item->due_ms);
    }
}

static void item_free(struct work_item *item)
{
    map_remove(&item->q->items, slice_of(item->text, item->len));
    list_remove(&item->link);
    free(item);
}

void work_queue_open(struct work_queue *q)
{
    q->open = true;
    loop_task_post(q->loop, &q->task);
}

void work_queue_hold(struct work_queue *q)
{
    q->open = false;
}

static void add(struct work_queue *q, enum kind_id kind, const char *ns, const char *name,
                enum item_state state)
{
    char text[KEY_MAX];
    size_t len = key_text(text, kind, ns, name);
    if (q->closing || len == 0) {
        return;
    }
    struct work_item *item = map_get(&q->items, slice_of(text, len));
    if (item == NULL) {
        item = xcalloc(1, sizeof(*item) + len + 1);
        item->q = q;
        item->len = len;
        memcpy(item->text, text, len + 1);
        item->key = (struct work_key){kind, item->text + 1, item->text + 2 + strlen(ns)};
        list_init(&item->link);
        backoff_init(&item->backoff, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
        map_set(&q->items, slice_of(item->text, item->len), item);
        item_wait(item, state);
    } else if (item->state == ITEM_RUNNING) {
        item->dirty = true;
    } else if ((item->state == ITEM_DELAYED && !item->failed) ||
               (item->state == ITEM_LATER && state == ITEM_WAITING)) {
        item_wait(item, state); /* news; what waits for its back-off goes on waiting for it */
    }
}

void work_queue_add(struct work_queue *q, enum kind_id kind, const char *ns, const char *name)
{
    add(q, kind, ns, name, ITEM_WAITING);
}

void work_queue_add_later(struct work_queue *q, enum kind_id kind, const char *ns, const char *name)
{
    add(q, kind, ns, name, ITEM_LATER);
}

static bool may_run(const struct work_queue *q)
{
    return q->open && !q->closing && q->n_running < q->max_running;
}

static void run_first(struct work_queue *q, struct list *list)
{
    struct work_item *item = LIST_ENTRY(list_pop_front(list), struct work_item, link);
    q->n_waiting--;
    q->n_running++;
    closer_hold(&q->closer);
    item->state = ITEM_RUNNING;
    item->dirty = false;
    q->run(q->arg, item->key, item);
}

/* Goes on with what has time until the slice is over or news come; these can come from a run. */
static void run_later(struct work_queue *q)
{
    uint64_t end_ms = clock_mono_ms() + SLICE_MS;
    while (may_run(q) && list_empty(&q->waiting) && !list_empty(&q->later)) {
        if (clock_mono_ms() >= end_ms) {
            timer_start(&q->rest, REST_MS);
            return;
        }
        run_first(q, &q->later);
    }
}

static void on_task(struct loop_task *task)
{
    struct work_queue *q = task->data;
    closer_hold(&q->closer);
    while (may_run(q) && !list_empty(&q->waiting)) {
        run_first(q, &q->waiting);
    }
    if (!timer_active(&q->rest)) {
        run_later(q);
    }
    closer_drop(&q->closer);
}

static void on_rested(struct timer *timer)
{
    struct work_queue *q = timer->data;
    loop_task_post(q->loop, &q->task);
}

static void on_timer(struct timer *timer)
{
    struct work_queue *q = timer->data;
    uint64_t now_ms = loop_now_ms(q->loop);
    uint64_t soonest = UINT64_MAX;
    list_foreach_safe (node, &q->delayed) {
        struct work_item *item = LIST_ENTRY(node, struct work_item, link);
        if (item->due_ms <= now_ms) {
            item->waited = !item->failed;
            item_wait(item, ITEM_WAITING);
        } else if (item->due_ms < soonest) {
            soonest = item->due_ms;
        }
    }
    q->soonest_ms = UINT64_MAX;
    if (soonest != UINT64_MAX) {
        timer_arm(q, soonest);
    }
}

void work_queue_done(struct work_item *item, bool failed, uint64_t again_ms)
{
    struct work_queue *q = item->q;
    q->n_running--;
    item->failed = failed;
    item->waited = false;
    if (!failed) {
        backoff_reset(&item->backoff);
    }
    if (q->closing) {
        item_free(item);
    } else if (failed) {
        item_delay(item, backoff_next_ms(&item->backoff));
    } else if (item->dirty) {
        item_wait(item, ITEM_WAITING);
    } else if (again_ms > 0) {
        item_delay(item, again_ms);
    } else {
        item_free(item);
    }
    if (!q->closing && q->n_waiting > 0) {
        loop_task_post(q->loop, &q->task);
    }
    closer_drop(&q->closer);
}

void work_queue_retry(struct work_queue *q)
{
    list_foreach_safe (node, &q->delayed) {
        struct work_item *item = LIST_ENTRY(node, struct work_item, link);
        if (item->failed) {
            backoff_reset(&item->backoff);
            item_wait(item, ITEM_WAITING);
        }
    }
}

bool work_item_waited(const struct work_item *token)
{
    return token->waited;
}

size_t work_queue_waiting(const struct work_queue *q)
{
    return q->n_waiting;
}

size_t work_queue_running(const struct work_queue *q)
{
    return q->n_running;
}

static void on_closed(void *data)
{
    struct work_queue *q = data;
    void (*cb)(void *) = q->close_cb;
    void *arg = q->close_arg;
    map_foreach (it, &q->items) {
        free(it.value);
    }
    map_fini(&q->items);
    free(q);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_timer_closed(struct timer *timer)
{
    struct work_queue *q = timer->data;
    closer_drop(&q->closer);
}

void work_queue_close(struct work_queue *q, void (*cb)(void *arg), void *arg)
{
    if (q->closing) {
        return;
    }
    q->closing = true;
    q->close_cb = cb;
    q->close_arg = arg;
    loop_task_cancel(&q->task);
    closer_close(&q->closer, q->loop, on_closed, q);
    timer_close(&q->timer, on_timer_closed);
    timer_close(&q->rest, on_timer_closed);
}
