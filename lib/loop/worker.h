// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One dedicated thread with a bounded first-in-first-out queue of jobs. It takes all jobs that
 * wait as one batch (group commit), and their completions come on the loop in the same order.
 */

#include <pthread.h>

#include "loop/closer.h"

struct worker;
struct worker_job;

/*
 * On the worker's thread: handles the batch, a list of struct worker_job by `link`, in order; sets
 * each job's status (and err). Leaves the list as it is.
 */
typedef void (*worker_batch_cb)(struct worker *worker, struct list *batch, size_t count);
/* On the loop. */
typedef void (*worker_done_cb)(struct worker_job *job);

struct worker_job {
    struct list link; /* private to the worker between submit and done */
    worker_done_cb done;
    void *data;       /* the owner's */
    int status;       /* result: 0 or a code */
    struct error err; /* result: sentence when status < 0 */
};

struct worker {
    struct loop *loop;
    void *data;            /* the owner's; the batch callback reads it on the thread */
    worker_batch_cb batch; /* private */
    size_t max_jobs;       /* private */
    size_t max_batch;      /* private */
    size_t waiting;        /* private: submitted, not done; loop thread only */
    pthread_t thread;      /* private */
    pthread_mutex_t lock;  /* private: guards the four below */
    pthread_cond_t wake;   /* private */
    struct list queue;     /* private */
    struct list finished;  /* private */
    bool stop;             /* private */
    bool exited;           /* private */
    uv_async_t async;      /* private */
    struct closer closer;  /* private */
    bool started;          /* private */
    void (*close_cb)(struct worker *worker);
};

/* max_jobs: most jobs submitted and not done. max_batch: most jobs in one batch (0: no limit). */
MUST_CHECK int worker_start(struct worker *worker, struct loop *loop, const char *name,
                            worker_batch_cb batch, void *data, size_t max_jobs, size_t max_batch,
                            struct error *err);
/* Zero: job->done comes once. ERR_OVERLOAD when full, ERR_CLOSED after worker_close. */
MUST_CHECK int worker_submit(struct worker *worker, struct worker_job *job, worker_done_cb done,
                             void *data, struct error *err);
/* Jobs submitted and not done. */
size_t worker_waiting(const struct worker *worker);
/* Finishes all that is queued, then ends the thread; cb after the last done. Idempotent. */
void worker_close(struct worker *worker, void (*cb)(struct worker *worker));
