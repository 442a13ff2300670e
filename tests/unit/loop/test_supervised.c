// SPDX-License-Identifier: Apache-2.0
/* The lifeline and the readiness message: what ties a part to its supervisor. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/lifeline.h"
#include "loop/notify.h"
#include "loop/timer.h"
#include "test.h"

struct watch {
    struct lifeline lifeline;
    int cut;
    int closed;
};

static void on_cut(struct lifeline *l)
{
    ((struct watch *)l->data)->cut++;
}

static void on_closed(struct lifeline *l)
{
    ((struct watch *)l->data)->closed++;
}

static void nothing(struct timer *timer)
{
}

static void start(struct watch *w, struct loop *loop, const char *value)
{
    struct error err;
    if (value == NULL) {
        unsetenv(LIFELINE_ENV);
    } else {
        setenv(LIFELINE_ENV, value, 1);
    }
    ASSERT_OK(loop_init(loop, &err));
    ASSERT_OK(lifeline_start(&w->lifeline, loop, on_cut, w, &err));
}

static void finish(struct watch *w, struct loop *loop)
{
    struct error err;
    lifeline_close(&w->lifeline, on_closed);
    lifeline_close(&w->lifeline, on_closed);
    loop_run(loop);
    assert_int_equal(w->closed, 1);
    ASSERT_OK(loop_fini(loop, &err));
    unsetenv(LIFELINE_ENV);
}

static void test_cut(void **state)
{
    struct watch w = {0};
    struct loop loop;
    char text[16];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    snprintf(text, sizeof(text), "%d", ends[0]);
    start(&w, &loop, text);
    assert_int_equal(fcntl(ends[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    struct timer life; /* the lifeline alone does not keep a loop running */
    timer_init(&life, &loop, nothing, NULL);
    timer_start_every(&life, 5);
    for (int i = 0; i < 3; i++) {
        (void)loop_turn(&loop, true);
    }
    assert_int_equal(w.cut, 0);
    close(ends[1]);
    for (int i = 0; i < 100 && w.cut == 0; i++) {
        (void)loop_turn(&loop, true);
    }
    assert_int_equal(w.cut, 1);
    timer_close(&life, NULL);
    finish(&w, &loop);
    assert_int_equal(fcntl(ends[0], F_GETFD), -1); /* it owned the descriptor */
}

static void test_none(void **state)
{
    struct watch w = {0};
    struct loop loop;
    start(&w, &loop, NULL);
    loop_run(&loop); /* nothing keeps it running */
    assert_int_equal(w.cut, 0);
    finish(&w, &loop);
}

static void test_bad_descriptor(void **state)
{
    static const char *const bad[] = {"x", "-1", "987654"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct watch w = {0};
        struct loop loop;
        struct error err;
        setenv(LIFELINE_ENV, bad[i], 1);
        ASSERT_OK(loop_init(&loop, &err));
        ASSERT_ERR(ERR_INVALID, lifeline_start(&w.lifeline, &loop, on_cut, &w, &err));
        ASSERT_MSG(LIFELINE_ENV);
        finish(&w, &loop);
    }
}

static void test_notify(void **state)
{
    struct error err;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char got[64] = {0};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/lull-test-notify.%d", (int)getpid());
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    setenv(NOTIFY_ENV, at.sun_path, 1);
    ASSERT_OK(notify_send(NOTIFY_READY, &err));
    assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), 7);
    assert_string_equal(got, "READY=1");
    close(fd);
    unlink(at.sun_path);
    assert_true(notify_send(NOTIFY_READY, &err) < 0); /* nobody is there any more */
    ASSERT_MSG(at.sun_path);
    char longer[200];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    setenv(NOTIFY_ENV, longer, 1);
    ASSERT_ERR(ERR_TOO_BIG, notify_send(NOTIFY_READY, &err));
    unsetenv(NOTIFY_ENV);
    ASSERT_OK(notify_send(NOTIFY_READY, &err)); /* nobody wants to know */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_bad_descriptor),
        cmocka_unit_test(test_notify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
