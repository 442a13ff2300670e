// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "activator/report.h"
#include "activator/throttler.h"
#include "test.h"

#define MS(n) ((uint64_t)(n)*1000000ull)
#define T0    MS(1000000)

struct world {
    struct throttler t;
    struct revision *r;
};

static int setup(void **state)
{
    static const struct throttler_limits limits = {
        .max_held_per_revision = 10, .max_held = 20, .max_held_bytes = 1u << 20, .hold_ms = 60000};
    struct world *w = NEW(struct world);
    throttler_init(&w->t, &limits, 1);
    w->t.numbers.max = 2;
    w->r = throttler_revision(&w->t, SLICE_LIT("ns"), SLICE_LIT("a"), true);
    revision_learn(&w->t, w->r, &(struct revision_facts){.concurrency = 0}, T0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    throttler_fini(&w->t);
    free(w);
    return 0;
}

static void pod(struct world *w, bool started, bool ready, uint64_t now)
{
    (void)revision_put_replica(&w->t, w->r,
                               &(struct replica_facts){.uid = SLICE_LIT("u"),
                                                       .name = SLICE_LIT("p"),
                                                       .address = SLICE_LIT("127.0.0.1:1"),
                                                       .started = started,
                                                       .ready = ready},
                               now);
}

static void phases_are(const struct phases *p, const char *want)
{
    char text[PHASES_TEXT_MAX];
    phases_text(p, text, sizeof(text));
    assert_string_equal(text, want);
}

/* The whole way of a cold start, as the watch, the link and the request's end tell it. */
static void a_cold_start_in_phases(void **state)
{
    struct world *w = *state;
    struct ticket first = {0};
    struct ticket later = {0};
    struct ticket warm = {0};
    struct phases p;
    assert_int_equal(throttler_admit(&w->t, w->r, &first, 10, T0), ADMIT_HELD);
    report_note(&w->t, SLICE_LIT("not JSON"), T0 + MS(1));
    report_note(&w->t, SLICE_LIT("{\"namespace\":\"ns\",\"name\":\"b\",\"phase\":\"decided\"}"),
                T0 + MS(1));
    report_note(&w->t, SLICE_LIT("{\"namespace\":\"ns\",\"name\":\"a\",\"phase\":\"scaled\"}"),
                T0 + MS(1));
    report_note(&w->t, SLICE_LIT("{\"namespace\":\"ns\",\"name\":\"a\",\"phase\":\"decided\"}"),
                T0 + MS(2));
    pod(w, false, false, T0 + MS(3));
    assert_int_equal(throttler_admit(&w->t, w->r, &later, 10, T0 + MS(4)), ADMIT_HELD);
    pod(w, true, false, T0 + MS(10));
    pod(w, true, false, T0 + MS(11)); /* a later event of the same step changes nothing */
    pod(w, true, true, T0 + MS(30));
    assert_ptr_equal(throttler_next(&w->t, T0 + MS(31)), &first);
    assert_ptr_equal(throttler_next(&w->t, T0 + MS(31)), &later);
    phases_of(&w->r->cold, first.enter_ns, first.granted_ns, T0 + MS(35), &p);
    phases_are(&p, "queue;dur=31.000, decide;dur=2.000, start;dur=8.000, probe;dur=20.000, "
                   "proxy;dur=4.000");
    numbers_record_cold(&w->t.numbers, &p);
    phases_of(&w->r->cold, later.enter_ns, later.granted_ns, T0 + MS(35), &p);
    phases_are(&p, "queue;dur=27.000, decide;dur=0.000, start;dur=6.000, probe;dur=20.000, "
                   "proxy;dur=4.000");
    assert_int_equal(throttler_admit(&w->t, w->r, &warm, 10, T0 + MS(40)), ADMIT_GRANTED);
    phases_of(&w->r->cold, warm.enter_ns, warm.granted_ns, T0 + MS(41), &p);
    phases_are(&p, "queue;dur=0.000, proxy;dur=1.000");
    numbers_record_cold(&w->t.numbers, &p); /* not one */
    assert_int_equal(metric_buckets_count(&w->t.numbers.cold[PHASE_START]), 1);
    assert_int_equal(w->t.numbers.cold[PHASE_START].sum_ns, MS(8));
    throttler_done(&w->t, &first, true, T0 + MS(50));
    throttler_done(&w->t, &later, true, T0 + MS(50));
    throttler_done(&w->t, &warm, true, T0 + MS(50));
    /* The next cold start has marks of its own. */
    pod(w, true, false, T0 + MS(60));
    assert_int_equal(throttler_admit(&w->t, w->r, &first, 10, T0 + MS(100)), ADMIT_HELD);
    pod(w, true, true, T0 + MS(110));
    assert_ptr_equal(throttler_next(&w->t, T0 + MS(110)), &first);
    phases_of(&w->r->cold, first.enter_ns, first.granted_ns, T0 + MS(112), &p);
    phases_are(&p, "queue;dur=10.000, decide;dur=0.000, start;dur=10.000, probe;dur=0.000, "
                   "proxy;dur=2.000");
    throttler_done(&w->t, &first, true, T0 + MS(112));
}

static const char *line(struct world *w, const char *start, struct strbuf *out)
{
    strbuf_clear(out);
    numbers_write(&w->t.numbers, &w->t, T0 + MS(3000), out);
    assert_true(strbuf_ok(out));
    char *at = strstr(out->ptr, start);
    if (at == NULL) {
        return NULL;
    }
    *strchr(at + strlen(start), '\n') = '\0';
    return at + strlen(start);
}

static void each_revision_has_its_lines(void **state)
{
    struct world *w = *state;
    struct ticket tk = {0};
    struct stat_report rep;
    struct list *cursor = NULL;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1u << 20);
    numbers_begin(&w->t.numbers, w->r);
    assert_int_equal(throttler_admit(&w->t, w->r, &tk, 10, T0), ADMIT_HELD);
#define LABELS "{k8s_namespace_name=\"ns\",kn_revision_name=\"a\""
    assert_string_equal(line(w, "kn_revision_request_queued" LABELS "} ", &out), "1");
    assert_string_equal(line(w, "kn_revision_request_active" LABELS "} ", &out), "0");
    pod(w, true, true, T0 + MS(500));
    assert_ptr_equal(throttler_next(&w->t, T0 + MS(500)), &tk);
    assert_string_equal(line(w, "kn_revision_request_queued" LABELS "} ", &out), "0");
    assert_string_equal(line(w, "kn_revision_request_active" LABELS "} ", &out), "1");
    assert_ptr_equal(throttler_report(&w->t, &cursor, T0 + MS(2000), &rep), w->r);
    assert_string_equal(line(w, "kn_revision_request_concurrency" LABELS "} ", &out), "1");
    assert_string_equal(line(w, "lull_activator_revision_request_rate" LABELS "} ", &out), "0.5");
    assert_string_equal(line(w, "lull_activator_revision_busy_seconds_total" LABELS "} ", &out),
                        "3"); /* it is in since T0, at T0 + 3 s */
    throttler_done(&w->t, &tk, true, T0 + MS(2500));
    assert_string_equal(line(w, "lull_activator_revision_busy_seconds_total" LABELS "} ", &out),
                        "2.5");
    numbers_record(&w->t.numbers, w->r, 204, MS(7));
    numbers_record(&w->t.numbers, w->r, 0, MS(7));
    assert_string_equal(
        line(w, "lull_activator_revision_requests_total" LABELS ",code=\"2xx\"} ", &out), "1");
    assert_string_equal(
        line(w, "lull_activator_revision_requests_total" LABELS ",code=\"none\"} ", &out), "1");
    assert_null(line(w, "lull_activator_revision_requests_total" LABELS ",code=\"5xx\"} ", &out));
    assert_string_equal(
        line(w, "lull_activator_revision_request_seconds_bucket" LABELS ",le=\"0.01\"} ", &out),
        "2");
    assert_string_equal(line(w, "lull_activator_revision_request_seconds_sum" LABELS "} ", &out),
                        "0.014");
}

static void revisions_beyond_the_bound_share_one(void **state)
{
    struct world *w = *state;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1u << 20);
    numbers_begin(&w->t.numbers, w->r);
    static const char *const names[] = {"b", "c", "d"};
    struct revision *r[3];
    for (size_t i = 0; i < 3; i++) {
        r[i] = throttler_revision(&w->t, SLICE_LIT("ns"), slice_str(names[i]), true);
        numbers_begin(&w->t.numbers, r[i]);
        numbers_record(&w->t.numbers, r[i], 200, MS(1));
    }
    assert_int_equal(w->t.numbers.counted, 2);
    assert_null(r[2]->numbers);
    assert_string_equal(line(w,
                             "lull_activator_revision_requests_total{k8s_namespace_name=\"other\","
                             "kn_revision_name=\"other\",code=\"2xx\"} ",
                             &out),
                        "2");
    char bytes[24];
    (void)snprintf(bytes, sizeof(bytes), "%zu", 2 * sizeof(struct revision_numbers));
    assert_string_equal(line(w, "\nlull_activator_revision_numbers_bytes ", &out), bytes);
    /* What is said in the help of --metrics-revisions. */
    assert_int_equal(sizeof(struct revision_numbers), 176);
    revision_forget(&w->t, r[0]);
    assert_int_equal(w->t.numbers.counted, 1);
    numbers_begin(&w->t.numbers, r[2]);
    assert_non_null(r[2]->numbers);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_cold_start_in_phases),
        T(each_revision_has_its_lines),
        T(revisions_beyond_the_bound_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
