// SPDX-License-Identifier: Apache-2.0
/* The bytes of the stat link. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serving/stat.h"
#include "activator/report.h"
#include "test.h"

#define N 900

struct seen {
    uint32_t parts;
    uint32_t next;
    uint32_t messages;
    double concurrency;
    double count;
};

static uint32_t u16(const char *at)
{
    return (uint32_t)(unsigned char)at[0] << 8 | (unsigned char)at[1];
}

static void on_part(void *arg, struct slice payload)
{
    struct seen *s = arg;
    struct error err;
    assert_true(payload.len >= 12);
    assert_int_equal(payload.ptr[7], 42);
    assert_int_equal(u16(payload.ptr + 8), s->next++);
    s->parts = u16(payload.ptr + 10);
    struct stat_reader reader = {.rest = slice_sub(payload, 12, payload.len)};
    struct stat_message m;
    while (stat_reader_next(&reader, &m, &err) == 1) {
        ASSERT_SLICE(m.namespace_name, "default");
        ASSERT_SLICE(m.sample.pod_name, "activator-1");
        s->messages++;
        s->concurrency += m.sample.concurrency;
        s->count += m.sample.request_count;
    }
    assert_int_equal(reader.rest.len, 0);
    assert_int_equal(reader.dropped, 0);
}

static void run(int revisions, uint32_t min_parts)
{
    static const struct throttler_limits limits = {
        .max_held_per_revision = 10, .max_held = 10000, .max_held_bytes = 1 << 30, .hold_ms = 1000};
    struct throttler t;
    struct ticket *tk = calloc(N, sizeof(*tk));
    throttler_init(&t, &limits, 1);
    for (int i = 0; i < revisions; i++) {
        char name[64];
        snprintf(name, sizeof(name), "a-function-with-a-rather-long-name-%05d", i);
        struct revision *r = throttler_revision(&t, SLICE_LIT("default"), slice_str(name), true);
        assert_int_equal(throttler_admit(&t, r, &tk[i], 1, CLOCK_NS_PER_S), ADMIT_HELD);
    }
    struct report_source source = {
        .name = "activator-1", .uptime_s = 5, .seq = 42, .now_ns = 2 * CLOCK_NS_PER_S};
    struct seen seen = {0};
    report_stats(&t, &source, on_part, &seen);
    assert_int_equal(seen.messages, revisions);
    assert_int_equal(seen.parts, seen.next);
    assert_true(seen.parts >= min_parts);
    assert_true(seen.concurrency == revisions);
    assert_true(seen.count == revisions);
    for (int i = 0; i < revisions; i++) {
        throttler_cancel(&t, &tk[i], 2 * CLOCK_NS_PER_S);
    }
    throttler_fini(&t);
    free(tk);
}

static void test_stats(void **state)
{
    run(3, 1);
}

/* An empty report is a report: everything is at 0. */
static void test_nothing(void **state)
{
    run(0, 1);
}

static void test_parts(void **state)
{
    run(N, 2);
}

static void test_poke_and_hello(void **state)
{
    struct revision r = {.ns = SLICE_LIT("ns"), .name = SLICE_LIT("rev")};
    struct report_source source = {.name = "a", .uptime_s = 1};
    struct error err;
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, 4096);
    report_poke(&r, &source, &s);
    struct stat_reader reader = {.rest = strbuf_slice(&s)};
    struct stat_message m;
    assert_int_equal(stat_reader_next(&reader, &m, &err), 1);
    ASSERT_SLICE(m.name, "rev");
    assert_true(m.sample.concurrency == 1.0 && m.sample.request_count == 1.0);
    strbuf_clear(&s);
    report_hello("me", "b00t", &s);
    assert_string_equal(s.ptr, "{\"name\":\"me\",\"boot\":\"b00t\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_poke_and_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
