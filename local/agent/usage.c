// SPDX-License-Identifier: Apache-2.0
//
// What replicas use. Happy path: somebody asks; a pool thread walks /proc once for all replicas;
// against the look before, each Pod gets its rate. Nobody has asked for a while: the rate would be
// that of the long time between, so a second look follows a second later.
// Failure modes:
//   the function was started again -> its average since then
//   no look before this one        -> as well
//   a child took its times along   -> never below zero
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "local/agent/node.h"
#include "local/agent/processes.h"

#define STALE_MS      60000
#define PAIR_MS       1000
#define WINDOW_MIN_NS 100000000 // shorter ones say nothing: /proc counts in hundredths of a second
#define NS_PER_S      1000000000

struct waiter {
    struct list link;
    void (*cb)(void *arg);
    void *arg;
};

struct look {
    struct work work;
    struct agent *agent;
    struct process_group *groups;
    size_t count;
    uint64_t at_ns;
};

static void look_start(struct agent *a);

static void deliver(struct agent *a)
{
    struct list *node;
    size_t count = 0;

    a->usage.busy = false;
    a->usage.paired = false;
    list_foreach (each, &a->usage.waiters) {
        count++;
    }
    // One that asks again waits for the next; one that is forgotten meanwhile is not told.
    while (count-- > 0 && (node = list_pop_front(&a->usage.waiters)) != NULL) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        void (*cb)(void *) = w->cb;
        void *arg = w->arg;
        free(w);
        cb(arg);
    }
}

// ---- one look

static int by_pgid(const void *a, const void *b)
{
    const struct process_group *x = a, *y = b;
    return (x->pgid > y->pgid) - (x->pgid < y->pgid);
}

static void look_run(struct work *work)
{
    struct look *l = work->data;

    qsort(l->groups, l->count, sizeof *l->groups, by_pgid);
    processes_read("/proc", l->groups, l->count);
    l->at_ns = clock_mono_ns();
}

static const struct process_group *group_of(const struct look *l, int pid)
{
    return pid > 0 && l->count > 0 ? bsearch(&(struct process_group){.pgid = pid}, l->groups,
                                             l->count, sizeof *l->groups, by_pgid)
                                   : NULL;
}

// The rate of a part against the look before, or since its process began.
static int64_t rate_of(const struct pod_usage *u, int part, int pid,
                       const struct process_group *group, int64_t since_ns, int64_t *out_window_ns)
{
    int64_t used = group->cpu_ns;
    int64_t window = group->age_ns;

    if (u->pids[part] == pid && since_ns < group->age_ns) {
        used -= u->cpu_ns[part];
        window = since_ns;
    }
    window = window < WINDOW_MIN_NS ? WINDOW_MIN_NS : window;
    *out_window_ns = window > *out_window_ns ? window : *out_window_ns;
    return used <= 0 ? 0 : (int64_t)((double)used / (double)window * NS_PER_S);
}

static void pod_measure(struct pod *p, const struct look *l, int64_t wall_ns)
{
    struct pod_usage *u = &p->usage;
    const int pids[USAGE_PARTS] = {
        [USAGE_FUNCTION] = p->state.pid, [USAGE_PROXY] = p->state.proxy_pid};
    int64_t since_ns = u->at_ns > 0 ? (int64_t)(l->at_ns - u->at_ns) : INT64_MAX;

    if (since_ns < WINDOW_MIN_NS) {
        return;
    }
    struct pod_usage next = {.at_ns = l->at_ns};
    for (int i = 0; i < USAGE_PARTS; i++) {
        const struct process_group *group = group_of(l, pids[i]);
        if (!group || group->processes == 0) {
            continue;
        }
        next.pids[i] = pids[i];
        next.cpu_ns[i] = group->cpu_ns;
        next.now.at_ns = wall_ns;
        next.now.parts[i].known = true;
        next.now.parts[i].memory_bytes = group->memory_bytes;
        next.now.parts[i].cpu_nano = rate_of(u, i, pids[i], group, since_ns, &next.now.window_ns);
    }
    *u = next;
}

static void look_done(struct work *work, int status)
{
    struct look *l = work->data;
    struct agent *a = l->agent;
    uint64_t before_ms = a->usage.at_ms, now_ms = loop_now_ms(a->loop);

    if (status == 0) {
        int64_t wall_ns = clock_wall_ns();
        map_foreach (it, &a->pods) {
            pod_measure(it.value, l, wall_ns);
        }
        a->usage.at_ms = now_ms;
    }
    free(l->groups);
    free(l);
    bool stale = before_ms == 0 || now_ms - before_ms > STALE_MS;
    if (stale && !a->usage.paired && status == 0 && !a->closer.closing) {
        a->usage.paired = true;
        timer_start(&a->usage.timer, PAIR_MS);
    } else {
        deliver(a);
    }
    closer_drop(&a->closer);
}

static void look_start(struct agent *a)
{
    struct look *l = NEW(struct look);
    struct error err;

    l->agent = a;
    l->groups = xcalloc(map_len(&a->pods) * USAGE_PARTS + 1, sizeof *l->groups);
    map_foreach (it, &a->pods) {
        const struct pod *p = it.value;
        if (p->state.pid > 0) {
            l->groups[l->count++].pgid = p->state.pid;
        }
        if (p->state.proxy_pid > 0) {
            l->groups[l->count++].pgid = p->state.proxy_pid;
        }
    }
    closer_hold(&a->closer);
    if (work_start(&l->work, a->loop, look_run, look_done, l, &err) < 0) {
        free(l->groups); // those that wait get what is known, on the next turn
        free(l);
        a->usage.paired = false;
        timer_start(&a->usage.timer, 0);
        closer_drop(&a->closer);
    }
}

// The second half of a look, or what was asked for is at hand.
void usage_on_timer(struct timer *timer)
{
    struct agent *a = timer->data;

    if (a->usage.paired) {
        look_start(a);
    } else {
        deliver(a);
    }
}

// ---- for others

static bool usage_ask(void *self, uint64_t max_age_ms, void (*cb)(void *arg), void *arg)
{
    struct agent *a = self;
    uint64_t now_ms = loop_now_ms(a->loop);

    if (a->closer.closing) {
        return false;
    }
    struct waiter *w = NEW(struct waiter);
    *w = (struct waiter){.cb = cb, .arg = arg};
    list_push_back(&a->usage.waiters, &w->link);
    if (a->usage.busy) {
        return true;
    }
    a->usage.busy = true;
    if (a->usage.at_ms > 0 && now_ms - a->usage.at_ms <= max_age_ms) {
        timer_start(&a->usage.timer, 0);
    } else {
        look_start(a);
    }
    return true;
}

static void usage_forget(void *self, void *arg)
{
    struct agent *a = self;

    list_foreach_safe (node, &a->usage.waiters) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        if (w->arg == arg) {
            list_remove(&w->link);
            free(w);
        }
    }
}

static bool usage_get(void *self, const char *ns, const char *pod, struct usage *out)
{
    struct agent *a = self;
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", ns, pod);
    const struct pod *p = map_get(&a->pods, slice_str(key));

    if (!p || p->usage.now.at_ns == 0 || p->phase != POD_UP) {
        return false;
    }
    *out = p->usage.now;
    return true;
}

void usage_init(struct agent *a)
{
    list_init(&a->usage.waiters);
    a->usage.provider = (struct usage_provider){usage_ask, usage_forget, usage_get, a};
}

void usage_close(struct agent *a)
{
    timer_stop(&a->usage.timer);
    deliver(a);
}

const struct usage_provider *agent_usage(struct agent *a)
{
    return &a->usage.provider;
}
