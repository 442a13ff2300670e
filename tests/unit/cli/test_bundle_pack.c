// SPDX-License-Identifier: Apache-2.0
//
// Bundles: the same source gives the same image, any change another; what leads out of the folder
// is refused.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/bundle_pack.h"
#include "test.h"

struct fixture {
    char root[64];
    char *home, *source;
    json_t *command;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    struct error err;
    snprintf(f->root, sizeof f->root, "/tmp/lull-bundle-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    f->home = fs_join(f->root, "home");
    f->source = fs_join(f->root, "src");
    f->command = json_pack("[s]", "./run");
    CLEANUP(cleanup_free) char *sub = fs_join(f->source, "sub");
    ASSERT_OK(fs_mkdir_p(f->home, 0755, &err));
    ASSERT_OK(fs_mkdir_p(sub, 0755, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)!fs_remove_tree(f->root, NULL);
    json_decref(f->command);
    free(f->home);
    free(f->source);
    free(f);
    return 0;
}

static void put(struct fixture *f, const char *name, const char *text, mode_t mode)
{
    struct error err;
    CLEANUP(cleanup_free) char *path = fs_join(f->source, name);
    ASSERT_OK(fs_write_atomic(path, slice_str(text), mode, &err));
}

static char *pack(struct fixture *f)
{
    struct error err;
    char *image = NULL;
    ASSERT_OK(bundle_pack(f->home, "fn", f->source, NULL, f->command, NULL, &image, &err));
    return image;
}

static void test_content_addresses(void **state)
{
    struct fixture *f = *state;
    put(f, "run", "#!/bin/sh\n", 0755);
    put(f, "sub/data", "one", 0644);
    CLEANUP(cleanup_free) char *first = pack(f);
    CLEANUP(cleanup_free) char *again = pack(f);
    assert_string_equal(first, again);
    put(f, "sub/data", "two", 0644);
    CLEANUP(cleanup_free) char *changed = pack(f);
    assert_string_not_equal(first, changed);
    put(f, "sub/data", "one", 0755);
    CLEANUP(cleanup_free) char *mode = pack(f);
    assert_string_not_equal(first, mode);
}

/* So that it is not collected between here and the Service that names it. */
static void test_a_bundle_that_is_there_is_touched(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    put(f, "run", "#!/bin/sh\n", 0755);
    CLEANUP(cleanup_free) char *image = pack(f);
    CLEANUP(cleanup_free)
    char *folder = xasprintf("%s/bundles/sha256-%s", f->home, strchr(image, ':') + 1);
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, folder, old, 0), 0);
    free(pack(f));
    assert_int_equal(stat(folder, &st), 0);
    assert_true(st.st_mtim.tv_sec > 1000000000);
}

static void test_what_is_packed(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    put(f, "run", "#!/bin/sh\n", 0755);
    put(f, "sub/data", "text", 0600);
    CLEANUP(cleanup_free) char *link = fs_join(f->source, "link");
    assert_int_equal(symlink("sub/data", link), 0);
    CLEANUP(cleanup_free) char *image = pack(f);
    assert_memory_equal(image, "dev.local/fn@sha256:", 20);
    CLEANUP(cleanup_free)
    char *file = xasprintf("%s/bundles/sha256-%s/files/sub/data", f->home, image + 20);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644); // functions run as other users
    assert_int_equal(st.st_size, 4);
    CLEANUP(cleanup_free)
    char *copy = xasprintf("%s/bundles/sha256-%s/files/link", f->home, image + 20);
    assert_int_equal(lstat(copy, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void refused(struct fixture *f, const char *part)
{
    struct error err = {0};
    char *image = NULL;
    ASSERT_ERR(ERR_INVALID,
               bundle_pack(f->home, "fn", f->source, NULL, f->command, NULL, &image, &err));
    ASSERT_MSG(part);
    assert_null(image);
}

static void test_links_out_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(cleanup_free) char *link = fs_join(f->source, "sub/link");
    static const char *const targets[] = {"../../home", "/etc/passwd", "nowhere"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        unlink(link);
        assert_int_equal(symlink(targets[i], link), 0);
        refused(f, "sub/link is a link to");
    }
}

static void test_special_files_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(cleanup_free) char *pipe = fs_join(f->source, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    refused(f, "neither a file, a folder nor a link");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_content_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bundle_that_is_there_is_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links_out_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_files_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
