// SPDX-License-Identifier: Apache-2.0
/* What leaves the loop's thread: pool jobs, the worker, child processes. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/process.h"
#include "loop/work.h"
#include "loop/worker.h"
#include "fault.h"
#include "test.h"
#include "test_loop.h"

/* --- pool --- */

struct pool_job {
    struct work work;
    int input;
    int output;
    int status;
    bool done;
};

static void pool_run(struct work *work)
{
    struct pool_job *j = work->data;
    j->output = j->input * 2;
}

static void pool_done(struct work *work, int status)
{
    struct pool_job *j = work->data;
    assert_false(j->done);
    j->done = true;
    j->status = status;
}

static void pool_jobs_run_and_complete(void **state)
{
    struct error err;
    struct pool_job jobs[20];
    for (int i = 0; i < 20; i++) {
        jobs[i] = (struct pool_job){.input = i};
        ASSERT_OK(work_start(&jobs[i].work, *state, pool_run, pool_done, &jobs[i], &err));
        if (i % 2 == 1) {
            work_cancel(&jobs[i].work);
        }
    }
    for (int i = 0; i < 20; i++) {
        LOOP_UNTIL(*state, jobs[i].done);
        assert_true(jobs[i].status == ERR_CANCELED || jobs[i].output == 2 * i);
        assert_true(jobs[i].status == 0 || i % 2 == 1);
    }
    struct pool_job last = {.input = 1};
    fault_arm(1, UV_EINVAL);
    ASSERT_ERR(ERR_INVALID, work_start(&last.work, *state, pool_run, pool_done, &last, &err));
    assert_true(fault_disarm());
}

/* --- worker --- */

struct shop {
    struct worker worker;
    struct worker_job jobs[100];
    int done; /* in order */
    int batches;
    size_t largest;
    bool closed;
    pthread_mutex_t door; /* held: the worker waits inside its batch */
};

static void shop_batch(struct worker *worker, struct list *batch, size_t count)
{
    struct shop *s = worker->data;
    size_t n = 0;
    pthread_mutex_lock(&s->door);
    s->batches++;
    s->largest = count > s->largest ? count : s->largest;
    list_foreach (node, batch) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        n++;
        if ((job - s->jobs) % 10 == 7) {
            job->status = error_set(&job->err, ERR_CONFLICT, "job %d", (int)(job - s->jobs));
        }
    }
    pthread_mutex_unlock(&s->door);
    if (n != count) {
        abort();
    }
}

static void shop_done(struct worker_job *job)
{
    struct shop *s = job->data;
    int which = (int)(job - s->jobs);
    assert_int_equal(which, s->done);
    s->done++;
    if (which % 10 == 7) {
        assert_int_equal(job->status, ERR_CONFLICT);
    } else {
        assert_int_equal(job->status, 0);
    }
}

static void shop_closed(struct worker *worker)
{
    struct shop *s = worker->data;
    assert_false(s->closed);
    s->closed = true;
}

static void shop_open(struct shop *s, struct loop *loop, size_t max_batch)
{
    struct error err;
    *s = (struct shop){.done = 0};
    pthread_mutex_init(&s->door, NULL);
    ASSERT_OK(worker_start(&s->worker, loop, "shop", shop_batch, s, 90, max_batch, &err));
}

static void the_worker_batches_in_order(void **state)
{
    struct error err;
    struct shop s;
    shop_open(&s, *state, 16);
    pthread_mutex_lock(&s.door);
    for (int i = 0; i < 90; i++) {
        ASSERT_OK(worker_submit(&s.worker, &s.jobs[i], shop_done, &s, &err));
    }
    ASSERT_ERR(ERR_OVERLOAD, worker_submit(&s.worker, &s.jobs[90], shop_done, &s, &err));
    assert_int_equal(worker_waiting(&s.worker), 90);
    assert_int_equal(s.done, 0);
    pthread_mutex_unlock(&s.door);
    LOOP_UNTIL(*state, s.done == 90);
    assert_int_equal(worker_waiting(&s.worker), 0);
    assert_true(s.largest <= 16 && s.batches >= 6);
    ASSERT_OK(worker_submit(&s.worker, &s.jobs[90], shop_done, &s, &err));
    LOOP_UNTIL(*state, s.done == 91);
    worker_close(&s.worker, shop_closed);
    ASSERT_ERR(ERR_CLOSED, worker_submit(&s.worker, &s.jobs[91], shop_done, &s, &err));
    LOOP_UNTIL(*state, s.closed);
}

static void closing_the_worker_finishes_its_queue(void **state)
{
    struct error err;
    for (int n = 0; n < 40; n += 13) {
        struct shop s;
        shop_open(&s, *state, 3);
        for (int i = 0; i < n; i++) {
            ASSERT_OK(worker_submit(&s.worker, &s.jobs[i], shop_done, &s, &err));
        }
        worker_close(&s.worker, shop_closed);
        worker_close(&s.worker, shop_closed);
        assert_false(s.closed);
        LOOP_UNTIL(*state, s.closed);
        assert_int_equal(s.done, n);
    }
}

static void a_worker_that_cannot_start_closes(void **state)
{
    struct error err;
    struct shop s = {.done = 0};
    fault_arm(1, UV_EMFILE);
    ASSERT_ERR(ERR_OVERLOAD, worker_start(&s.worker, *state, "shop", shop_batch, &s, 10, 0, &err));
    assert_true(fault_disarm());
    ASSERT_ERR(ERR_CLOSED, worker_submit(&s.worker, &s.jobs[0], shop_done, &s, &err));
    worker_close(&s.worker, shop_closed);
    LOOP_UNTIL(*state, s.closed);
}

/* --- processes --- */

struct child {
    struct process p;
    bool exited;
    int status;
    int signum;
    bool closed;
};

static void child_exited(struct process *p, int status, int signum)
{
    struct child *c = p->data;
    c->exited = true;
    c->status = status;
    c->signum = signum;
}

static void child_closed(struct process *p)
{
    struct child *c = p->data;
    c->closed = true;
}

static void children_run_with_what_they_are_given(void **state)
{
    struct error err;
    struct child c = {.exited = false};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    char *dir = test_dir();
    const char *const argv[] = {
        "sh", "-c", "pwd; echo $ONE; ps -o pgid= -p $$ | tr -d ' '; cat >&3; exit 7", NULL};
    const char *const env[] = {"ONE=1", "PATH=/usr/bin:/bin", NULL};
    const int child_fds[] = {-1, fds[1], -1, fds[1]};
    struct process_options opt = {.file = "/bin/sh",
                                  .argv = (char *const *)(uintptr_t)argv,
                                  .env = (char *const *)(uintptr_t)env,
                                  .cwd = dir,
                                  .fds = child_fds,
                                  .fd_count = 4};
    ASSERT_OK(process_start(&c.p, *state, &opt, child_exited, &c, &err));
    close(fds[1]);
    pid_t pid = process_pid(&c.p);
    LOOP_UNTIL(*state, c.exited);
    assert_int_equal(c.status, 7);
    assert_int_equal(c.signum, 0);
    char text[300];
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    text[n < 0 ? 0 : n] = '\0';
    CLEANUP(cleanup_free) char *want = xasprintf("%s\n1\n%ld\n", dir, (long)pid);
    assert_string_equal(text, want); /* it leads its own group */
    ASSERT_ERR(ERR_NOT_FOUND, process_kill(&c.p, SIGTERM, false, &err));
    process_close(&c.p, child_closed);
    LOOP_UNTIL(*state, c.closed);
    close(fds[0]);
    test_dir_remove(dir);
}

static void children_are_signalled(void **state)
{
    struct error err;
    struct child c = {.exited = false};
    const char *const argv[] = {"sh", "-c", "sleep 60 & wait", NULL};
    struct process_options opt = {.file = "sh", .argv = (char *const *)(uintptr_t)argv};
    ASSERT_OK(process_start(&c.p, *state, &opt, child_exited, &c, &err));
    pid_t pid = process_pid(&c.p);
    ASSERT_OK(process_kill(&c.p, SIGKILL, true, &err));
    LOOP_UNTIL(*state, c.exited);
    assert_int_equal(c.signum, SIGKILL);
    LOOP_UNTIL(*state, kill(-pid, 0) < 0); /* nobody of the group is left */
    process_close(&c.p, child_closed);
    process_close(&c.p, child_closed);
    LOOP_UNTIL(*state, c.closed);
}

static void a_missing_program_is_named(void **state)
{
    struct error err;
    struct child c = {.exited = false};
    const char *const argv[] = {"nothing", NULL};
    struct process_options opt = {.file = "/nonexistent/nothing",
                                  .argv = (char *const *)(uintptr_t)argv};
    ASSERT_ERR(ERR_NOT_FOUND, process_start(&c.p, *state, &opt, child_exited, &c, &err));
    ASSERT_MSG("start /nonexistent/nothing: ");
    process_close(&c.p, child_closed);
    LOOP_UNTIL(*state, c.closed);
    assert_false(c.exited);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(pool_jobs_run_and_complete),
        LOOP_TEST(the_worker_batches_in_order),
        LOOP_TEST(closing_the_worker_finishes_its_queue),
        LOOP_TEST(a_worker_that_cannot_start_closes),
        LOOP_TEST(children_run_with_what_they_are_given),
        LOOP_TEST(children_are_signalled),
        LOOP_TEST(a_missing_program_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
