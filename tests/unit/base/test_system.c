// SPDX-License-Identifier: Apache-2.0
/* Files, logs, randomness, back-off. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "test.h"

static char *temp_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = xasprintf("%s/lull-test-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void files_are_written_whole(void **state)
{
    struct error err;
    CLEANUP(cleanup_free) char *dir = temp_dir();
    CLEANUP(cleanup_free) char *path = fs_join(dir, "file");
    CLEANUP(strbuf_fini) struct strbuf text;
    struct stat st;
    strbuf_init(&text, 100);
    ASSERT_OK(fs_write_atomic(path, SLICE_LIT("one"), 0600, &err));
    ASSERT_OK(fs_write_atomic(path, SLICE_LIT("two"), 0640, &err));
    ASSERT_OK(fs_read_file(path, 100, &text, &err));
    assert_string_equal(text.ptr, "two");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    ASSERT_ERR(ERR_TOO_BIG, fs_read_file(path, 2, &text, &err));
    CLEANUP(cleanup_free) char *absent = fs_join(dir, "no/file");
    ASSERT_ERR(ERR_NOT_FOUND, fs_read_file(absent, 100, &text, &err));
    ASSERT_MSG("no/file: No such file");
    ASSERT_ERR(ERR_NOT_FOUND, fs_write_atomic(absent, SLICE_LIT("x"), 0600, &err));
    /* A folder is in the way: the temporary file goes away again. */
    CLEANUP(cleanup_free) char *sub = fs_join(dir, "sub");
    ASSERT_OK(fs_mkdir_p(sub, 0700, &err));
    assert_true(fs_write_atomic(sub, SLICE_LIT("x"), 0600, &err) < 0);
    ASSERT_OK(fs_remove_tree(sub, &err));
    ASSERT_OK(fs_remove_tree(path, &err));
    assert_int_equal(rmdir(dir), 0);
}

static void folders_are_made_and_removed(void **state)
{
    struct error err;
    CLEANUP(cleanup_free) char *dir = temp_dir();
    CLEANUP(cleanup_free) char *deep = fs_join(dir, "a/b//c/");
    CLEANUP(cleanup_free) char *file = fs_join(dir, "a/b/file");
    CLEANUP(cleanup_free) char *below = fs_join(file, "x");
    CLEANUP(cleanup_free) char *outside = temp_dir();
    CLEANUP(cleanup_free) char *keep = fs_join(outside, "keep");
    CLEANUP(cleanup_free) char *sym = fs_join(dir, "a/link");
    ASSERT_OK(fs_mkdir_p(deep, 0700, &err));
    ASSERT_OK(fs_mkdir_p(deep, 0700, &err));
    assert_true(fs_is_dir(deep));
    ASSERT_OK(fs_write_atomic(file, SLICE_LIT("x"), 0600, &err));
    assert_true(fs_mkdir_p(below, 0700, &err) < 0);
    ASSERT_OK(fs_write_atomic(keep, SLICE_LIT("x"), 0600, &err));
    assert_int_equal(symlink(outside, sym), 0);
    ASSERT_OK(fs_remove_tree(dir, &err));
    assert_false(fs_exists(dir));
    assert_true(fs_exists(keep)); /* the link went, not what it points at */
    ASSERT_OK(fs_remove_tree(dir, &err));
    ASSERT_OK(fs_remove_tree(outside, &err));
}

static void a_lock_has_one_holder(void **state)
{
    struct error err;
    CLEANUP(cleanup_free) char *dir = temp_dir();
    CLEANUP(cleanup_free) char *path = fs_join(dir, "lock");
    CLEANUP(cleanup_free) char *holder = xasprintf("is held by process %ld", (long)getpid());
    int first = -1;
    int second = -1;
    ASSERT_OK(fs_lock(path, &first, &err));
    ASSERT_ERR(ERR_IN_USE, fs_lock(path, &second, &err));
    ASSERT_MSG(holder);
    assert_int_equal(second, -1);
    assert_true((fcntl(first, F_GETFD) & FD_CLOEXEC) != 0);
    close(first);
    ASSERT_OK(fs_lock(path, &second, &err));
    close(second);
    ASSERT_OK(fs_remove_tree(dir, &err));
}

static void descriptors_change_flags(void **state)
{
    struct error err;
    CLEANUP(cleanup_close) int fd = open("/dev/null", O_RDONLY);
    ASSERT_OK(fs_set_cloexec(fd, true, &err));
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    ASSERT_OK(fs_set_nonblock(fd, true, &err));
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    ASSERT_OK(fs_set_nonblock(fd, false, &err));
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    assert_true(fs_set_cloexec(-1, true, &err) < 0);
}

/* What a call writes to stderr. */
static void capture(void (*run)(void), char *buf, size_t size)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    int saved = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    run();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], buf, size - 1);
    buf[n < 0 ? 0 : n] = '\0';
    close(fds[0]);
}

static void log_some(void)
{
    struct error err;
    error_set(&err, ERR_IO, "no \"luck\"");
    LOG_DEBUG("not shown", LOG_INT("n", 1));
    LOG_INFO("plain");
    LOG_WARN("fields", LOG_STR("s", "a\nb"), LOG_STR("none", NULL), LOG_SLICE("sl", SLICE_LIT("x")),
             LOG_INT("i", -3), LOG_UINT("u", UINT64_MAX), LOG_DBL("d", 0.5),
             LOG_DBL("nan", __builtin_nan("")), LOG_BOOL("b", true), LOG_ERR(&err));
}

static void log_lines_are_json(void **state)
{
    char text[4096];
    unsetenv("LULL_LOG");
    log_init("tester");
    capture(log_some, text, sizeof(text));
    assert_null(strstr(text, "not shown"));
    assert_non_null(
        strstr(text, "Z\",\"level\":\"info\",\"component\":\"tester\",\"msg\":\"plain\"}\n"));
    assert_non_null(strstr(text,
                           "\"msg\":\"fields\",\"s\":\"a\\nb\",\"none\":\"\",\"sl\":\"x\",\"i\":-3,"
                           "\"u\":18446744073709551615,\"d\":0.5,\"nan\":\"nan\",\"b\":true,"
                           "\"error\":\"no \\\"luck\\\"\"}\n"));
}

static void log_long(void)
{
    static char longer[9000];
    memset(longer, 'x', sizeof(longer) - 1);
    LOG_INFO("cut", LOG_STR("first", "kept"), LOG_STR("long", longer), LOG_STR("last", "lost"));
}

static void a_long_line_is_cut_at_a_field(void **state)
{
    char text[16384];
    capture(log_long, text, sizeof(text));
    assert_non_null(strstr(text, "\"msg\":\"cut\",\"first\":\"kept\",\"cut\":true}\n"));
}

static void log_at_all_levels(void)
{
    LOG_DEBUG("debug line");
    LOG_ERROR("error line");
}

static void the_level_comes_from_the_environment(void **state)
{
    char text[4096];
    setenv("LULL_LOG", "debug", 1);
    log_init("tester");
    capture(log_at_all_levels, text, sizeof(text));
    assert_non_null(strstr(text, "debug line"));
    setenv("LULL_LOG", "off", 1);
    log_init("tester");
    capture(log_at_all_levels, text, sizeof(text));
    assert_string_equal(text, "");
    log_set_level(LOG_LEVEL_INFO);
    unsetenv("LULL_LOG");
}

static void lines_are_limited(void **state)
{
    struct log_limit limit = {.dropped = 0};
    uint64_t dropped = 99;
    assert_true(log_limit(&limit, 1000, 500, &dropped));
    assert_int_equal(dropped, 0);
    assert_false(log_limit(&limit, 1001, 500, &dropped));
    assert_false(log_limit(&limit, 1499, 500, &dropped));
    assert_true(log_limit(&limit, 1500, 500, &dropped));
    assert_int_equal(dropped, 2);
}

static void randomness_has_its_ranges(void **state)
{
    struct prng a;
    struct prng b;
    char hex[12];
    unsigned seen = 0;
    prng_seed(&a, 1);
    prng_seed(&b, 1);
    for (int i = 0; i < 1000; i++) {
        assert_true(prng_next(&a) == prng_next(&b));
        uint32_t n = prng_below(&a, 10);
        assert_true(n < 10);
        seen |= 1u << n;
        prng_next(&b);
        double x = prng_double(&a);
        assert_true(x >= 0 && x < 1);
        prng_next(&b);
        uint64_t ms = random_jitter_ms(1000, 20);
        assert_true(ms >= 800 && ms <= 1200);
    }
    assert_int_equal(seen, 0x3ff);
    assert_int_equal(random_jitter_ms(7, 0), 7);
    assert_int_equal(random_jitter_ms(0, 50), 0);
    assert_int_equal(strlen(random_hex(hex, 11)), 11);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 11);
    assert_true(random_u64() != random_u64());
}

static void backoff_doubles_to_its_maximum(void **state)
{
    struct backoff b;
    backoff_init(&b, 100, 1000);
    static const uint64_t want[] = {100, 200, 400, 800, 1000, 1000};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(want); i++) {
            uint64_t ms = backoff_next_ms(&b);
            assert_true(ms >= want[i] * 8 / 10 && ms <= want[i] * 12 / 10);
        }
        backoff_reset(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_written_whole),
        cmocka_unit_test(folders_are_made_and_removed),
        cmocka_unit_test(a_lock_has_one_holder),
        cmocka_unit_test(descriptors_change_flags),
        cmocka_unit_test(log_lines_are_json),
        cmocka_unit_test(a_long_line_is_cut_at_a_field),
        cmocka_unit_test(the_level_comes_from_the_environment),
        cmocka_unit_test(lines_are_limited),
        cmocka_unit_test(randomness_has_its_ranges),
        cmocka_unit_test(backoff_doubles_to_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
