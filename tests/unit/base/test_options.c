// SPDX-License-Identifier: Apache-2.0
#include "base/options.h"
#include "test.h"

struct config {
    char *listen;
    char *secret;
    char *extra;
    bool verbose;
    int64_t backlog;
    double ratio;
    uint64_t drain_ms;
    uint64_t memory_bytes;
    int mode;
};

static const struct option_row rows[] = {
    OPTION(struct config, listen, STRING, "LULL_LISTEN", "listen", "127.0.0.1:80",
           .help = "where to listen"),
    OPTION(struct config, secret, STRING, "LULL_SECRET", NULL, NULL, .secret = true,
           .help = "the secret"),
    OPTION(struct config, extra, STRING, "LULL_EXTRA", "extra", NULL, .optional = true,
           .also = "more", .help = "more"),
    OPTION(struct config, verbose, BOOL, "LULL_VERBOSE", "verbose", "false", .help = "say more"),
    OPTION(struct config, backlog, INT, NULL, "backlog", "10", .min = 1, .max = 100,
           .help = "backlog"),
    OPTION(struct config, ratio, DOUBLE, "LULL_RATIO", "ratio", "0.7", .min = 0, .max = 1,
           .help = "ratio"),
    OPTION(struct config, drain_ms, DURATION_MS, "LULL_DRAIN", "drain", "30s", .min = 0,
           .max = 60000, .help = "longest drain"),
    OPTION(struct config, memory_bytes, BYTES, "LULL_MEMORY", "memory", "64Mi",
           .help = "memory | bytes"),
    OPTION(struct config, mode, CHOICE, "LULL_MODE", "mode", "ip", .choices = "ip|unix",
           .help = "how to dial"),
};

static const struct option_table table = {
    .program = "lull-x", .summary = "does x", .rows = rows, .count = ARRAY_LEN(rows)};

static const char *env_one(const char *name)
{
    return strcmp(name, "LULL_SECRET") == 0    ? "s3cret"
           : strcmp(name, "LULL_LISTEN") == 0  ? "unix:/x"
           : strcmp(name, "LULL_VERBOSE") == 0 ? "true"
           : strcmp(name, "LULL_RATIO") == 0   ? ""
                                               : NULL;
}

static const char *env_none(const char *name)
{
    return NULL;
}

struct result {
    struct config config;
    struct options_result out;
    struct strbuf problems;
    int rc;
};

static void run(struct result *r, const struct option_table *t,
                const char *(*env)(const char *name), const char *const *args)
{
    char *argv[16] = {(char *)(uintptr_t) "lull-x"};
    int argc = 1;
    for (; args[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    }
    *r = (struct result){.rc = 0};
    strbuf_init(&r->problems, 4096);
    r->rc = options_parse(t, argc, argv, env, &r->config, &r->out, &r->problems);
}

static void end(struct result *r)
{
    options_fini(&table, &r->config);
    strbuf_fini(&r->problems);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void defaults_environment_flags(void **state)
{
    struct result r;
    run(&r, &table, env_one, ARGS());
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.config.listen, "unix:/x");
    assert_string_equal(r.config.secret, "s3cret");
    assert_null(r.config.extra);
    assert_true(r.config.verbose);
    assert_int_equal(r.config.backlog, 10);
    assert_true(r.config.ratio == 0.7); /* an empty variable is as good as none */
    assert_int_equal(r.config.drain_ms, 30000);
    assert_int_equal(r.config.memory_bytes, 64 << 20);
    assert_int_equal(r.config.mode, 0);
    end(&r);
    run(&r, &table, env_one,
        ARGS("--listen", ":1", "--no-verbose", "--backlog=7", "--drain=1m", "--mode", "unix"));
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.config.listen, ":1");
    assert_false(r.config.verbose);
    assert_int_equal(r.config.backlog, 7);
    assert_int_equal(r.config.drain_ms, 60000);
    assert_int_equal(r.config.mode, 1);
    end(&r);
}

static void another_name_counts_as_the_first(void **state)
{
    struct result r;
    struct strbuf help;
    run(&r, &table, env_one, ARGS("--more", "a"));
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.config.extra, "a");
    end(&r);
    strbuf_init(&help, 65536);
    options_help(&table, &help);
    assert_non_null(strstr(help.ptr, "  --extra TEXT, --more\n"));
    strbuf_fini(&help);
}

static void all_problems_at_once(void **state)
{
    struct result r;
    run(&r, &table, env_none,
        ARGS("--nonsense", "--backlog=101", "--ratio=x", "--drain=-1s", "--memory=1MB", "--mode=z",
             "--verbose=maybe", "--no-mode", "stray"));
    assert_int_equal(r.rc, ERR_INVALID);
    assert_string_equal(r.problems.ptr, "--nonsense: no such option (see --help)\n"
                                        "--no-mode: no such option (see --help)\n"
                                        "stray: no arguments are expected here (see --help)\n"
                                        "LULL_SECRET: missing: the secret\n"
                                        "--verbose: \"maybe\" is not true or false\n"
                                        "--backlog: 101 is outside 1 to 100\n"
                                        "--ratio: \"x\" is not a number (allowed: 0 to 1)\n"
                                        "--drain: -1000 ms is outside 0 to 60000 ms\n"
                                        "--memory: \"1MB\" is not a quantity like 100m, 2 or 64Mi\n"
                                        "--mode: \"z\" is not one of ip|unix\n");
    assert_null(r.config.listen); /* released again */
    end(&r);
    run(&r, &table, env_one, ARGS("--listen"));
    assert_int_equal(r.rc, ERR_INVALID);
    assert_string_equal(r.problems.ptr, "--listen: a value is missing\n");
    end(&r);
    run(&r, &table, env_one, ARGS("--backlog=many", "--drain=5"));
    assert_int_equal(r.rc, ERR_INVALID);
    assert_string_equal(r.problems.ptr,
                        "--backlog: \"many\" is not a whole number (allowed: 1 to 100)\n"
                        "--drain: \"5\" is not a duration like 90s, 1m30s or 300ms (allowed: 0 to "
                        "60000 ms)\n");
    end(&r);
}

static void arguments_and_help(void **state)
{
    struct result r;
    struct option_table with_arguments = table;
    with_arguments.arguments = "NAME";
    run(&r, &with_arguments, env_one, ARGS("--verbose", "name", "--not-ours"));
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.out.argi, 2);
    end(&r);
    run(&r, &with_arguments, env_one, ARGS("--", "--name"));
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.out.argi, 2);
    end(&r);
    run(&r, &table, env_none, ARGS("--help", "--nonsense"));
    assert_int_equal(r.rc, 0);
    assert_true(r.out.help);
    end(&r);
}

static void help_and_reference_show_every_row(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf help;
    CLEANUP(strbuf_fini) struct strbuf markdown;
    strbuf_init(&help, 8192);
    strbuf_init(&markdown, 8192);
    options_help(&table, &help);
    options_markdown(&table, &markdown);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_non_null(strstr(help.ptr, rows[i].flag != NULL ? rows[i].flag : rows[i].env));
        assert_non_null(strstr(markdown.ptr, rows[i].flag != NULL ? rows[i].flag : rows[i].env));
    }
    assert_non_null(
        strstr(help.ptr, "  --drain DURATION\n        longest drain (0 to 60000 ms) (default 30s) "
                         "[LULL_DRAIN]\n"));
    assert_non_null(strstr(markdown.ptr, "| `LULL_MEMORY` | `--memory` | `SIZE` | `64Mi` | memory "
                                         "\\| bytes |\n"));
    assert_non_null(
        strstr(markdown.ptr, "| `LULL_SECRET` |  | `TEXT` | required | the secret |\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_environment_flags),
        cmocka_unit_test(another_name_counts_as_the_first),
        cmocka_unit_test(all_problems_at_once),
        cmocka_unit_test(arguments_and_help),
        cmocka_unit_test(help_and_reference_show_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
