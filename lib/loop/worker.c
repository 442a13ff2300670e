// SPDX-License-Identifier: Apache-2.0
/*
 * A thread with a queue. The loop appends to `queue` and signals; the thread takes all of it,
 * handles it as one batch without the lock, appends the batch to `finished`, and wakes the loop;
 * the loop takes `finished` and calls each done.
 *
 * Close: `stop` is set; the thread finishes what is queued, marks `exited`, wakes the loop once
 * more; the loop gives the last completions, joins, closes the async handle.
 */
#include "loop/worker.h"

#include <signal.h>
#include <sys/prctl.h>

#include "base/mem.h"

/* Waits for jobs; moves up to max_batch of them to *batch. 0 when it is time to end. */
static size_t take_batch(struct worker *w, struct list *batch)
{
    size_t count = 0;
    pthread_mutex_lock(&w->lock);
    while (list_empty(&w->queue) && !w->stop) {
        pthread_cond_wait(&w->wake, &w->lock);
    }
    while (!list_empty(&w->queue) && (w->max_batch == 0 || count < w->max_batch)) {
        list_push_back(batch, list_pop_front(&w->queue));
        count++;
    }
    pthread_mutex_unlock(&w->lock);
    return count;
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    struct list batch;
    list_init(&batch);
    size_t count;
    while ((count = take_batch(w, &batch)) > 0) {
        w->batch(w, &batch, count);
        pthread_mutex_lock(&w->lock);
        list_splice_back(&w->finished, &batch);
        pthread_mutex_unlock(&w->lock);
        uv_async_send(&w->async);
    }
    pthread_mutex_lock(&w->lock);
    w->exited = true;
    pthread_mutex_unlock(&w->lock);
    uv_async_send(&w->async);
    return NULL;
}

static void on_async_closed(uv_handle_t *handle)
{
    struct worker *w = handle->data;
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    closer_drop(&w->closer);
}

static void on_async(uv_async_t *async)
{
    struct worker *w = async->data;
    struct list finished;
    list_init(&finished);
    pthread_mutex_lock(&w->lock);
    list_splice_back(&finished, &w->finished);
    bool exited = w->exited;
    pthread_mutex_unlock(&w->lock);
    if (exited && !uv_is_closing((const uv_handle_t *)async)) {
        pthread_join(w->thread, NULL);
        uv_close((uv_handle_t *)async, on_async_closed);
    }
    struct list *node;
    while ((node = list_pop_front(&finished)) != NULL) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        w->waiting--;
        job->done(job);
    }
}

/* Signals belong to the loop's thread. */
static int start_thread(struct worker *w)
{
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int worker_start(struct worker *w, struct loop *loop, const char *name, worker_batch_cb batch,
                 void *data, size_t max_jobs, size_t max_batch, struct error *err)
{
    *w = (struct worker){
        .loop = loop, .data = data, .batch = batch, .max_jobs = max_jobs, .max_batch = max_batch};
    list_init(&w->queue);
    list_init(&w->finished);
    closer_init(&w->closer);
    int rc = uv_async_init(&loop->uv, &w->async, on_async);
    if (rc < 0) {
        return error_from_uv(err, rc, "start worker %s", name);
    }
    w->async.data = w;
    closer_hold(&w->closer);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    rc = start_thread(w);
    if (rc != 0) {
        uv_close((uv_handle_t *)&w->async, on_async_closed);
        return error_from_errno(err, rc, "start worker %s", name);
    }
    char short_name[16];
    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(w->thread, short_name);
    w->started = true;
    return 0;
}

int worker_submit(struct worker *w, struct worker_job *job, worker_done_cb done, void *data,
                  struct error *err)
{
    if (!w->started || w->closer.closing) {
        return error_set(err, ERR_CLOSED, "the worker is closed");
    }
    if (w->waiting >= w->max_jobs) {
        return error_set(err, ERR_OVERLOAD, "%zu jobs are waiting for the worker", w->waiting);
    }
    *job = (struct worker_job){.done = done, .data = data};
    w->waiting++;
    pthread_mutex_lock(&w->lock);
    list_init(&job->link);
    list_push_back(&w->queue, &job->link);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

size_t worker_waiting(const struct worker *w)
{
    return w->waiting;
}

static void on_all_closed(void *data)
{
    struct worker *w = data;
    if (w->close_cb != NULL) {
        w->close_cb(w);
    }
}

void worker_close(struct worker *w, void (*cb)(struct worker *worker))
{
    if (w->closer.closing) {
        return;
    }
    w->close_cb = cb;
    closer_close(&w->closer, w->loop, on_all_closed, w);
    if (w->started) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
    }
}
