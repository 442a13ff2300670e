// SPDX-License-Identifier: Apache-2.0
/* The retry rules, the texts in Redis, the index, the events in memory, the objects. */
#include "base/mem.h"
#include "json/jparse.h"
#include "broker/index.h"
#include "broker/objects.h"
#include "broker/payload.h"
#include "broker/reading.h"
#include "broker/retry.h"
#include "broker/streams.h"
#include "test.h"

static json_t *json(const char *text)
{
    json_t *out = NULL;
    struct error err = {0};
    ASSERT_OK(jparse(slice_str(text), 65536, &out, &err));
    return out;
}

static void policies(void **state)
{
    struct retry_policy p;
    struct error err = {0};
    retry_policy_default(&p);
    assert_int_equal(p.retries, 10);
    assert_int_equal(p.delay_ms, 200);
    CLEANUP(jfree)
    json_t *one = json("{\"retry\":3,\"backoffPolicy\":\"linear\",\"backoffDelay\":\"PT1.5S\","
                       "\"timeout\":\"PT2S\",\"retryAfterMax\":\"PT1M\",\"format\":\"json\"}");
    ASSERT_OK(retry_policy_read(one, &p, &err));
    assert_int_equal(p.retries, 3);
    assert_int_equal(p.backoff, RETRY_LINEAR);
    assert_int_equal(p.delay_ms, 1500);
    assert_int_equal(p.timeout_ms, 2000);
    assert_int_equal(p.retry_after_max_ms, 60000);
    assert_true(p.structured);
    CLEANUP(jfree) json_t *none = json("{}");
    ASSERT_OK(retry_policy_read(none, &p, &err));
    assert_int_equal(p.retries, 0);
    CLEANUP(jfree) json_t *bad = json("{\"backoffDelay\":\"soon\"}");
    ASSERT_ERR(ERR_INVALID, retry_policy_read(bad, &p, &err));
    ASSERT_MSG("backoffDelay");
    CLEANUP(jfree) json_t *negative = json("{\"timeout\":\"-PT1S\"}");
    ASSERT_ERR(ERR_INVALID, retry_policy_read(negative, &p, &err));
}

static void delays(void **state)
{
    struct retry_policy p = {.backoff = RETRY_EXPONENTIAL, .delay_ms = 200};
    static const uint64_t exponential[] = {200, 400, 800, 1600};
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(retry_delay_ms(&p, i, 0, 0), exponential[i]);
    }
    assert_int_equal(retry_delay_ms(&p, 1, 0, 1), 440);
    assert_int_equal(retry_delay_ms(&p, 39, 0, 0), RETRY_DELAY_MAX_MS);
    assert_int_equal(retry_delay_ms(&p, 4000000000u, 0, 0), RETRY_DELAY_MAX_MS);
    p.delay_ms = UINT64_MAX;
    assert_int_equal(retry_delay_ms(&p, 0, 0, 0), RETRY_DELAY_MAX_MS);
    p.delay_ms = 0;
    assert_int_equal(retry_delay_ms(&p, 4000000000u, 0, 1), 0);
    p = (struct retry_policy){.backoff = RETRY_LINEAR, .delay_ms = 100};
    assert_int_equal(retry_delay_ms(&p, 0, 0, 0), 0);
    assert_int_equal(retry_delay_ms(&p, 3, 0, 0), 300);
    /* What the sink asks for counts up to the limit of the spec, and not without one. */
    assert_int_equal(retry_delay_ms(&p, 1, 5000, 0), 100);
    p.retry_after_max_ms = 3000;
    assert_int_equal(retry_delay_ms(&p, 1, 5000, 0), 3000);
    assert_int_equal(retry_delay_ms(&p, 1, 2000, 0), 2000);
    assert_int_equal(retry_delay_ms(&p, 50, 2000, 0), 5000);
}

static void what_is_retried(void **state)
{
    static const int again[] = {0, 404, 408, 409, 429, 500, 502, 503, 504, 599};
    static const int never[] = {100, 200, 202, 301, 302, 400, 401, 403, 405, 410, 413, 422};
    for (size_t i = 0; i < ARRAY_LEN(again); i++) {
        assert_true(retry_wanted(again[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        assert_false(retry_wanted(never[i]));
    }
}

static void retry_after(void **state)
{
    const int64_t then = 1445412480ll * 1000000000; /* Wed, 21 Oct 2015 07:28:00 GMT */
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"5", 5000},
        {" 5 ", 5000},
        {"0", 0},
        {"-5", 0},
        {"5x", 0},
        {"", 0},
        {"soon", 0},
        {"99999999999999999999999", RETRY_DELAY_MAX_MS},
        {"Wed, 21 Oct 2015 07:28:10 GMT", 10000},
        {"Wed, 21 Oct 2015 07:27:10 GMT", 0},
        {"Wed, 21 Oct 2099 07:27:10 GMT", RETRY_DELAY_MAX_MS},
        {"Wed, 21 Oct 2015 07:28:10 GMT and more", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = retry_after_ms(slice_str(rows[i].text), then);
        if (got != rows[i].ms) {
            fail_msg("%s: %llu", rows[i].text, (unsigned long long)got);
        }
    }
}

static void stream_texts(void **state)
{
    static const char *const bad[] = {"d",      "d 1",       "d 1 2",   "x 1 2 ",  "d x 2 ",
                                      "d 1 x ", "d 1 1000 ", "d -1 2 ", "dd 1 2 ", "d  1 200 x"};
    struct stream_state s;
    struct error err = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 256);
    struct stream_state in = {
        .phase = PHASE_DEAD_LETTER, .attempt = 7, .code = 503, .data = SLICE_LIT("YQ==")};
    stream_state_write(&in, &out);
    ASSERT_SLICE(strbuf_slice(&out), "l 7 503 YQ==");
    ASSERT_OK(stream_state_read(strbuf_slice(&out), &s, &err));
    assert_true(s.phase == in.phase && s.attempt == 7 && s.code == 503);
    ASSERT_SLICE(s.data, "YQ==");
    ASSERT_OK(stream_state_read(SLICE_LIT("d 1 0 "), &s, &err));
    ASSERT_SLICE(s.data, "");
    ASSERT_OK(stream_state_read(SLICE_EMPTY, &s, &err));
    assert_true(s.phase == PHASE_DELIVER && s.attempt == 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ASSERT_ERR(ERR_PROTOCOL, stream_state_read(slice_str(bad[i]), &s, &err));
    }
    assert_true(stream_id_valid(SLICE_LIT("1-0")));
    static const char *const ids[] = {"9-0", "9-2", "9-10", "10-0", "1700000000000-5"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        for (size_t j = 0; j < ARRAY_LEN(ids); j++) {
            int order = stream_id_compare(slice_str(ids[i]), slice_str(ids[j]));
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
    assert_false(stream_id_valid(SLICE_LIT("1")) || stream_id_valid(SLICE_LIT("-1")) ||
                 stream_id_valid(SLICE_LIT("1-")) || stream_id_valid(SLICE_LIT("1-x")) ||
                 stream_id_valid(SLICE_EMPTY));
    CLEANUP(cleanup_free) char *events = stream_key("ns", "b", "events");
    CLEANUP(cleanup_free) char *held = stream_trigger_key("ns", "b", "uid", ":held");
    assert_string_equal(events, "lull:{ns/b}:events");
    assert_string_equal(held, "lull:{ns/b}:t:uid:held");
}

struct found {
    struct index_entry *items[16];
    size_t n;
};

static void on_found(void *arg, struct index_entry *entry)
{
    struct found *f = arg;
    f->items[f->n++] = entry;
}

static void indexes(void **state)
{
    static const char *const specs[] = {
        "{\"filter\":{\"attributes\":{\"type\":\"a\"}}}",
        "{\"filter\":{\"attributes\":{\"type\":\"a\",\"source\":\"/x\"}}}",
        "{\"filters\":[{\"exact\":{\"source\":\"/x\"}}]}",
        "{\"filters\":[{\"prefix\":{\"type\":\"a\"}}]}",
        "{}",
        "{\"filter\":{\"attributes\":{\"type\":\"b\"}}}",
    };
    static const struct {
        const char *type, *source, *want;
    } rows[] = {{"a", "/x", "01234"}, {"a", "/y", "034"}, {"ab", "/x", "234"}, {"b", "/y", "45"}};
    struct index_entry entries[ARRAY_LEN(specs)] = {0};
    struct filter *filters[ARRAY_LEN(specs)];
    struct error err = {0};
    struct index x;
    index_init(&x);
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        CLEANUP(jfree) json_t *spec = json(specs[i]);
        ASSERT_OK(filter_compile(spec, &filters[i], &err));
        entries[i].filter = filters[i];
        index_add(&x, &entries[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct event ev;
        struct found found = {.n = 0};
        bool seen[ARRAY_LEN(specs)] = {false};
        event_init(&ev);
        ASSERT_OK(event_set(&ev, SLICE_LIT("type"), slice_str(rows[i].type), &err));
        ASSERT_OK(event_set(&ev, SLICE_LIT("source"), slice_str(rows[i].source), &err));
        index_match(&x, &ev, on_found, &found);
        assert_int_equal(found.n, strlen(rows[i].want));
        for (size_t j = 0; j < found.n; j++) {
            seen[found.items[j] - entries] = true;
        }
        for (const char *c = rows[i].want; *c != '\0'; c++) {
            assert_true(seen[*c - '0']);
        }
        event_fini(&ev);
    }
    index_fini(&x);
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        filter_free(filters[i]);
    }
}

static void payloads(void **state)
{
    struct payloads all;
    struct payload_set set;
    struct payload *p, *q;
    struct error err = {0};
    struct event ev;
    char id[PAYLOAD_ID_MAX];
    CLEANUP(strbuf_fini) struct strbuf packed;
    strbuf_init(&packed, 4096);
    event_init(&ev);
    ASSERT_OK(event_set(&ev, SLICE_LIT("type"), SLICE_LIT("t"), &err));
    event_pack(&ev, &packed);
    event_fini(&ev);
    payloads_init(&all, 4000);
    payload_set_init(&set, &all);
    ASSERT_OK(
        payload_put(&set, SLICE_LIT("1-0"), strbuf_slice(&packed), SLICE_LIT("data"), &p, &err));
    ASSERT_SLICE(p->event.known[EVENT_TYPE], "t");
    ASSERT_SLICE(p->event.data, "data");
    ASSERT_OK(payload_put(&set, SLICE_LIT("1-0"), SLICE_EMPTY, SLICE_EMPTY, &q, &err));
    assert_ptr_equal(p, q);
    payload_let_go(q, false);
    assert_ptr_equal(payload_use(&set, SLICE_LIT("1-0")), p);
    payload_let_go(p, true);
    payload_let_go(p, true);
    assert_int_equal(all.used_bytes, 0);
    assert_true(all.idle_bytes > 0);
    /* The oldest go when there are too many. */
    for (int i = 2; i < 100; i++) {
        snprintf(id, sizeof(id), "%d-0", i);
        ASSERT_OK(
            payload_put(&set, slice_str(id), strbuf_slice(&packed), (struct slice){0}, &p, &err));
        assert_null(p->event.data.ptr);
        payload_let_go(p, true);
        assert_true(all.idle_bytes <= 4000);
    }
    assert_null(payload_use(&set, SLICE_LIT("1-0")));
    p = payload_use(&set, SLICE_LIT("99-0"));
    assert_non_null(p);
    payload_let_go(p, false);
    assert_null(payload_use(&set, SLICE_LIT("99-0")));
    ASSERT_ERR(ERR_PROTOCOL,
               payload_put(&set, SLICE_LIT("5-5"), SLICE_LIT("no event"), SLICE_EMPTY, &p, &err));
    payload_let_go(NULL, true);
    /* Another Redis: an id may stand for another event. */
    p = payload_use(&set, SLICE_LIT("98-0"));
    payload_set_forget(&set);
    assert_null(payload_use(&set, SLICE_LIT("98-0")));
    assert_null(payload_use(&set, SLICE_LIT("97-0")));
    assert_int_equal(all.idle_bytes, 0);
    ASSERT_OK(
        payload_put(&set, SLICE_LIT("98-0"), strbuf_slice(&packed), SLICE_LIT("new"), &q, &err));
    assert_ptr_not_equal(p, q);
    payload_let_go(p, true);
    assert_ptr_equal(payload_use(&set, SLICE_LIT("98-0")), q);
    payload_let_go(q, false);
    payload_let_go(q, false);
    assert_int_equal(all.idle_bytes + all.used_bytes, 0);
    payload_set_fini(&set);
    assert_int_equal(all.idle_bytes, 0);
}

static void objects(void **state)
{
    struct error err = {0};
    struct broker_object b = {0};
    struct trigger_object t = {0};
    CLEANUP(jfree)
    json_t *other =
        json("{\"metadata\":{\"annotations\":{\"eventing.knative.dev/broker.class\":\"Kafka\"}}}");
    assert_int_equal(broker_object_project(NULL, other, &b, &err), 1);
    CLEANUP(jfree)
    json_t *ours = json("{\"metadata\":{},\"spec\":{\"delivery\":{\"retry\":2}},"
                        "\"status\":{\"deadLetterSinkUri\":\"http://d\"}}");
    ASSERT_OK(broker_object_project(NULL, ours, &b, &err));
    assert_true(b.has_delivery && b.policy.retries == 2);
    assert_string_equal(b.dead_letter, "http://d");
    broker_object_release(NULL, &b);
    CLEANUP(jfree)
    json_t *trigger =
        json("{\"metadata\":{\"annotations\":{\"events.lull.dev/parallelism\":\"7\","
             "\"events.lull.dev/ordering\":\"partitionkey\"}},\"spec\":{\"broker\":\"default\","
             "\"filters\":[{\"nonsense\":{}}]},\"status\":{\"subscriberUri\":\"http://s\"}}");
    ASSERT_OK(trigger_object_project(NULL, trigger, &t, &err));
    assert_true(t.ordered && t.parallelism == 7 && t.filter == NULL && t.err != NULL);
    assert_string_equal(t.subscriber, "http://s");
    trigger_object_release(NULL, &t);
    CLEANUP(jfree) json_t *lost = json("{\"metadata\":{},\"spec\":{}}");
    t = (struct trigger_object){0};
    assert_int_equal(trigger_object_project(NULL, lost, &t, &err), 1);
    trigger_object_release(NULL, &t);
}

/* What is asked for next, whatever happens while a question is under way. */
static void readings(void **state)
{
    struct reading r = {.made = true};
    assert_false(reading_wanted(&r));
    reading_scan(&r);
    assert_true(reading_wanted(&r));
    ASSERT_SLICE(reading_begin(&r), "0");
    assert_false(reading_wanted(&r));
    reading_end(&r, 2, SLICE_LIT("5-1"), false);
    ASSERT_SLICE(reading_begin(&r), "5-1");
    reading_end(&r, 0, SLICE_EMPTY, false);
    /* Then what nobody has read; a full answer, or somebody who adds, asks again. */
    assert_true(reading_wanted(&r));
    ASSERT_SLICE(reading_begin(&r), ">");
    reading_end(&r, 1, SLICE_LIT("9-0"), true);
    ASSERT_SLICE(reading_begin(&r), ">");
    r.more = true;
    reading_end(&r, 0, SLICE_EMPTY, false);
    ASSERT_SLICE(reading_begin(&r), ">");
    reading_end(&r, 1, SLICE_LIT("9-1"), false);
    assert_false(reading_wanted(&r));
    /* A scan that is asked for meanwhile is neither over nor elsewhere with that answer. */
    r.more = true;
    ASSERT_SLICE(reading_begin(&r), ">");
    reading_scan(&r);
    reading_end(&r, 3, SLICE_LIT("12-0"), false);
    ASSERT_SLICE(reading_begin(&r), "0");
    reading_end(&r, 1, SLICE_LIT("2-0"), false);
    ASSERT_SLICE(reading_begin(&r), "2-0");
    reading_scan(&r);
    reading_end(&r, 0, SLICE_EMPTY, false);
    ASSERT_SLICE(reading_begin(&r), "0");
    reading_failed(&r);
    ASSERT_SLICE(reading_begin(&r), "0");
    reading_lost(&r);
    assert_true(reading_wanted(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies),    cmocka_unit_test(delays),  cmocka_unit_test(what_is_retried),
        cmocka_unit_test(retry_after), cmocka_unit_test(indexes), cmocka_unit_test(stream_texts),
        cmocka_unit_test(payloads),    cmocka_unit_test(objects), cmocka_unit_test(readings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
