// SPDX-License-Identifier: Apache-2.0
// Log files read back: whole, with times, since a time, in pieces, from their end.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "local/agent/log_entries.h"
#include "test.h"

#define T(second) "2026-01-02T03:04:0" second ".000000000Z"
#define F(second) T(second) " stdout F "
#define P(second) T(second) " stdout P "

static const char FILE_TEXT[] =
    F("1") "one\n" P("2") "tw\n" F("3") "o\n" F("4") "\n" F("5") "four\n";

// In pieces of `step` bytes, as a file that grows.
static void read_as(struct log_reader r, const char *text, size_t step, const char *want)
{
    char buf[4096], got[4096];
    size_t have = 0, len = 0, total = strlen(text), out;

    for (size_t at = 0; at < total;) {
        size_t n = total - at < step ? total - at : step;
        memcpy(buf + have, text + at, n);
        at += n;
        have += n;
        size_t done = log_read(&r, buf, have, false, &out);
        memcpy(got + len, buf, out);
        len += out;
        // What was given stands at the beginning now: the rest comes from the file again.
        have -= done;
        memcpy(buf, text + at - have, have);
    }
    (void)log_read(&r, buf, have, true, &out);
    memcpy(got + len, buf, out);
    got[len + out] = '\0';
    assert_string_equal(got, want);
}

static void test_read(void **state)
{
    for (size_t step = 1; step < sizeof FILE_TEXT; step++) {
        read_as((struct log_reader){0}, FILE_TEXT, step, "one\ntwo\n\nfour\n");
    }
    read_as((struct log_reader){.timestamps = true}, FILE_TEXT, 50,
            T("1") " one\n" T("2") " two\n" T("4") " \n" T("5") " four\n");
    read_as((struct log_reader){.since = T("4")}, FILE_TEXT, 50, "\nfour\n");
    read_as((struct log_reader){.since = T("9")}, FILE_TEXT, 50, "");
    read_as((struct log_reader){0}, P("1") "no end", 7, "no end");
    // Lines of another form are given as they are.
    read_as((struct log_reader){.timestamps = true}, "raw\n" F("1") "one\nshort", 5,
            "raw\n" T("1") " one\nshort");
    read_as((struct log_reader){0}, "2026-01-02T03:04:05.000000000Z stderr F x\n", 90,
            "2026-01-02T03:04:05.000000000Z stderr F x\n");
}

static void tail_is(const char *text, int64_t lines, const char *want, int64_t missing)
{
    char path[] = "/tmp/lull-test-log.XXXXXX";
    CLEANUP(cleanup_close) int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)unlink(path);
    assert_string_equal(text + log_tail(fd, (off_t)strlen(text), &lines), want);
    assert_int_equal(lines, missing);
}

static void test_tail(void **state)
{
    char big[3 * 4096];

    tail_is(FILE_TEXT, 0, "", 0);
    tail_is(FILE_TEXT, 1, F("5") "four\n", 0);
    tail_is(FILE_TEXT, 2, F("4") "\n" F("5") "four\n", 0);
    tail_is(FILE_TEXT, 3, P("2") "tw\n" F("3") "o\n" F("4") "\n" F("5") "four\n", 0);
    tail_is(FILE_TEXT, 4, FILE_TEXT, 0);
    tail_is(FILE_TEXT, 6, FILE_TEXT, 2);
    tail_is("", 3, "", 3);
    tail_is(F("1") "one\n" P("2") "begun\n", 1, P("2") "begun\n", 0);
    tail_is(F("1") "one\n" P("2") "begun\n", 2, F("1") "one\n" P("2") "begun\n", 0);
    tail_is("raw\nlines\n", 1, "lines\n", 0);
    // An entry that is longer than what is looked at in one piece.
    memset(big, 'x', sizeof big);
    memcpy(big, F("1") "one\n" F("2"), 2 * strlen(F("1")) + 4);
    memcpy(big + sizeof big - 2, "\n", 2);
    tail_is(big, 1, big + strlen(F("1")) + 4, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_tail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
