// SPDX-License-Identifier: Apache-2.0
/* The folder of the replicas' sockets: made anew, linked into memory for root, removed again. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/runtime_dir.h"
#include "test.h"

static char home[] = "/tmp/lull-test-runtime-XXXXXX";

static int setup(void **state)
{
    snprintf(home, sizeof(home), "/tmp/lull-test-runtime-XXXXXX");
    char run[PATH_MAX];
    if (mkdtemp(home) == NULL) {
        return -1;
    }
    snprintf(run, sizeof(run), "%s/run", home);
    return mkdir(run, 0700);
}

static int teardown(void **state)
{
    return fs_remove_tree(home, NULL);
}

static char *in_home(const char *name)
{
    return xasprintf("%s/run/%s", home, name);
}

static void touch(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static void test_made_used_removed(void **state)
{
    struct error err;
    struct stat st;
    char target[PATH_MAX] = {0};
    CLEANUP(cleanup_free) char *dir = in_home("r");
    CLEANUP(cleanup_free) char *socket = in_home("r/x.q");
    for (int i = 0; i < 2; i++) { /* the second one finds what the first has left behind */
        ASSERT_OK(runtime_dir_make(home, &err));
        assert_int_equal(stat(dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(st.st_uid, geteuid());
        assert_false(fs_exists(socket));
        touch(socket);
    }
    bool linked = readlink(dir, target, sizeof(target) - 1) > 0;
    runtime_dir_remove(home);
    assert_true(lstat(dir, &st) != 0);
    assert_false(linked && fs_exists(target));
    runtime_dir_remove(home); /* nothing there: fine */
}

/* A link that we did not make is taken away; what it points to is left alone. */
static void test_foreign_link(void **state)
{
    struct error err;
    CLEANUP(cleanup_free) char *dir = in_home("r");
    CLEANUP(cleanup_free) char *elsewhere = in_home("elsewhere");
    CLEANUP(cleanup_free) char *precious = in_home("elsewhere/precious");
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    touch(precious);
    assert_int_equal(symlink(elsewhere, dir), 0);
    ASSERT_OK(runtime_dir_make(home, &err));
    runtime_dir_remove(home);
    assert_true(fs_exists(precious));
}

static void test_no_place(void **state)
{
    struct error err;
    if (geteuid() == 0) {
        skip(); /* root is refused nothing here */
    }
    ASSERT_ERR(ERR_NOT_FOUND, runtime_dir_make("/tmp/lull-test-that-is-not-there", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_used_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_link, setup, teardown),
        cmocka_unit_test(test_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
