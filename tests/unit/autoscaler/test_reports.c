// SPDX-License-Identifier: Apache-2.0
/* Reports of activators: whole or missing, fresh or not, one name at a time. */
#include "autoscaler/reports.h"
#include "test.h"

#define T0 1000000ull

struct frame {
    char bytes[16];
};

static struct slice header(struct frame *f, uint64_t seq, uint16_t part, uint16_t parts)
{
    for (int i = 0; i < 8; i++) {
        f->bytes[i] = (char)(seq >> (56 - 8 * i));
    }
    f->bytes[8] = (char)(part >> 8);
    f->bytes[9] = (char)part;
    f->bytes[10] = (char)(parts >> 8);
    f->bytes[11] = (char)parts;
    memcpy(f->bytes + 12, "body", 4);
    return slice_of(f->bytes, sizeof(f->bytes));
}

/* One part; returns what begin said, or 2 when it completed the report. */
static int part(struct reports *r, struct reporter *a, uint64_t seq, uint16_t p, uint16_t parts,
                uint64_t now_ms)
{
    struct frame f;
    struct slice stats;
    int rc = reports_begin_part(r, a, header(&f, seq, p, parts), now_ms, &stats, NULL);
    if (rc == 1) {
        assert_true(slice_eq_str(stats, a->passed ? "" : "body"));
        rc = reports_end_part(r, a, now_ms) ? 2 : 1;
    }
    return rc;
}

static struct reporter *hello(struct reports *r, const char *name, void *link, uint64_t now_ms)
{
    struct error err = {0};
    struct reporter *a;
    void *replaced;
    ASSERT_OK(reports_hello(r, slice_str(name), link, now_ms, &a, &replaced, &err));
    return a;
}

static void a_report_is_whole_with_its_last_part(void **state)
{
    struct reports r;
    int link;
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &link, T0);
    assert_int_equal(part(&r, a, 1, 0, 3, T0), 1);
    assert_int_equal(part(&r, a, 1, 1, 3, T0), 1);
    assert_false(r.fresh);
    assert_int_equal(part(&r, a, 1, 2, 3, T0 + 5), 2);
    assert_true(r.fresh);
    assert_int_equal(r.since_ms, T0 + 5);
    /* the same again, whole or in part, is dropped */
    assert_int_equal(part(&r, a, 1, 0, 3, T0 + 6), 0);
    assert_int_equal(part(&r, a, 1, 2, 3, T0 + 6), 0);
    assert_int_equal(part(&r, a, 0, 0, 1, T0 + 6), 0);
    assert_int_equal(r.duplicates, 3);
    /* a broken report: the next sequence number starts anew */
    assert_int_equal(part(&r, a, 2, 0, 2, T0 + 1000), 1);
    assert_int_equal(part(&r, a, 3, 0, 1, T0 + 2000), 2);
    /* parts out of order, and nonsense */
    assert_int_equal(part(&r, a, 4, 1, 2, T0 + 3000), ERR_PROTOCOL);
    assert_int_equal(part(&r, a, 5, 2, 2, T0 + 3000), ERR_PROTOCOL);
    assert_int_equal(part(&r, a, 5, 0, 0, T0 + 3000), ERR_PROTOCOL);
    struct slice out;
    assert_int_equal(reports_begin_part(&r, a, SLICE_LIT("short"), T0, &out, NULL), ERR_PROTOCOL);
    reports_fini(&r);
}

static void one_missing_activator_makes_all_stale(void **state)
{
    struct reports r;
    int links[2];
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    struct reporter *b = hello(&r, "b", &links[1], T0);
    part(&r, a, 1, 0, 1, T0);
    part(&r, b, 1, 0, 1, T0);
    assert_true(r.fresh);
    for (uint64_t t = 1; t <= 3; t++) {
        part(&r, a, 1 + t, 0, 1, T0 + t * 1000);
    }
    assert_true(r.fresh);
    part(&r, a, 5, 0, 1, T0 + 3001);
    assert_false(r.fresh);
    part(&r, b, 9, 0, 1, T0 + 3500);
    assert_true(r.fresh);
    assert_int_equal(r.since_ms, T0 + 3500);
    reports_fini(&r);
}

static void a_late_report_covers_what_was_missed(void **state)
{
    struct reports r;
    int link;
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &link, T0);
    part(&r, a, 1, 0, 1, T0 + 900);
    assert_true(r.current);
    assert_int_equal(a->missed, 0);
    part(&r, a, 2, 0, 1, T0 + 2100); /* jitter: second 1 must not be empty */
    assert_int_equal(a->missed, 1);
    reports_check(&r, T0 + 3601);
    assert_true(r.fresh && !r.current);
    part(&r, a, 3, 0, 1, T0 + 4900); /* second 3 is covered by this report */
    assert_int_equal(a->missed, 1);
    assert_true(r.current);
    assert_int_equal(r.since_ms, T0 + 900);
    part(&r, a, 4, 0, 1, T0 + 8000); /* a hole: everything starts anew */
    assert_int_equal(a->missed, 0);
    reports_fini(&r);
}

/* The phase of an activator lies at the end of a second and jitters. */
static void every_second_has_one_report(void **state)
{
    static const uint64_t at_ms[] = {998, 1999, 2997, 4003, 4998, 5999, 6996, 8002, 9001, 9999};
    int reports_in[12] = {0};
    struct reports r;
    int link;
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &link, T0);
    for (unsigned i = 0; i < ARRAY_LEN(at_ms); i++) {
        part(&r, a, 1 + i, 0, 1, T0 + at_ms[i]);
        uint64_t second = (a->at_ms - T0) / 1000;
        for (uint64_t s = second - a->missed; s <= second; s++) {
            reports_in[s]++;
        }
    }
    for (int s = 0; s <= 9; s++) {
        assert_int_equal(reports_in[s], 1);
    }
    assert_true(reports_in[10] <= 1);
    reports_fini(&r);
}

/* No tick came between the hole and the report that ends it: it is a hole all the same. */
static void a_report_does_not_hide_the_hole_before_it(void **state)
{
    struct reports r;
    int links[2];
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    part(&r, a, 1, 0, 1, T0);
    part(&r, a, 2, 0, 1, T0 + 1000);
    assert_int_equal(r.since_ms, T0);
    uint64_t later = T0 + 3601000;
    assert_int_equal(part(&r, a, 3, 0, 2, later), 1);
    assert_int_equal(part(&r, a, 3, 1, 2, later), 2);
    assert_int_equal(a->missed, 0);
    assert_true(r.fresh && r.current);
    assert_int_equal(r.since_ms, later);

    /* between two parts */
    assert_int_equal(part(&r, a, 4, 0, 2, later + 1000), 1);
    later += 3600000;
    assert_int_equal(part(&r, a, 4, 1, 2, later), 2);
    assert_int_equal(r.since_ms, later);

    /* who reported before it is forgotten, who reports after it is new */
    reports_gone(&r, a, &links[0], later + 500);
    later += 3600000;
    struct reporter *b = hello(&r, "b", &links[1], later);
    assert_int_equal(part(&r, b, 1, 0, 1, later), 2);
    assert_int_equal(map_len(&r.reporters), 1);
    assert_int_equal(r.since_ms, later);
    reports_fini(&r);
}

/* We stood still while an activator went on: what it sent meanwhile comes at once. */
static void a_minute_of_reports_at_once_is_no_crowd(void **state)
{
    struct reports r;
    struct frame f;
    struct slice stats;
    int link;
    int counted = 0;
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &link, T0);
    part(&r, a, 1, 0, 1, T0);
    uint64_t later = T0 + 60500;
    for (uint64_t seq = 2; seq <= 61; seq++) {
        assert_int_equal(reports_begin_part(&r, a, header(&f, seq, 0, 1), later, &stats, NULL), 1);
        assert_int_equal(a->missed, 0);
        counted += !slice_empty(stats);
        assert_true(reports_end_part(&r, a, later));
    }
    assert_int_equal(counted, 2); /* of this second and of the next one, as with jitter */
    assert_int_equal(r.duplicates, 58);
    assert_int_equal(r.since_ms, later);
    for (uint64_t seq = 62; seq < 70; seq++) { /* and on it goes */
        later += 1000;
        assert_int_equal(part(&r, a, seq, 0, 1, later), 2);
        assert_int_equal(a->missed, 0);
    }
    assert_int_equal(r.duplicates, 58);
    reports_fini(&r);
}

static void a_gone_activator_is_forgotten_later(void **state)
{
    struct reports r;
    int links[2];
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    struct reporter *b = hello(&r, "b", &links[1], T0);
    part(&r, a, 1, 0, 1, T0);
    part(&r, b, 1, 0, 1, T0);
    reports_gone(&r, b, &links[1], T0 + 100);
    uint64_t seq = 2;
    bool was_stale = false;
    for (uint64_t t = T0 + 500; t <= T0 + 10100; t += 500) {
        part(&r, a, seq++, 0, 1, t);
        was_stale = was_stale || !r.fresh;
    }
    assert_true(was_stale && !r.fresh);
    part(&r, a, seq++, 0, 1, T0 + 10500);
    assert_true(r.fresh);
    assert_int_equal(r.since_ms, T0 + 10500);
    assert_int_equal(reports_connected(&r), 1);
    reports_fini(&r);
}

static void a_name_that_comes_back_replaces_its_link(void **state)
{
    struct reports r;
    int links[2];
    struct error err = {0};
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    part(&r, a, 7, 0, 1, T0);
    struct reporter *again;
    void *replaced;
    ASSERT_OK(reports_hello(&r, SLICE_LIT("a"), &links[1], T0 + 500, &again, &replaced, &err));
    assert_ptr_equal(again, a);
    assert_ptr_equal(replaced, &links[0]);
    /* the old link's end does not count, its sequence numbers start anew */
    reports_gone(&r, a, &links[0], T0 + 600);
    assert_true(a->connected);
    assert_int_equal(part(&r, a, 1, 0, 1, T0 + 1000), 2);
    assert_true(r.fresh);
    assert_int_equal(r.since_ms, T0);
    reports_fini(&r);
}

static void without_any_activator_there_is_no_path(void **state)
{
    struct reports r;
    int links[2];
    reports_init(&r);
    reports_check(&r, T0);
    assert_false(r.fresh);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    assert_int_equal(r.path_since_ms, 0);
    part(&r, a, 1, 0, 1, T0);
    reports_gone(&r, a, &links[0], T0 + 100);
    hello(&r, "b", &links[1], T0 + 700);
    assert_int_equal(r.path_since_ms, T0 + 700);
    reports_fini(&r);
}

static void told_is_what_the_last_of_them_has_told(void **state)
{
    struct reports r;
    int links[2];
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    part(&r, a, 1, 0, 1, T0 + 100);
    struct reporter *b = hello(&r, "b", &links[1], T0 + 300);
    reports_check(&r, T0 + 400);
    assert_int_equal(r.told_ms, T0 + 100);
    part(&r, a, 2, 0, 1, T0 + 1100);
    assert_int_equal(r.told_ms, T0 + 300); /* b is new: before, it had nothing to tell */
    part(&r, b, 1, 0, 1, T0 + 1300);
    assert_int_equal(r.told_ms, T0 + 1100);
    part(&r, a, 3, 0, 1, T0 + 2100);
    assert_int_equal(r.told_ms, T0 + 1300);
    assert_int_equal(r.since_ms, T0 + 100);
    reports_check(&r, T0 + 3700); /* both are late: nobody waits for one of them */
    assert_false(r.current);
    assert_int_equal(r.told_ms, T0 + 2100);
    reports_fini(&r);
}

/* It served before we came: the seconds before its first report are not complete. */
static void an_activator_with_a_past_starts_anew(void **state)
{
    struct reports r;
    int links[3];
    reports_init(&r);
    struct reporter *a = hello(&r, "a", &links[0], T0);
    part(&r, a, 70, 0, 1, T0 + 100);
    assert_int_equal(r.since_ms, T0 + 100);
    struct reporter *b = hello(&r, "b", &links[1], T0 + 200);
    part(&r, b, 50, 0, 1, T0 + 900);
    assert_int_equal(r.since_ms, T0 + 900);
    part(&r, a, 71, 0, 1, T0 + 1100);
    part(&r, b, 51, 0, 1, T0 + 1900);
    assert_int_equal(r.since_ms, T0 + 900);
    struct reporter *c = hello(&r, "c", &links[2], T0 + 2000);
    part(&r, c, 1, 0, 1, T0 + 2050); /* it has just started */
    assert_int_equal(r.since_ms, T0 + 900);
    reports_restart(&r, T0 + 2060);
    assert_int_equal(r.since_ms, T0 + 2060);
    reports_fini(&r);
}

static void names_are_checked(void **state)
{
    struct reports r;
    struct reporter *a;
    void *replaced;
    int link;
    char name[REPORTS_NAME_MAX + 2];
    reports_init(&r);
    memset(name, 'x', sizeof(name));
    assert_int_equal(reports_hello(&r, SLICE_EMPTY, &link, T0, &a, &replaced, NULL), ERR_INVALID);
    assert_int_equal(
        reports_hello(&r, slice_of(name, REPORTS_NAME_MAX + 1), &link, T0, &a, &replaced, NULL),
        ERR_INVALID);
    for (int i = 0; i < REPORTS_ACTIVATORS_MAX; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        hello(&r, name, &link, T0);
    }
    assert_int_equal(reports_hello(&r, SLICE_LIT("more"), &link, T0, &a, &replaced, NULL),
                     ERR_OVERLOAD);
    reports_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_whole_with_its_last_part),
        cmocka_unit_test(one_missing_activator_makes_all_stale),
        cmocka_unit_test(a_late_report_covers_what_was_missed),
        cmocka_unit_test(every_second_has_one_report),
        cmocka_unit_test(a_report_does_not_hide_the_hole_before_it),
        cmocka_unit_test(a_minute_of_reports_at_once_is_no_crowd),
        cmocka_unit_test(a_gone_activator_is_forgotten_later),
        cmocka_unit_test(a_name_that_comes_back_replaces_its_link),
        cmocka_unit_test(without_any_activator_there_is_no_path),
        cmocka_unit_test(told_is_what_the_last_of_them_has_told),
        cmocka_unit_test(an_activator_with_a_past_starts_anew),
        cmocka_unit_test(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
