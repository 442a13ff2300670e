// SPDX-License-Identifier: Apache-2.0
/* The redo log alone: what is replayed, and what does not count. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "local/store/redo.h"
#include "test.h"
#include "test_loop.h"

#define BYTES 4096

struct fixture {
    char *dir;
    char *path;
    struct redo *redo;
    char seen[512];
};

static void open_redo(struct fixture *f)
{
    struct error err;
    ASSERT_OK(redo_open(&f->redo, f->path, BYTES, &err));
}

static void reopen(struct fixture *f)
{
    redo_close(f->redo);
    open_redo(f);
}

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    f->dir = test_dir();
    f->path = fs_join(f->dir, "log");
    open_redo(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    redo_close(f->redo);
    test_dir_remove(f->dir);
    free(f->path);
    free(f);
    return 0;
}

static bool append(struct fixture *f, uint64_t version, uint64_t follows, const char *body)
{
    struct redo_record kept, r = {.version = version,
                                  .follows = follows,
                                  .row = 7,
                                  .remove = body == NULL,
                                  .resource = "pods",
                                  .ns = "default",
                                  .name = "p",
                                  .body = body == NULL ? SLICE_LIT("") : slice_str(body)};
    if (!redo_append(f->redo, &r, &kept)) {
        return false;
    }
    assert_string_equal(kept.resource, "pods");
    assert_string_equal(kept.ns, "default");
    assert_string_equal(kept.name, "p");
    assert_true(slice_eq(kept.body, r.body));
    assert_int_equal(kept.version, version);
    assert_int_equal(kept.row, 7);
    return true;
}

static int see(const struct redo_record *r, void *arg, struct error *err)
{
    struct fixture *f = arg;
    size_t n = strlen(f->seen);
    snprintf(f->seen + n, sizeof(f->seen) - n, "%llu%s%.*s ", (unsigned long long)r->version,
             r->remove ? "-" : "=", (int)r->body.len, r->body.ptr);
    return 0;
}

/* What a replay onto `version` gives; the version that it ends with. */
static uint64_t replay(struct fixture *f, uint64_t version)
{
    struct error err;
    f->seen[0] = '\0';
    ASSERT_OK(redo_replay(f->redo, &version, see, f, &err));
    return version;
}

static void what_was_appended_is_replayed(void **state)
{
    struct fixture *f = *state;
    assert_true(append(f, 5, 4, "a"));
    assert_true(append(f, 8, 5, "b"));
    assert_true(append(f, 9, 8, NULL));
    reopen(f);
    assert_int_equal(replay(f, 4), 9);
    assert_string_equal(f->seen, "5=a 8=b 9- ");
    /* The database has some of them, or all. */
    assert_int_equal(replay(f, 5), 9);
    assert_string_equal(f->seen, "8=b 9- ");
    assert_int_equal(replay(f, 9), 9);
    assert_string_equal(f->seen, "");
}

static void another_database_gets_nothing(void **state)
{
    struct fixture *f = *state;
    assert_true(append(f, 5, 4, "a"));
    assert_true(append(f, 6, 5, "b"));
    assert_int_equal(replay(f, 3), 3);
    assert_string_equal(f->seen, "");
    assert_int_equal(replay(f, 100), 100);
    assert_string_equal(f->seen, "");
}

static void cleared_is_empty(void **state)
{
    struct fixture *f = *state;
    assert_true(append(f, 5, 4, "a"));
    redo_clear(f->redo);
    assert_int_equal(redo_used(f->redo), 0);
    reopen(f);
    assert_int_equal(replay(f, 4), 4);
    assert_true(append(f, 6, 4, "c"));
    assert_int_equal(replay(f, 4), 6);
    assert_string_equal(f->seen, "6=c ");
}

static void full_is_full(void **state)
{
    struct fixture *f = *state;
    uint64_t n = 0;
    while (append(f, n + 1, n, "0123456789")) {
        n++;
    }
    assert_in_range(n, 20, BYTES / 20);
    assert_true(redo_used(f->redo) <= redo_size(f->redo));
    reopen(f);
    assert_int_equal(replay(f, 0), n);
}

static void poke(const struct fixture *f, off_t at, const void *bytes, size_t len)
{
    int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void another_boot_does_not_count(void **state)
{
    struct fixture *f = *state;
    assert_true(append(f, 5, 4, "a"));
    poke(f, 16, "0000", 4); /* in the boot id */
    reopen(f);
    assert_int_equal(replay(f, 4), 4);
    reopen(f);
    assert_int_equal(replay(f, 4), 4);
}

/* Any four bytes changed: no crash, nothing beyond the file, and only whole records. */
static void damage_ends_the_replay(void **state)
{
    struct fixture *f = *state;
    for (off_t at = 56; at < 400; at++) {
        redo_clear(f->redo);
        assert_true(append(f, 5, 4, "aaaa") && append(f, 6, 5, "bbbb"));
        poke(f, at, "\xff\xff\xff\xff", 4);
        struct error err;
        uint64_t version = 4;
        f->seen[0] = '\0';
        struct fixture quiet = *f;
        (void)!redo_replay(f->redo, &version, see, &quiet, &err);
        if (at >= 220) {
            assert_int_equal(version, 6);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_appended_is_replayed),
        T(another_database_gets_nothing),
        T(cleared_is_empty),
        T(full_is_full),
        T(another_boot_does_not_count),
        T(damage_ends_the_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
