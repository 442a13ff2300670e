// SPDX-License-Identifier: Apache-2.0
//
// How a folder says how it is run: each way, their order, and what is refused.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "cli/source.h"
#include "test.h"

struct folder {
    char path[64];
};

static int setup(void **state)
{
    struct folder *f = NEW(struct folder);
    snprintf(f->path, sizeof f->path, "/tmp/lull-source-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct folder *f = *state;
    (void)!fs_remove_tree(f->path, NULL);
    free(f);
    return 0;
}

static void put(struct folder *f, const char *name, const char *text, mode_t mode)
{
    struct error err;
    CLEANUP(cleanup_free) char *path = fs_join(f->path, name);
    ASSERT_OK(fs_write_atomic(path, slice_str(text), mode, &err));
}

static void command_is(struct folder *f, const char *how, const char *json)
{
    struct source s = {0};
    struct error err;
    ASSERT_OK(source_read(f->path, &s, &err));
    assert_string_equal(s.how, how);
    CLEANUP(cleanup_free) char *text = jdump_str(s.command);
    assert_string_equal(text, json);
    source_fini(&s);
}

static void refused(struct folder *f, int code, const char *part)
{
    struct source s = {0};
    struct error err = {0};
    ASSERT_ERR(code, source_read(f->path, &s, &err));
    ASSERT_MSG(part);
}

static void test_ways_in_their_order(void **state)
{
    struct folder *f = *state;
    put(f, "run", "#!/bin/sh\n", 0755);
    command_is(f, "an executable file", "[\"./run\"]");
    put(f, "package.json", "{\"scripts\": {\"start\": \"node x.js\"}}", 0644);
    command_is(f, "package.json", "[\"/bin/sh\",\"-c\",\"exec node x.js\"]");
    put(f, "server.js", "", 0644);
    command_is(f, "server.js", "[\"node\",\"server.js\"]");
    put(f, "main.py", "", 0644);
    command_is(f, "main.py", "[\"python3\",\"-u\",\"main.py\"]");
    put(f, "Procfile", "worker: x\nweb: ./serve --port $PORT\n", 0644);
    command_is(f, "Procfile", "[\"/bin/sh\",\"-c\",\"exec ./serve --port $PORT\"]");
    put(f, "lull.yaml", "command: [./serve, \"a b\"]\nenv: {A: b}\nbuild: make\n", 0644);
    command_is(f, "lull.yaml", "[\"./serve\",\"a b\"]");
}

// A shell that stays would be a second process between us and the function; `exec` before several
// commands, or before a variable, would be wrong.
static void test_shell_commands(void **state)
{
    static const char *const ROWS[][2] = {
        {"web: gunicorn -b 0:$PORT", "exec gunicorn -b 0:$PORT"},
        {"web: cd app && ./serve", "cd app && ./serve"},
        {"web: MODE=x ./serve", "MODE=x ./serve"},
        {"web: ./serve --mode=x > log", "exec ./serve --mode=x > log"},
        {"web: (./a; ./b)", "(./a; ./b)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        CLEANUP(cleanup_free)
        char *want = xasprintf("[\"/bin/sh\",\"-c\",\"%s\"]", ROWS[i][1]);
        put(*state, "Procfile", ROWS[i][0], 0644);
        command_is(*state, "Procfile", want);
    }
    put(*state, "Procfile", "web: ./\xff\n", 0644);
    refused(*state, ERR_INVALID, "not UTF-8");
}

static void test_yaml_is_strict(void **state)
{
    static const struct {
        const char *text, *wrong;
    } cases[] = {
        {"comand: x\n", "line 1: known keys are"},
        {"env: {A: b}\n", "command is missing"},
        {"command: {a: b}\n", "line 1: command must be"},
        {"command: x\nenv: [a]\n", "line 2: env must be"},
        {"command: [a\n", "line 2:"},
        {"command: a\ncommand: b\n", "line 2: a key stands there twice"},
        {"build: a\nbuild: b\ncommand: c\n", "line 2: a key stands there twice"},
        {"- a\n", "must be a map"},
        {"", "must be a map"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put(*state, "lull.yaml", cases[i].text, 0644);
        refused(*state, ERR_INVALID, cases[i].wrong);
    }
}

static void test_nothing_says_how(void **state)
{
    struct folder *f = *state;
    refused(f, ERR_NOT_FOUND, "no executable file");
    put(f, "a", "", 0755);
    put(f, "b", "", 0755);
    refused(f, ERR_NOT_FOUND, "several executable files");
    put(f, "Procfile", "worker: x\n", 0644);
    refused(f, ERR_INVALID, "web: COMMAND");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ways_in_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shell_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_yaml_is_strict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_says_how, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
