// SPDX-License-Identifier: Apache-2.0
/*
 * Schedules and time zones. cron.tsv has runs that the parser of Knative gives for the same texts
 * (zone, schedule, after, the next four; "-": none), zones whose clock changes by one hour; the
 * zones' files are those of the fuzz corpus, so that the system's do not matter.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
#include "eventing/cron.h"
#include "test.h"

static const char *golden, *corpus; /* from the command line */

static struct zone zone_of(struct slice name)
{
    struct zone zone = {0};
    struct error err = {0};
    char path[512];
    if (slice_eq_str(name, "UTC")) {
        return zone;
    }
    CLEANUP(strbuf_fini) struct strbuf file;
    snprintf(path, sizeof(path), "%s/zone-%.*s", corpus, SLICE_FMT(name));
    for (char *c = path + strlen(corpus) + 1; *c != '\0'; c++) {
        *c = *c == '/' ? '_' : *c;
    }
    strbuf_init(&file, ZONE_FILE_MAX);
    if (fs_read_file(path, ZONE_FILE_MAX, &file, &err) < 0 ||
        zone_parse(slice_sub(strbuf_slice(&file), 1, file.len - 1), &zone, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return zone;
}

static struct cron cron_of(struct slice text)
{
    struct cron cron = {0};
    struct error err = {0};
    if (cron_parse(text, &cron, &err) < 0) {
        fail_msg("%.*s: %s", SLICE_FMT(text), err.msg);
    }
    return cron;
}

static void check_line(struct slice line)
{
    struct slice rest = line, name = SLICE_EMPTY, text = SLICE_EMPTY, word = SLICE_EMPTY;
    int64_t at = 0;
    assert_true(slice_split(&rest, '\t', &name) && slice_split(&rest, '\t', &text) &&
                slice_split(&rest, '\t', &word));
    assert_int_equal(num_parse_i64(word, 0, INT64_MAX, &at, NULL), 0);
    struct zone zone = zone_of(name);
    struct cron cron = cron_of(text);
    while (slice_split(&rest, '\t', &word)) {
        int64_t want = -1, got = -1, last = -1;
        bool some = cron_next(&cron, &zone, at, &got);
        if (!slice_eq_str(word, "-")) {
            assert_int_equal(num_parse_i64(word, 0, INT64_MAX, &want, NULL), 0);
        }
        if (some != (want >= 0) || (some && got != want)) {
            fail_msg("%.*s: after %lld: got %lld", SLICE_FMT(line), (long long)at, (long long)got);
        }
        if (some) {
            assert_true(cron_last(&cron, &zone, at, got + 1, &last) && last >= got);
            assert_false(cron_last(&cron, &zone, at, got - 1, &last));
        }
        at = got;
    }
    zone_fini(&zone);
}

static void runs_are_those_of_the_reference(void **state)
{
    (void)state;
    CLEANUP(strbuf_fini) struct strbuf file;
    struct error err = {0};
    size_t n = 0;
    strbuf_init(&file, 1 << 20);
    assert_int_equal(fs_read_file(golden, 1 << 20, &file, &err), 0);
    struct slice rest = strbuf_slice(&file), line;
    while (slice_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            check_line(line);
            n++;
        }
    }
    assert_true(n > 500);
}

static int64_t seconds(const char *text)
{
    int64_t ns = 0;
    assert_int_equal(clock_parse_rfc3339(slice_str(text), &ns, NULL), 0);
    return ns / (int64_t)CLOCK_NS_PER_S;
}

/* What the clock passes over is no run, what it shows twice is two; also where it changes by
 * another time than an hour, or a whole day is missing. */
static void clocks_that_change(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *text, *after, *want[3];
    } rows[] = {
        {"Europe/Berlin",
         "30 2 * * *",
         "2025-03-29T12:00:00Z",
         {"2025-03-31T00:30:00Z", "2025-04-01T00:30:00Z", NULL}},
        {"Europe/Berlin",
         "30 2 * * *",
         "2025-10-25T12:00:00Z",
         {"2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z", "2025-10-27T01:30:00Z"}},
        {"America/New_York",
         "0 12 29 2 *",
         "2024-03-01T00:00:00Z",
         {"2028-02-29T17:00:00Z", "2032-02-29T17:00:00Z", NULL}},
        {"Australia/Lord_Howe",
         "0 0 * * *",
         "2025-04-05T14:10:00Z",
         {"2025-04-06T13:30:00Z", "2025-04-07T13:30:00Z", NULL}},
        {"Australia/Lord_Howe",
         "15 2 * * *",
         "2025-10-04T12:00:00Z",
         {"2025-10-05T15:15:00Z", "2025-10-06T15:15:00Z", NULL}},
        {"Antarctica/Troll",
         "30 2 * * *",
         "2025-10-25T23:30:00Z",
         {"2025-10-26T00:30:00Z", "2025-10-26T02:30:00Z", NULL}},
        {"Pacific/Apia",
         "0 12 * * *",
         "2011-12-29T12:00:00Z",
         {"2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z", "2011-12-31T22:00:00Z"}},
        {"Europe/Berlin",
         "0 3 * * *",
         "2150-03-28T12:00:00Z",
         {"2150-03-29T01:00:00Z", "2150-03-30T01:00:00Z", NULL}},
        {"UTC", "0 0 30 2 *", "2025-01-01T00:00:00Z", {NULL}},
        {"UTC", ", * * * *", "2025-01-01T00:00:00Z", {NULL}},
        {"UTC", "0 0 29 2 *", "2096-03-01T00:00:00Z", {NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct zone zone = zone_of(slice_str(rows[i].zone));
        struct cron cron = cron_of(slice_str(rows[i].text));
        int64_t at = seconds(rows[i].after);
        for (size_t k = 0; k < 3 && (k == 0 || rows[i].want[k] != NULL); k++) {
            int64_t got = 0;
            char text[CLOCK_RFC3339_MAX] = "none";
            if (cron_next(&cron, &zone, at, &got)) {
                clock_format_rfc3339(got * (int64_t)CLOCK_NS_PER_S, 0, text, sizeof(text));
            }
            assert_string_equal(text, rows[i].want[k] == NULL ? "none" : rows[i].want[k]);
            at = got;
        }
        zone_fini(&zone);
    }
}

static void refusals_have_the_references_words(void **state)
{
    (void)state;
#define ATOI(s, why) "failed to parse int from " s ": strconv.Atoi: parsing \"" s "\": " why
    static const char *const rows[][2] = {
        {"", "empty spec string"},
        {"* * *", "expected 5 to 6 fields, found 3: [* * *]"},
        {"* * * * * * *", "expected 5 to 6 fields, found 7: [* * * * * * *]"},
        {"60 * * * *", "end of range (60) above maximum (59): 60"},
        {"* 24 * * *", "end of range (24) above maximum (23): 24"},
        {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
        {"* * * 13 *", "end of range (13) above maximum (12): 13"},
        {"* * * * 7", "end of range (7) above maximum (6): 7"},
        {"5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"},
        {"*/0 * * * *", "step of range should be a positive number: */0"},
        {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
        {"1/2/3 * * * *", "too many slashes: 1/2/3"},
        {"a * * * *", ATOI("a", "invalid syntax")},
        {"-1 * * * *", ATOI("", "invalid syntax")},
        {"*/-5 * * * *", "negative number (-5) not allowed: -5"},
        {"* * * foo *", ATOI("foo", "invalid syntax")},
        {"* * * * mon-fri-sat", "too many hyphens: mon-fri-sat"},
        {"@never", "unrecognized descriptor: @never"},
        {"@Daily", "unrecognized descriptor: @Daily"},
        {"TZ=UTC 0 0 * * *", ATOI("TZ=UTC", "invalid syntax")},
        {"99999999999999999999 * * * *", ATOI("99999999999999999999", "value out of range")},
        {"80/5 * * * *", "beginning of range (80) beyond end of range (59): 80/5"},
        {"* * L * *", ATOI("L", "invalid syntax")},
    };
    static const char *const good[] = {
        ", * * * *", "1,,2 * * * *",         "*-5 * * * *", "+5 * * * *", "\t1\t2 * *   *",
        "@hourly",   "* * * jan-MAR SunDAY", "? ? ? ? ?",   "@yearly",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct cron cron = {.second = 7};
        assert_int_equal(cron_parse(slice_str(rows[i][0]), &cron, &err), ERR_INVALID);
        assert_string_equal(err.msg, rows[i][1]);
        assert_int_equal(cron.second, 7);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct cron cron;
        int rc = cron_parse(slice_str(good[i]), &cron, NULL);
        assert_int_equal(rc, strstr(good[i], "SunDAY") != NULL ? ERR_INVALID : 0);
    }
}

static void zones_before_a_schedule(void **state)
{
    (void)state;
    struct slice text = SLICE_LIT("CRON_TZ=Europe/Berlin   0 3 * * *");
    struct slice zone = cron_take_zone(&text);
    assert_true(slice_eq_str(zone, "Europe/Berlin") && slice_eq_str(text, "0 3 * * *"));
    text = SLICE_LIT("TZ=UTC");
    zone = cron_take_zone(&text);
    assert_true(slice_eq_str(zone, "UTC") && text.len == 0);
    text = SLICE_LIT("0 3 * * *");
    assert_true(cron_take_zone(&text).len == 0 && text.len == 9);
}

static void zones_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {"Mars/Olympus", "../passwd", "/etc/localtime",
                                      "Europe",       "a b",       "Europe/../Europe/Berlin"};
    struct zone zone = {0};
    int64_t until = 0;
    assert_int_equal(zone_load("UTC", &zone, NULL), 0);
    assert_true(zone_offset(&zone, 0, &until) == 0 && until == INT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        char want[128];
        snprintf(want, sizeof(want), "unknown time zone %s", bad[i]);
        assert_int_equal(zone_load(bad[i], &zone, &err), ERR_NOT_FOUND);
        assert_string_equal(err.msg, want);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_those_of_the_reference),
        cmocka_unit_test(clocks_that_change),
        cmocka_unit_test(refusals_have_the_references_words),
        cmocka_unit_test(zones_before_a_schedule),
        cmocka_unit_test(zones_by_name),
    };
    REQUIRE(argc == 3);
    golden = argv[1];
    corpus = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
