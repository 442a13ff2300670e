// SPDX-License-Identifier: Apache-2.0
/* The loop itself: clock, tasks, closers, timers, deadlines, signals. */
#include "test_loop.h"

#include <signal.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/closer.h"
#include "loop/deadline.h"
#include "loop/signals.h"
#include "loop/timer.h"
#include "fault.h"
#include "test.h"

static void sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_nsec = (long)ms * 1000000};
    nanosleep(&ts, NULL);
}

/* --- clock --- */

struct clock_probe {
    struct loop *loop;
    uint64_t first_ns;
    uint64_t second_ns;
    bool done;
};

static void read_twice(struct timer *timer)
{
    struct clock_probe *p = timer->data;
    p->first_ns = loop_now_ns(p->loop);
    sleep_ms(3);
    p->second_ns = loop_now_ns(p->loop);
    p->done = true;
}

static void the_clock_is_read_once_a_turn(void **state)
{
    struct clock_probe p = {.loop = *state};
    struct timer timer;
    timer_init(&timer, *state, read_twice, &p);
    uint64_t before_ns = clock_mono_ns();
    timer_start(&timer, 5);
    LOOP_UNTIL(*state, p.done);
    assert_true(p.first_ns >= before_ns + 4000000);
    assert_int_equal(p.first_ns, p.second_ns);
    assert_true(loop_now_fresh_ns(*state) >= p.second_ns + 3000000);
    assert_int_equal(loop_now_us(*state), loop_now_ns(*state) / 1000);
    assert_int_equal(loop_now_ms(*state), loop_now_ns(*state) / 1000000);
    timer_close(&timer, NULL);
    LOOP_UNTIL(*state, !loop_turn(*state, false));
}

/* --- tasks --- */

struct chain {
    struct loop *loop;
    struct loop_task tasks[3];
    int order[8];
    int count;
};

static void run_task(struct loop_task *task)
{
    struct chain *c = task->data;
    int which = (int)(task - c->tasks);
    c->order[c->count++] = which;
    if (which == 0 && c->count < 4) {
        loop_task_post(c->loop, task); /* again, on the next turn */
        loop_task_cancel(&c->tasks[2]);
    }
}

static void tasks_run_on_the_next_turn(void **state)
{
    struct chain c = {.loop = *state};
    for (int i = 0; i < 3; i++) {
        loop_task_init(&c.tasks[i], run_task, &c);
        loop_task_post(c.loop, &c.tasks[i]);
        loop_task_post(c.loop, &c.tasks[i]); /* once all the same */
    }
    assert_int_equal(c.count, 0);
    loop_turn(c.loop, true);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.order[0], 0);
    assert_int_equal(c.order[1], 1);
    loop_turn(c.loop, true);
    assert_int_equal(c.count, 3);
    loop_run(c.loop); /* tasks keep it running, and nothing else does */
    assert_int_equal(c.count, 4);
}

static void a_loop_with_handles_does_not_end(void **state)
{
    struct error err;
    struct loop loop;
    struct timer timer;
    ASSERT_OK(loop_init(&loop, &err));
    timer_init(&timer, &loop, NULL, NULL);
    ASSERT_ERR(ERR_IN_USE, loop_fini(&loop, &err));
    ASSERT_MSG("1 handles are still open (one is a timer)");
    timer_close(&timer, NULL);
    loop_run(&loop);
    ASSERT_OK(loop_fini(&loop, &err));
}

static void uv_codes_are_translated(void **state)
{
    static const struct {
        int uv;
        int code;
    } rows[] = {{UV_ECANCELED, ERR_CANCELED},   {UV_EAI_CANCELED, ERR_CANCELED},
                {UV_EOF, ERR_CLOSED},           {UV_ECONNREFUSED, ERR_REFUSED},
                {UV_EAI_NONAME, ERR_NOT_FOUND}, {UV_EAI_AGAIN, ERR_UNAVAILABLE},
                {UV_ETIMEDOUT, ERR_TIMEOUT},    {UV_EAI_FAIL, ERR_IO}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        ASSERT_ERR(rows[i].code, error_from_uv(&err, rows[i].uv, "do %s", "it"));
        ASSERT_MSG("do it: ");
    }
}

/* --- closers --- */

static void count(void *data)
{
    ++*(int *)data;
}

static void a_closer_waits_for_all(void **state)
{
    struct closer c;
    int closed = 0;
    closer_init(&c);
    closer_hold(&c);
    closer_hold(&c);
    assert_true(closer_close(&c, *state, count, &closed));
    assert_false(closer_close(&c, *state, count, &closed));
    closer_drop(&c);
    loop_turn(*state, false);
    assert_int_equal(closed, 0);
    closer_drop(&c);
    assert_int_equal(closed, 1);

    closer_init(&c);
    assert_true(closer_close(&c, *state, count, &closed));
    assert_int_equal(closed, 1); /* never from inside the call */
    LOOP_UNTIL(*state, closed == 2);
}

/* --- timers --- */

struct ticks {
    int count;
    bool closed;
};

static void tick(struct timer *timer)
{
    struct ticks *t = timer->data;
    t->count++;
}

static void tick_closed(struct timer *timer)
{
    struct ticks *t = timer->data;
    t->closed = true;
}

static void timers_fire_repeat_and_stop(void **state)
{
    struct ticks t = {.count = 0};
    struct timer timer;
    timer_init(&timer, *state, tick, &t);
    uint64_t before_ms = clock_mono_ms();
    sleep_ms(10); /* the loop's own time is old now */
    timer_start(&timer, 10);
    LOOP_UNTIL(*state, t.count == 1);
    assert_true(clock_mono_ms() >= before_ms + 18);
    assert_false(timer_active(&timer));
    timer_start_every(&timer, 1);
    LOOP_UNTIL(*state, t.count == 4);
    timer_stop(&timer);
    assert_false(timer_active(&timer));
    timer_start(&timer, 1);
    timer_close(&timer, tick_closed);
    timer_close(&timer, tick_closed);
    LOOP_UNTIL(*state, t.closed);
    assert_int_equal(t.count, 4);
}

/* --- deadlines --- */

struct due {
    struct deadlines *all;
    struct deadline d[4];
    char fired[16];
    int count;
    bool closed;
};

static void on_due(struct deadline *deadline, void *data)
{
    struct due *t = data;
    int which = (int)(deadline - t->d);
    assert_false(deadline_is_set(deadline));
    t->fired[t->count++] = (char)('0' + which);
    if (which == 1) {
        deadline_clear(&t->d[2]); /* the next one, just before it fires */
        if (t->count < 3) {
            deadline_set(t->all, deadline);
        }
    }
}

static void due_closed(struct deadlines *d)
{
    struct due *t = d->data;
    t->closed = true;
}

static void deadlines_fire_in_order(void **state)
{
    struct deadlines all;
    struct due t = {.all = &all};
    deadlines_init(&all, *state, 5, on_due, &t);
    uint64_t start_ms = clock_mono_ms();
    for (int i = 0; i < 4; i++) {
        deadline_init(&t.d[i]);
        deadline_set(&all, &t.d[i]);
    }
    deadline_set(&all, &t.d[0]); /* moves to the end */
    LOOP_UNTIL(*state, t.count >= 4);
    assert_true(clock_mono_ms() >= start_ms + 10);
    assert_string_equal(t.fired, "1301");
    deadline_set(&all, &t.d[3]);
    deadlines_close(&all, due_closed);
    deadlines_close(&all, due_closed);
    assert_false(deadline_is_set(&t.d[3]));
    LOOP_UNTIL(*state, t.closed);
    assert_int_equal(t.count, 4);
}

static void a_moved_deadline_fires_late(void **state)
{
    struct deadlines all;
    struct due t = {.all = &all};
    deadlines_init(&all, *state, 20, on_due, &t);
    deadline_init(&t.d[0]);
    deadline_set(&all, &t.d[0]);
    uint64_t last_ms = 0;
    for (int i = 0; i < 4; i++) {
        sleep_ms(8);
        loop_now_fresh_ns(*state);
        last_ms = clock_mono_ms();
        deadline_set(&all, &t.d[0]);
    }
    assert_int_equal(t.count, 0);
    LOOP_UNTIL(*state, t.count == 1);
    assert_true(clock_mono_ms() >= last_ms + 19);
    deadline_set(&all, &t.d[0]);
    deadlines_set_length(&all, 60000);
    deadlines_set_length(&all, 1);
    LOOP_UNTIL(*state, t.count == 2);
    deadlines_close(&all, due_closed);
    LOOP_UNTIL(*state, t.closed);
}

static void close_all(struct deadline *deadline, void *data)
{
    struct due *t = data;
    t->count++;
    deadlines_close(t->all, due_closed);
}

static void closing_inside_a_deadline_silences_the_rest(void **state)
{
    struct deadlines all;
    struct due t = {.all = &all};
    deadlines_init(&all, *state, 1, close_all, &t);
    for (int i = 0; i < 4; i++) {
        deadline_init(&t.d[i]);
        deadline_set(&all, &t.d[i]);
    }
    LOOP_UNTIL(*state, t.closed);
    assert_int_equal(t.count, 1);
}

/* --- signals --- */

struct heard {
    int last;
    bool closed;
};

static void on_signal(struct signals *signals, int signum)
{
    struct heard *h = signals->data;
    h->last = signum;
}

static void signals_closed(struct signals *signals)
{
    struct heard *h = signals->data;
    h->closed = true;
}

static void signals_are_heard(void **state)
{
    struct error err;
    struct heard h = {.last = 0};
    struct signals s;
    ASSERT_OK(signals_start(&s, *state, on_signal, &h, &err));
    ASSERT_OK(signals_add(&s, SIGHUP, &err));
    struct ticks t = {.count = 0};
    struct timer alive; /* something else has to keep the loop running */
    timer_init(&alive, *state, tick, &t);
    timer_start(&alive, 60000);
    static const int each[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(each); i++) {
        raise(each[i]);
        LOOP_UNTIL(*state, h.last == each[i]);
    }
    timer_close(&alive, tick_closed);
    loop_run(*state); /* the signals do not */
    assert_true(t.closed);
    signals_close(&s, signals_closed);
    signals_close(&s, signals_closed);
    LOOP_UNTIL(*state, h.closed);
}

static void signals_survive_every_fault(void **state)
{
    bool fired = true;
    for (unsigned n = 1; fired; n++) {
        struct error err;
        struct heard h = {.last = 0};
        struct signals s;
        fault_arm(n, UV_ENOBUFS);
        int rc = signals_start(&s, *state, on_signal, &h, &err);
        fired = fault_disarm();
        assert_int_equal(rc < 0, fired);
        signals_close(&s, signals_closed);
        LOOP_UNTIL(*state, h.closed);
    }
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(the_clock_is_read_once_a_turn),
        LOOP_TEST(tasks_run_on_the_next_turn),
        cmocka_unit_test(a_loop_with_handles_does_not_end),
        cmocka_unit_test(uv_codes_are_translated),
        LOOP_TEST(a_closer_waits_for_all),
        LOOP_TEST(timers_fire_repeat_and_stop),
        LOOP_TEST(deadlines_fire_in_order),
        LOOP_TEST(a_moved_deadline_fires_late),
        LOOP_TEST(closing_inside_a_deadline_silences_the_rest),
        LOOP_TEST(signals_are_heard),
        LOOP_TEST(signals_survive_every_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
