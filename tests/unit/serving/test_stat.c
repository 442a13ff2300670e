// SPDX-License-Identifier: Apache-2.0
/* Stats: the bytes are Knative's protobuf form; nothing malformed or incredible comes through. */
#include <math.h>

#include "serving/stat.h"
#include "test.h"

/* pod_name "p", average_concurrent_requests 1.5, request_count 3, timestamp 5 */
#define SAMPLE_BYTES "\x0a\x01p\x11\0\0\0\0\0\0\xf8\x3f\x21\0\0\0\0\0\0\x08\x40\x38\x05"
#define BYTES(lit)   slice_of("" lit, sizeof(lit) - 1)

static struct stat_message message(const char *ns, const char *name, double concurrency)
{
    return (struct stat_message){.namespace_name = slice_str(ns),
                                 .name = slice_str(name),
                                 .sample = {.pod_name = SLICE_LIT("activator-1"),
                                            .concurrency = concurrency,
                                            .request_count = 2}};
}

static void encodes_known_bytes(void **state)
{
    struct stat_sample s = {
        .pod_name = SLICE_LIT("p"), .concurrency = 1.5, .request_count = 3, .timestamp = 5};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    assert_int_equal(stat_encode(&s, &out, NULL), 0);
    assert_int_equal(out.len, sizeof(SAMPLE_BYTES) - 1);
    assert_memory_equal(out.ptr, SAMPLE_BYTES, out.len);

    struct stat_sample back;
    assert_int_equal(stat_decode(strbuf_slice(&out), &back, NULL), 0);
    assert_true(slice_eq_str(back.pod_name, "p"));
    assert_true(back.concurrency == 1.5 && back.request_count == 3 && back.timestamp == 5);
    assert_true(back.proxied_concurrency == 0 && back.process_uptime_s == 0);
}

static void all_fields_come_back(void **state)
{
    struct stat_sample s = {.pod_name = SLICE_LIT("pod"),
                            .concurrency = 0.1,
                            .proxied_concurrency = 1e-9,
                            .request_count = 1e9,
                            .proxied_request_count = 7,
                            .process_uptime_s = 86400.25,
                            .timestamp = -1};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, STAT_SAMPLE_BYTES);
    assert_int_equal(stat_encode(&s, &out, NULL), 0);
    struct stat_sample back;
    assert_int_equal(stat_decode(strbuf_slice(&out), &back, NULL), 0);
    assert_true(back.concurrency == 0.1 && back.proxied_concurrency == 1e-9);
    assert_true(back.request_count == 1e9 && back.proxied_request_count == 7);
    assert_true(back.process_uptime_s == 86400.25 && back.timestamp == -1);
}

static void an_idle_sample_is_empty(void **state)
{
    struct stat_sample s = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    assert_int_equal(stat_encode(&s, &out, NULL), 0);
    assert_int_equal(out.len, 0);
    struct stat_sample back = {.concurrency = 1};
    assert_int_equal(stat_decode(SLICE_EMPTY, &back, NULL), 0);
    assert_true(back.concurrency == 0);
}

static void messages_follow_one_another(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    struct stat_message a = message("default", "hello-00001", 1);
    struct stat_message b = message("other", "slow-00002", 0.25);
    assert_int_equal(stat_message_append(&a, &out, NULL), 0);
    assert_int_equal(stat_message_append(&b, &out, NULL), 0);

    struct stat_reader r = {.rest = strbuf_slice(&out)};
    struct stat_message got;
    assert_int_equal(stat_reader_next(&r, &got, NULL), 1);
    assert_true(slice_eq_str(got.namespace_name, "default"));
    assert_true(slice_eq_str(got.name, "hello-00001"));
    assert_true(slice_eq_str(got.sample.pod_name, "activator-1"));
    assert_int_equal(stat_reader_next(&r, &got, NULL), 1);
    assert_true(slice_eq_str(got.name, "slow-00002") && got.sample.concurrency == 0.25);
    assert_int_equal(stat_reader_next(&r, &got, NULL), 0);
    assert_int_equal(r.dropped, 0);
}

static void a_full_part_takes_nothing(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 60);
    struct stat_message m = message("default", "hello-00001", 1);
    assert_int_equal(stat_message_append(&m, &out, NULL), 0);
    size_t len = out.len;
    assert_int_equal(stat_message_append(&m, &out, NULL), ERR_TOO_BIG);
    assert_int_equal(out.len, len);
    assert_true(strbuf_ok(&out));
}

static void names_have_a_limit(void **state)
{
    char name[STAT_NAME_MAX + 2];
    memset(name, 'a', sizeof(name));
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    struct stat_message m = message("n", "x", 1);
    m.namespace_name = slice_of(name, STAT_NAMESPACE_MAX);
    m.name = slice_of(name, STAT_NAME_MAX);
    m.sample = (struct stat_sample){slice_of(name, STAT_NAME_MAX), 1, 2, 3, 4, 5, -1};
    assert_int_equal(stat_message_append(&m, &out, NULL), 0);
    assert_true(out.len <= STAT_MESSAGE_BYTES);
    m.name.len++;
    assert_int_equal(stat_message_append(&m, &out, NULL), ERR_TOO_BIG);
    m.name.len--;
    m.sample.pod_name.len++;
    assert_int_equal(stat_message_append(&m, &out, NULL), ERR_TOO_BIG);
}

static void incredible_numbers_are_dropped(void **state)
{
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1e-300, 1.1e9};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 8192);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct stat_message m = message("ns", "rev", bad[i]);
        assert_int_equal(stat_message_append(&m, &out, NULL), 0);
        m = message("ns", "rev", 0);
        m.sample.proxied_request_count = bad[i];
        assert_int_equal(stat_message_append(&m, &out, NULL), 0);
    }
    struct stat_message nameless = message("ns", "", 1);
    assert_int_equal(stat_message_append(&nameless, &out, NULL), 0);
    struct stat_message good = message("ns", "good", 4);
    assert_int_equal(stat_message_append(&good, &out, NULL), 0);

    struct stat_reader r = {.rest = strbuf_slice(&out)};
    struct stat_message got;
    assert_int_equal(stat_reader_next(&r, &got, NULL), 1);
    assert_true(slice_eq_str(got.name, "good"));
    assert_int_equal(r.dropped, 2 * ARRAY_LEN(bad) + 1);
    assert_int_equal(stat_reader_next(&r, &got, NULL), 0);

    struct stat_sample s = {.concurrency = (double)NAN};
    strbuf_clear(&out);
    assert_int_equal(stat_encode(&s, &out, NULL), 0);
    assert_int_equal(stat_decode(strbuf_slice(&out), &s, NULL), ERR_INVALID);
}

static void malformed_bytes_are_refused(void **state)
{
    static const struct {
        const char *name;
        struct slice bytes;
    } rows[] = {
        {"a text longer than the rest", {"\x0a\x05p", 3}},
        {"a cut number", {"\x11\0\0", 3}},
        {"a cut tag", {"\x80", 1}},
        {"an endless varint", {"\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}},
        {"field number 0", {"\x02\x00", 2}},
        {"a group", {"\x0b\x0c", 2}},
        {"a number where text belongs", {"\x08\x01", 2}},
        {"text where a number belongs", {"\x12\x01x", 3}},
        {"a huge length", {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stat_sample s;
        if (stat_decode(rows[i].bytes, &s, NULL) != ERR_PROTOCOL) {
            fail_msg("accepted: %s", rows[i].name);
        }
        struct stat_reader r = {.rest = BYTES("\x0a\x7f")};
        struct stat_message m;
        assert_int_equal(stat_reader_next(&r, &m, NULL), ERR_PROTOCOL);
    }
}

static void unknown_fields_are_skipped(void **state)
{
    /* 15: varint, 14: fixed32, 13: fixed64, 12: bytes; then uptime = 1 twice, the last counts */
    struct slice bytes = BYTES("\x78\x96\x01\x75\1\2\3\4\x69\1\2\3\4\5\6\7\x08\x62\x02xx"
                               "\x31\0\0\0\0\0\0\xf0\x3f\x31\0\0\0\0\0\0\0\x40");
    struct stat_sample s;
    assert_int_equal(stat_decode(bytes, &s, NULL), 0);
    assert_true(s.process_uptime_s == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_known_bytes),
        cmocka_unit_test(all_fields_come_back),
        cmocka_unit_test(an_idle_sample_is_empty),
        cmocka_unit_test(messages_follow_one_another),
        cmocka_unit_test(a_full_part_takes_nothing),
        cmocka_unit_test(names_have_a_limit),
        cmocka_unit_test(incredible_numbers_are_dropped),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(unknown_fields_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
