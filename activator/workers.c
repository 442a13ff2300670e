// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: bind → control link → admin → workers → all ready: READY=1. A slot has a number, its two
 * sockets and at most one present process; a process that drains leaves its slot at once and is
 * only waited for.
 *
 * Failure modes: a worker that fails before all were ready once ends us with its status (a setting
 * is wrong); later it is started again after a wait that grows to RESTART_MAX_MS. A worker that
 * does not end is killed some seconds after its drain time.
 */
#include "activator/workers.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/notify.h"
#include "activator/instance.h"
#include "activator/ports.h"

#define RESTART_MIN_MS 20
#define RESTART_MAX_MS 2000
#define LIVED_WELL_MS  10000 /* then the wait begins anew */
#define KILL_AFTER_MS  5000  /* beyond the drain time */

static void maybe_close(struct workers *w);
static void start_worker(struct worker_slot *slot);

/* --- processes ------------------------------------------------------------------------------ */

static void process_free(struct worker_process *p)
{
    struct workers *w = p->workers;
    metric_merge_add(&w->retired, strbuf_slice(&p->page), METRIC_MERGE_TOTALS);
    list_remove(&p->link);
    strbuf_fini(&p->page);
    free(p);
    closer_drop(&w->closer);
    maybe_close(w);
}

/* Its process has ended, and all that it had sent was read. */
static void free_if_over(struct worker_process *p)
{
    if (p->closed && p->peer == NULL) {
        process_free(p);
    }
}

static void on_process_closed(struct process *process)
{
    struct worker_process *p = process->data;
    p->closed = true;
    free_if_over(p);
}

static void fail_start(struct workers *w)
{
    w->exit_status = EXIT_FAILURE;
    if (!w->stopping) {
        LOG_ERROR("a worker ended at its start");
        workers_stop(w);
    }
}

static void on_process_exit(struct process *process, int exit_status, int signum)
{
    struct worker_process *p = process->data;
    struct workers *w = p->workers;
    struct worker_slot *slot = &w->slots[p->index];
    bool present = slot->current == p;
    p->exited = true;
    if (present) {
        slot->current = NULL;
        workers_admin_gone(p);
    }
    if (present && !w->stopping) {
        LOG_WARN("a worker ended", LOG_UINT("worker", p->index), LOG_INT("status", exit_status),
                 LOG_INT("signal", signum));
    }
    if (present && !w->announced) {
        fail_start(w);
    } else if (present && !w->stopping) {
        if (loop_now_ms(w->loop) - p->started_ms > LIVED_WELL_MS) {
            backoff_reset(&slot->backoff);
        }
        w->restarts++;
        timer_start(&slot->restart, backoff_next_ms(&slot->backoff));
    }
    process_close(process, on_process_closed);
}

/* Our environment without what is ours alone, and with its identity. The caller frees both. */
static char **worker_environment(const struct worker_id *id, int life_fd, char **out_own)
{
    size_t n = 0;
    while (environ[n] != NULL) {
        n++;
    }
    char **env = xcalloc(n + 3, sizeof(*env));
    CLEANUP(cleanup_free) char *text = worker_id_text(id);
    *out_own = xasprintf(WORKER_ENV "=%s", text);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        struct slice entry = slice_str(environ[i]);
        if (!slice_starts_with(entry, SLICE_LIT(NOTIFY_ENV "=")) &&
            !slice_starts_with(entry, SLICE_LIT(LIFELINE_ENV "=")) &&
            !slice_starts_with(entry, SLICE_LIT(WORKER_ENV "="))) {
            env[at++] = environ[i];
        }
    }
    env[at++] = *out_own;
    if (life_fd >= 0) {
        env[at++] = (char *)(uintptr_t)LIFELINE_ENV "=5"; /* WORKER_FD_LIFE */
    }
    return env;
}

static int spawn(struct worker_process *p, struct error *err)
{
    struct workers *w = p->workers;
    struct worker_id id = w->id;
    id.index = p->index;
    id.generation = p->generation;
    CLEANUP(cleanup_free) char *own = NULL;
    CLEANUP(cleanup_free) char **env = worker_environment(&id, w->lifeline.fd, &own);
    const int fds[] = {-1,
                       STDOUT_FILENO,
                       STDERR_FILENO,
                       w->fds[PORT_PUBLIC][p->index],
                       w->fds[PORT_LOCAL][p->index],
                       w->lifeline.fd,
                       w->fds[PORT_TLS][p->index]};
    struct process_options o = {.file = "/proc/self/exe",
                                .argv = w->argv,
                                .env = env,
                                .fds = fds,
                                .fd_count = ARRAY_LEN(fds)};
    return process_start(&p->process, w->loop, &o, on_process_exit, p, err);
}

static void start_worker(struct worker_slot *slot)
{
    struct workers *w = slot->workers;
    struct worker_process *p = NEW(struct worker_process);
    struct error err;
    p->workers = w;
    p->index = slot->index;
    p->generation = ++slot->generation;
    p->started_ms = loop_now_ms(w->loop);
    strbuf_init(&p->page, ADMIN_PAGE_MAX);
    list_init(&p->link);
    list_push_back(&w->processes, &p->link);
    closer_hold(&w->closer);
    if (spawn(p, &err) == 0) {
        slot->current = p;
        return;
    }
    LOG_ERROR("cannot start a worker", LOG_UINT("worker", p->index), LOG_ERR(&err));
    p->exited = true;
    process_close(&p->process, on_process_closed);
    if (!w->announced) {
        fail_start(w);
    } else {
        timer_start(&slot->restart, backoff_next_ms(&slot->backoff));
    }
}

static void on_restart(struct timer *timer)
{
    struct worker_slot *slot = timer->data;
    if (!slot->workers->stopping && slot->current == NULL) {
        start_worker(slot);
    }
}

static void signal_all(struct workers *w, int signum)
{
    list_foreach (node, &w->processes) {
        struct worker_process *p = LIST_ENTRY(node, struct worker_process, link);
        struct error err;
        if (!p->exited && process_kill(&p->process, signum, false, &err) < 0) {
            LOG_DEBUG("a worker was not told", LOG_ERR(&err));
        }
    }
}

/* --- control link --------------------------------------------------------------------------- */

static void announce(struct workers *w)
{
    struct error err;
    for (unsigned i = 0; i < w->count; i++) {
        if (w->slots[i].current == NULL || w->slots[i].current->state != WORKER_READY) {
            return;
        }
    }
    w->announced = true;
    LOG_INFO("ready", LOG_UINT("public_port", ports_number(w->fds[0][0])),
             LOG_UINT("local_port", ports_number(w->fds[1][0])),
             LOG_UINT("tls_port", ports_number(w->fds[PORT_TLS][0])),
             LOG_UINT("workers", w->count));
    if (notify_send(NOTIFY_READY, &err) < 0) {
        LOG_WARN("cannot say that we are ready", LOG_ERR(&err));
    }
}

static void on_state(struct worker_process *p, enum worker_state state)
{
    struct workers *w = p->workers;
    struct worker_slot *slot = &w->slots[p->index];
    p->state = state;
    if (slot->current != p || w->stopping) {
        return;
    }
    if (state == WORKER_DRAINING) {
        LOG_INFO("a worker drains; another one takes its place", LOG_UINT("worker", p->index));
        slot->current = NULL;
        start_worker(slot);
    } else if (state == WORKER_READY && !w->announced) {
        announce(w);
    }
}

static uint32_t read_u32(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void on_hello(struct workers *w, struct link_peer *peer, struct slice payload)
{
    uint32_t index = read_u32(payload.ptr);
    uint32_t generation = read_u32(payload.ptr + 4);
    list_foreach (node, &w->processes) {
        struct worker_process *p = LIST_ENTRY(node, struct worker_process, link);
        if (p->index == index && p->generation == generation && p->peer == NULL && !p->closed) {
            p->peer = peer;
            link_peer_set_data(peer, p);
            return;
        }
    }
    link_peer_close(peer);
}

static void on_peer_up(struct link_peer *peer, void *data)
{
    link_peer_set_data(peer, NULL);
}

static void on_peer_frame(struct link_peer *peer, uint8_t type, struct slice payload, void *data)
{
    struct worker_process *p = link_peer_data(peer);
    if (type == WORKER_HELLO && p == NULL && payload.len == 8) {
        on_hello(data, peer, payload);
    } else if (p == NULL) {
        link_peer_close(peer);
    } else if (type == WORKER_STATE && payload.len == 1) {
        on_state(p, (enum worker_state)payload.ptr[0]);
    } else if (type == WORKER_PAGE && payload.len >= WORKER_PAGE_HEAD) {
        workers_admin_page(p, payload);
    }
}

static void on_peer_down(struct link_peer *peer, const struct error *why, void *data)
{
    struct worker_process *p = link_peer_data(peer);
    if (p != NULL) {
        p->peer = NULL;
        workers_admin_gone(p);
        free_if_over(p);
    }
}

static int start_control(struct workers *w, struct error *err)
{
    static const struct link_server_events events = {
        .on_up = on_peer_up, .on_frame = on_peer_frame, .on_down = on_peer_down};
    CLEANUP(cleanup_free) char *address = worker_control_address(w->id.base);
    struct link_server_options o = {.max_peers = 2 * WORKERS_MAX, .events = &events, .data = w};
    int rc = addr_parse(slice_str(address), &o.addr, err);
    rc = rc < 0 ? rc : link_server_start(w->loop, &o, &w->control, err);
    if (rc == 0) {
        closer_hold(&w->closer);
    }
    return rc < 0 ? error_prefix(err, rc, "socket for the workers") : 0;
}

/* --- end ------------------------------------------------------------------------------------ */

static void drop(void *arg)
{
    closer_drop(arg);
}

static void on_timer_closed(struct timer *timer)
{
    struct workers *w = timer->data;
    closer_drop(&w->closer);
}

static void on_slot_timer_closed(struct timer *timer)
{
    struct worker_slot *slot = timer->data;
    closer_drop(&slot->workers->closer);
}

static void on_signals_closed(struct signals *s)
{
    struct workers *w = s->data;
    closer_drop(&w->closer);
}

static void on_lifeline_closed(struct lifeline *l)
{
    struct workers *w = l->data;
    closer_drop(&w->closer);
}

static void on_all_closed(void *arg)
{
    struct workers *w = arg;
    metric_merge_fini(&w->retired);
    worker_id_fini(&w->id);
    free(w->slots);
    for (int i = 0; i < PORT_COUNT; i++) {
        free(w->fds[i]);
    }
    LOG_INFO("stopped");
}

/* The last process is gone: everything else may go. */
static void maybe_close(struct workers *w)
{
    if (!w->stopping || w->closing || !list_empty(&w->processes)) {
        return;
    }
    w->closing = true;
    timer_close(&w->kill_timer, on_timer_closed);
    signals_close(&w->signals, on_signals_closed);
    lifeline_close(&w->lifeline, on_lifeline_closed);
    for (unsigned i = 0; i < w->count; i++) {
        timer_close(&w->slots[i].restart, on_slot_timer_closed);
    }
    workers_admin_close(w);
    if (w->control != NULL) {
        link_server_close(w->control, drop, &w->closer);
    }
    (void)closer_close(&w->closer, w->loop, on_all_closed, w);
}

static void on_kill_timer(struct timer *timer)
{
    LOG_WARN("a worker does not end; killing it");
    signal_all(timer->data, SIGKILL);
}

void workers_stop(struct workers *w)
{
    struct error err;
    bool again = w->stopping;
    w->stopping = true;
    for (unsigned i = 0; i < w->count; i++) {
        timer_stop(&w->slots[i].restart);
    }
    for (int i = 0; i < PORT_COUNT; i++) {
        ports_close(w->fds[i], w->count);
    }
    if (!again && w->announced && notify_send(NOTIFY_STOPPING, &err) < 0) {
        LOG_WARN("cannot say that we are stopping", LOG_ERR(&err));
    }
    if (!again) {
        LOG_INFO("draining", LOG_UINT("ms", w->config->drain_ms));
        timer_start(&w->kill_timer, w->config->drain_ms + KILL_AFTER_MS);
    }
    signal_all(w, SIGTERM);
    maybe_close(w);
}

static void on_signal(struct signals *signals, int signum)
{
    workers_stop(signals->data);
}

static void on_lifeline(struct lifeline *l)
{
    _exit(0); /* the workers have it too */
}

int workers_status(const struct workers *w)
{
    return w->exit_status;
}

/* --- start ---------------------------------------------------------------------------------- */

static void init(struct workers *w, struct loop *loop, const struct config *config, unsigned count,
                 char *const *argv)
{
    char hex[17];
    *w = (struct workers){.loop = loop,
                          .config = config,
                          .argv = argv,
                          .count = count,
                          .next_ask = 1,
                          .started_ns = loop_now_ns(loop)};
    w->id = (struct worker_id){
        .count = count,
        .parent = (int)getpid(),
        .base = xasprintf("@lull-activator-%d-%s", (int)getpid(), random_hex(hex, sizeof(hex) - 1)),
        .instance = instance_name(config->name)};
    list_init(&w->processes);
    list_init(&w->asks);
    closer_init(&w->closer);
    metric_merge_init(&w->retired, NULL);
    timer_init(&w->kill_timer, loop, on_kill_timer, w);
    closer_hold(&w->closer);
    w->slots = xcalloc(count, sizeof(*w->slots));
    for (unsigned i = 0; i < count; i++) {
        struct worker_slot *slot = &w->slots[i];
        *slot = (struct worker_slot){.workers = w, .index = i};
        backoff_init(&slot->backoff, RESTART_MIN_MS, RESTART_MAX_MS);
        timer_init(&slot->restart, loop, on_restart, slot);
        closer_hold(&w->closer);
    }
    for (int i = 0; i < PORT_COUNT; i++) {
        w->fds[i] = xcalloc(count, sizeof(int));
        for (unsigned j = 0; j < count; j++) {
            w->fds[i][j] = -1;
        }
    }
}

int workers_start(struct workers *w, struct loop *loop, const struct config *config, unsigned count,
                  char *const *argv, struct error *err)
{
    init(w, loop, config, count, argv);
    closer_hold(&w->closer); /* signals */
    closer_hold(&w->closer); /* lifeline */
    int rc_signals = signals_start(&w->signals, loop, on_signal, w, err);
    int rc = lifeline_start(&w->lifeline, loop, on_lifeline, w, err);
    rc = rc_signals < 0 ? rc_signals : rc;
    rc = rc < 0 ? rc : ports_bind(config->public_listen, count, w->fds[PORT_PUBLIC], err);
    rc = rc < 0 ? rc : ports_bind(config->local_listen, count, w->fds[PORT_LOCAL], err);
    rc = rc < 0 ? rc : ports_bind(config->tls_listen, count, w->fds[PORT_TLS], err);
    rc = rc < 0 ? rc : start_control(w, err);
    rc = rc < 0 ? rc : workers_admin_start(w, err);
    if (rc < 0) {
        return rc;
    }
    for (unsigned i = 0; i < count && !w->stopping; i++) {
        start_worker(&w->slots[i]);
    }
    return 0;
}
