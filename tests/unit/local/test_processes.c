// SPDX-License-Identifier: Apache-2.0
/* Process groups of /proc: lines as the kernel writes them, a made-up /proc, and this very process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "local/agent/processes.h"
#include "test.h"

#define REST \
    "0 -1 4194304 109 7 0 0 150 50 30 20 20 0 3 0 5000 25165824 1234 18446744073709551615 1 2"

static void stat_lines(void **state)
{
    struct process_stat stat;
    assert_true(processes_parse_stat(SLICE_LIT("42 (a (b) c) S 1 40 40 " REST "\n"), &stat));
    assert_int_equal(stat.pgid, 40);
    assert_int_equal(stat.cpu_ticks, 250);
    assert_int_equal(stat.start_ticks, 5000);
    assert_int_equal(stat.rss_pages, 1234);
    static const char *const bad[] = {
        "", "42", "42 (x", "42 (x)", "42 (x) S", "42 (x) S 1 40 40 0", ("42 (x) S 1 a 40 " REST)};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(processes_parse_stat(slice_str(bad[i]), &stat));
    }
}

static void pss_lines(void **state)
{
    assert_int_equal(processes_parse_pss(SLICE_LIT("0-1 ---p 0 00:00 0 [rollup]\nRss:  9 kB\n"
                                                   "Pss:               12 kB\nPss_Dirty: 3 kB\n")),
                     12 * 1024);
    assert_int_equal(processes_parse_pss(SLICE_LIT("Rss: 9 kB\n")), -1);
    assert_int_equal(processes_parse_pss(SLICE_LIT("")), -1);
}

static void put(const char *folder, const char *pid, const char *name, const char *text)
{
    struct error err;
    CLEANUP(cleanup_free) char *dir = fs_join(folder, pid);
    CLEANUP(cleanup_free) char *path = fs_join(dir, name);
    ASSERT_OK(fs_mkdir_p(dir, 0700, &err));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void groups_are_added_up(void **state)
{
    char folder[] = "/tmp/lull-proc-XXXXXX";
    struct error err;
    assert_non_null(mkdtemp(folder));
    put(folder, "40", "stat", "40 (f) S 1 40 40 " REST);
    put(folder, "40", "smaps_rollup", "Pss: 100 kB\n");
    put(folder, "41", "stat", "41 (g) R 40 40 40 " REST);
    put(folder, "50", "stat", "50 (other) R 1 50 50 " REST);
    put(folder, "60", "stat", "60 (proxy) R 1 60 60 " REST);
    put(folder, "60", "smaps_rollup", "Pss: 7 kB\n");
    put(folder, "self", "stat", "40 (f) S 1 40 40 " REST);
    struct process_group groups[] = {{.pgid = 40}, {.pgid = 45}, {.pgid = 60}};
    processes_read(folder, groups, 3);
    int64_t ticks_ns = 1000000000 / sysconf(_SC_CLK_TCK);
    assert_int_equal(groups[0].processes, 2);
    assert_int_equal(groups[0].cpu_ns, 500 * ticks_ns);
    assert_int_equal(groups[0].memory_bytes, 100 * 1024 + 1234 * sysconf(_SC_PAGESIZE));
    assert_int_equal(groups[1].processes, 0);
    assert_int_equal(groups[2].memory_bytes, 7 * 1024);
    (void)!fs_remove_tree(folder, &err);
}

static void this_process_is_there(void **state)
{
    struct process_group group = {.pgid = getpgrp()};
    processes_read("/proc", &group, 1);
    assert_true(group.processes >= 1);
    assert_true(group.memory_bytes > 64 * 1024);
    assert_true(group.age_ns >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_lines),
        cmocka_unit_test(pss_lines),
        cmocka_unit_test(groups_are_added_up),
        cmocka_unit_test(this_process_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
