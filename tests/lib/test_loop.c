// SPDX-License-Identifier: Apache-2.0
#include "test_loop.h"

#include <poll.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "test.h"

#define WAIT_MAX_MS 20000

int test_loop_setup(void **state)
{
    struct error err;
    struct loop *loop = NEW(struct loop);
    ASSERT_OK(loop_init(loop, &err));
    *state = loop;
    return 0;
}

int test_loop_teardown(void **state)
{
    struct error err;
    struct loop *loop = *state;
    int rc = loop_fini(loop, &err);
    if (rc < 0) {
        print_error("the loop does not close: %s\n", err.msg);
        return rc;
    }
    free(loop);
    return 0;
}

void test_wait_begin(struct test_wait *wait)
{
    wait->end_ms = clock_mono_ms() + WAIT_MAX_MS;
}

void test_wait_turn(struct test_wait *wait, struct loop *loop, const char *what, const char *file,
                    int line)
{
    if (clock_mono_ms() > wait->end_ms) {
        print_error("%s:%d: waited %d s for: %s\n", file, line, WAIT_MAX_MS / 1000, what);
        fail();
    }
    struct pollfd p = {.fd = loop_poll_fd(loop), .events = POLLIN};
    int timeout = loop_poll_ms(loop);
    poll(&p, 1, timeout < 0 || timeout > 100 ? 100 : timeout);
    loop_turn(loop, false);
}

char *test_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = xasprintf("%s/lull-test-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(dir));
    return dir;
}

void test_dir_remove(char *dir)
{
    struct error err;
    ASSERT_OK(fs_remove_tree(dir, &err));
    free(dir);
}
