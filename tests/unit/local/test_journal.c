// SPDX-License-Identifier: Apache-2.0
/* The journal on a real database: what counts as written survives the process, also when it is
 * killed. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "local/store/journal.h"
#include "test.h"
#include "test_loop.h"

struct rows {
    char text[2048]; /* "name@version " */
    uint64_t version;
};

static int on_row(const struct database_row *row, void *arg, struct error *err)
{
    struct rows *rows = arg;
    size_t n = strlen(rows->text);
    snprintf(rows->text + n, sizeof(rows->text) - n, "%s=%.*s ", row->name, (int)row->body.len,
             row->body.ptr);
    return 0;
}

static struct journal *open_journal(struct loop *loop, const char *path, struct rows *rows)
{
    struct journal *j;
    struct error err;
    *rows = (struct rows){0};
    ASSERT_OK(journal_open(&j, loop, path, 100, on_row, rows, &rows->version, &err));
    return j;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_journal(struct loop *loop, struct journal *j)
{
    bool closed = false;
    journal_close(j, on_closed, &closed);
    LOOP_UNTIL(loop, closed);
}

struct item {
    struct journal_write w;
    bool written, synced;
    unsigned *order; /* of `written` calls */
    unsigned place;
};

static void on_written(struct journal_write *w)
{
    struct item *item = w->data;
    assert_false(item->written);
    item->written = true;
    if (item->order != NULL) {
        item->place = ++*item->order;
    }
}

static void on_synced(struct journal_write *w)
{
    ((struct item *)w->data)->synced = true;
}

static void start(struct journal *j, struct item *item, bool machine, int64_t row, uint64_t version,
                  const char *name, const char *body)
{
    struct error err;
    item->w = (struct journal_write){.op = body == NULL ? JOURNAL_DELETE : JOURNAL_PUT,
                                     .machine = machine,
                                     .row = {.row = row,
                                             .version = version,
                                             .resource = "pods",
                                             .ns = "default",
                                             .name = name,
                                             .body = slice_str(body == NULL ? "" : body)},
                                     .data = item};
    item->written = item->synced = false;
    ASSERT_OK(journal_write(j, &item->w, on_written, &err));
    assert_false(item->written);
}

static int put(struct loop *loop, struct journal *j, bool machine, int64_t row, uint64_t version,
               const char *name, const char *body)
{
    struct item item = {0};
    start(j, &item, machine, row, version, name, body);
    LOOP_UNTIL(loop, item.written);
    return item.w.job.status;
}

/* In a child: write, and be gone the moment it counts. */
static void write_and_die(const char *path)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct loop loop;
        struct error err;
        struct rows rows;
        if (loop_init(&loop, &err) < 0) {
            _exit(1);
        }
        struct journal *j = open_journal(&loop, path, &rows);
        uint64_t v = rows.version;
        bool good = put(&loop, j, false, 1, v + 1, "user", "1") == 0 &&
                    put(&loop, j, true, 2, v + 2, "machine", "2") == 0 &&
                    put(&loop, j, true, 3, v + 3, "gone", "3") == 0 &&
                    put(&loop, j, true, 3, v + 4, "gone", NULL) == 0 &&
                    put(&loop, j, true, 1, v + 5, "user", "5") == 0;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void what_counts_survives_the_process(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "db");
    struct rows rows;
    for (int round = 0; round < 3; round++) {
        write_and_die(path);
        struct journal *j = open_journal(loop, path, &rows);
        assert_string_equal(rows.text, "user=5 machine=2 ");
        assert_int_equal(rows.version, 5 * (round + 1));
        close_journal(loop, j);
    }
    free(path);
    test_dir_remove(dir);
}

static void order_is_kept_and_all_reaches_the_database(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "db");
    struct rows rows;
    struct journal *j = open_journal(loop, path, &rows);
    struct item items[40] = {{{{{0}}}}};
    unsigned order = 0;
    for (unsigned i = 0; i < ARRAY_LEN(items); i++) {
        items[i].order = &order;
        start(j, &items[i], i % 7 != 3, 1 + i % 3, i + 1, &"abc"[i % 3], "x");
    }
    LOOP_UNTIL(loop, order == ARRAY_LEN(items));
    for (unsigned i = 0; i < ARRAY_LEN(items); i++) {
        assert_int_equal(items[i].place, i + 1);
        assert_int_equal(items[i].w.job.status, 0);
    }
    struct error err;
    ASSERT_OK(journal_sync(j, &items[3].w, on_synced, &err));
    LOOP_UNTIL(loop, items[3].synced);
    close_journal(loop, j);
    /* Without the redo log everything is there: closing has brought it into the database. */
    char *redo = xasprintf("%s-redo", path);
    assert_int_equal(unlink(redo), 0);
    free(redo);
    j = open_journal(loop, path, &rows);
    assert_string_equal(rows.text, "abc=x bc=x c=x ");
    assert_int_equal(rows.version, ARRAY_LEN(items));
    close_journal(loop, j);
    free(path);
    test_dir_remove(dir);
}

/* More than the redo log holds: the rest waits for the database. */
static void more_than_the_redo_log_holds(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "db");
    char *body = xcalloc(1, 400001);
    memset(body, 'x', 400000);
    struct rows rows;
    struct journal *j = open_journal(loop, path, &rows);
    struct item items[30] = {{{{{0}}}}};
    unsigned order = 0;
    for (unsigned i = 0; i < ARRAY_LEN(items); i++) {
        items[i].order = &order;
        start(j, &items[i], true, 1, i + 1, "big", body);
    }
    LOOP_UNTIL(loop, order == ARRAY_LEN(items));
    close_journal(loop, j);
    j = open_journal(loop, path, &rows);
    assert_int_equal(rows.version, ARRAY_LEN(items));
    close_journal(loop, j);
    free(body);
    free(path);
    test_dir_remove(dir);
}

/* The disk is full (here: files may not grow): machines' writes count all the same, and are owed.
 */
static void a_full_disk_owes_what_counts(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "db");
    struct rows rows;
    struct rlimit limit, small;
    struct journal *j = open_journal(loop, path, &rows);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(put(loop, j, true, 1, 1, "a", "1"), 0);
    assert_int_equal(put(loop, j, false, 2, 2, "b", "2"), ERR_UNAVAILABLE);
    LOOP_UNTIL(loop, !journal_is_broken(j));
    assert_int_equal(put(loop, j, true, 1, 3, "a", "3"), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(put(loop, j, false, 4, 4, "d", "4"), 0);
    close_journal(loop, j);
    j = open_journal(loop, path, &rows);
    assert_string_equal(rows.text, "a=3 d=4 ");
    assert_int_equal(rows.version, 4);
    /* Owed to the end: the next start brings it in. */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(put(loop, j, true, 5, 5, "e", "5"), 0);
    close_journal(loop, j);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    j = open_journal(loop, path, &rows);
    assert_string_equal(rows.text, "a=3 d=4 e=5 ");
    close_journal(loop, j);
    free(path);
    test_dir_remove(dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)
    const struct CMUnitTest tests[] = {
        T(what_counts_survives_the_process),
        T(order_is_kept_and_all_reaches_the_database),
        T(more_than_the_redo_log_holds),
        T(a_full_disk_owes_what_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
