// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parent of several workers. It binds the ports, one socket per worker and port, and keeps
 * them open: when a worker ends, its connections in the kernel's queue wait for the next worker
 * with that number. Each worker is a process of its own, a whole activator shard, so a crash takes
 * its own requests only and the limit on open files counts per worker.
 *
 * Owns the sockets, the processes and the admin port that adds up their numbers. Sees no request.
 *
 * A worker that drains (SIGTERM to it) is replaced at once, one that dies after a short wait. All
 * have become ready once: READY=1. SIGTERM to the parent: all drain; a second one: at once.
 */

#include "base/backoff.h"
#include "loop/deadline.h"
#include "loop/lifeline.h"
#include "loop/process.h"
#include "loop/signals.h"
#include "http/simple.h"
#include "activator/config.h"
#include "activator/ports.h"
#include "activator/worker.h"
#include "activator/workers_page.h"

struct workers;

/* One process; of one number there may be several: the present one and some that drain. */
struct worker_process {
    struct list link;
    struct workers *workers;
    struct process process;
    struct link_peer *peer; /* NULL while it is not connected */
    unsigned index;
    unsigned generation;
    enum worker_state state;
    uint64_t started_ms;
    bool exited;
    bool closed;        /* its handle */
    struct strbuf page; /* /metrics, as last seen */
};

struct worker_slot {
    struct worker_process *current; /* NULL while it waits for its restart */
    struct backoff backoff;
    struct timer restart;
    struct workers *workers;
    unsigned index;
    unsigned generation;
};

struct workers {
    struct loop *loop; /* private, like the rest */
    const struct config *config;
    char *const *argv;
    unsigned count;
    struct worker_slot *slots;
    struct list processes;
    int *fds[PORT_COUNT]; /* one per worker */
    struct worker_id id;
    struct link_server *control;
    struct http_simple *simple;
    struct list asks; /* pages that are being put together */
    uint32_t next_ask;
    struct deadlines ask_deadlines;
    struct metric_merge retired; /* totals of processes that have ended */
    uint64_t restarts;
    uint64_t started_ns;
    struct timer kill_timer;
    struct signals signals;
    struct lifeline lifeline;
    struct closer closer;
    bool announced; /* READY=1 was said */
    bool stopping;
    bool closing;
    int exit_status;
};

/* argv is ours, NULL-terminated. config and argv outlive it. After an error call workers_stop. */
MUST_CHECK int workers_start(struct workers *w, struct loop *loop, const struct config *config,
                             unsigned count, char *const *argv, struct error *err);
/* Drains (bounded), then closes everything; the loop runs empty then. Twice: at once. */
void workers_stop(struct workers *w);
/* After the loop: what the process should exit with. */
int workers_status(const struct workers *w);

/* --- workers_admin.c ------------------------------------------------------------------------ */

MUST_CHECK int workers_admin_start(struct workers *w, struct error *err);
/* A piece of a page from a worker. */
void workers_admin_page(struct worker_process *p, struct slice payload);
/* It will not answer any more. */
void workers_admin_gone(struct worker_process *p);
/* Answers what is open with what there is, and closes the port. */
void workers_admin_close(struct workers *w);
