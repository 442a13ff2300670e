// SPDX-License-Identifier: Apache-2.0
/* The decision table of a lease, and two electors against an API that does what it is told. */
#include "kube/lease.h"
#include "test.h"

static const struct lease_settings settings = {8000, 6000, 2000};

static void expect(const struct lease *lease, uint64_t now_ms, enum lease_action want,
                   uint64_t wait_ms)
{
    uint64_t wait = 0;
    enum lease_action got = lease_next(lease, now_ms, &wait);
    assert_int_equal(got, want);
    if (wait_ms > 0) {
        assert_int_equal(wait, wait_ms);
    }
}

static void saw(struct lease *lease, const char *holder, const char *version, uint64_t now_ms)
{
    struct lease_record record = {holder, version, 8000};
    lease_saw(lease, &record, now_ms);
}

static void nobody_leads_before_it_has_looked(void **state)
{
    struct lease lease;
    lease_init(&lease, &settings, "me");
    expect(&lease, 1000, LEASE_REST, 2000);
    lease_saw(&lease, NULL, 1000);
    expect(&lease, 1000, LEASE_CREATE, 0);
    lease_sent(&lease, 1000);
    expect(&lease, 1001, LEASE_REST, 2000);
    lease_answered(&lease, "1");
    assert_true(lease.leading);
    expect(&lease, 1100, LEASE_REST, 1900);
    expect(&lease, 3000, LEASE_WRITE, 0);
}

static void another_is_waited_for_by_our_own_clock(void **state)
{
    struct lease lease;
    lease_init(&lease, &settings, "me");
    saw(&lease, "other", "1", 1000);
    expect(&lease, 1000, LEASE_REST, 8000);
    /* Renewed: whatever time it carries, it counts from here. */
    saw(&lease, "other", "2", 8900);
    expect(&lease, 9100, LEASE_REST, 7800);
    saw(&lease, "other", "2", 15000); /* told again, not renewed */
    expect(&lease, 16899, LEASE_REST, 1);
    expect(&lease, 16900, LEASE_WRITE, 0);
}

static void a_lease_given_back_is_taken_at_once(void **state)
{
    struct lease lease;
    lease_init(&lease, &settings, "me");
    saw(&lease, "other", "1", 1000);
    saw(&lease, "", "2", 1500);
    expect(&lease, 1500, LEASE_WRITE, 0);
    lease_sent(&lease, 1500);
    lease_answered(&lease, NULL); /* somebody was faster */
    expect(&lease, 1600, LEASE_REST, 1900);
    saw(&lease, "third", "3", 1650);
    expect(&lease, 3600, LEASE_REST, 6050);
}

static void our_own_of_before_a_restart(void **state)
{
    struct lease lease;
    lease_init(&lease, &settings, "me");
    saw(&lease, "me", "7", 1000);
    expect(&lease, 1000, LEASE_WRITE, 0);
    assert_false(lease.leading);
}

static void lead(struct lease *lease, uint64_t now_ms)
{
    lease_init(lease, &settings, "me");
    lease_saw(lease, NULL, now_ms);
    lease_sent(lease, now_ms);
    lease_answered(lease, "1");
}

static void an_end_before_the_others_begin(void **state)
{
    struct lease lease;
    lead(&lease, 1000);
    /* Renewals fail: the last one that was sent successfully counts. */
    lease_sent(&lease, 3000);
    lease_answered(&lease, NULL);
    expect(&lease, 5000, LEASE_WRITE, 0);
    lease_sent(&lease, 5000);
    expect(&lease, 6500, LEASE_REST, 500); /* no answer: looks again at its own end */
    expect(&lease, 7000, LEASE_LOST, 0);
    lease_drop(&lease);
    expect(&lease, 7000, LEASE_REST, 2000);
    lease_answered(&lease, "2"); /* after all */
    assert_true(lease.leading);
    expect(&lease, 10999, LEASE_WRITE, 0);
    expect(&lease, 11000, LEASE_LOST, 0); /* it counts from when it was sent */
}

static void somebody_took_it(void **state)
{
    struct lease lease;
    lead(&lease, 1000);
    saw(&lease, "other", "2", 1500);
    expect(&lease, 1500, LEASE_LOST, 0);
    lease_drop(&lease);
    expect(&lease, 1500, LEASE_REST, 8000);
}

static void late_news_of_our_own_change_nothing(void **state)
{
    struct lease lease;
    lead(&lease, 1000);
    lease_sent(&lease, 3000);
    lease_answered(&lease, "2");
    saw(&lease, "me", "1", 3100); /* the watch is behind */
    assert_string_equal(lease.version, "2");
    lease_sent(&lease, 5000);
    lease_answered(&lease, NULL); /* somebody has touched it */
    saw(&lease, "me", "3", 5100);
    assert_string_equal(lease.version, "3");
    expect(&lease, 7000, LEASE_WRITE, 0);
}

static void deleted_under_us(void **state)
{
    struct lease lease;
    lead(&lease, 1000);
    lease_saw(&lease, NULL, 1500);
    expect(&lease, 1500, LEASE_LOST, 0);
    lease_drop(&lease);
    expect(&lease, 3000, LEASE_CREATE, 0);
}

/* Two that see the same Lease, with answers that get lost: never do both lead. */
static void never_two(void **state)
{
    struct lease two[2];
    char holder[LEASE_HOLDER_MAX] = "";
    unsigned version = 0, seed = 12345;
    uint64_t changes = 0;
    lease_init(&two[0], &settings, "a");
    lease_init(&two[1], &settings, "b");
    for (uint64_t now = 1000; now < 2000000; now += 100) {
        for (size_t i = 0; i < 2; i++) {
            char text[16];
            uint64_t wait;
            seed = seed * 1103515245u + 12345u;
            unsigned luck = seed >> 16 & 0xff;
            snprintf(text, sizeof(text), "%u", version);
            if (luck < 200) { /* else this one hears nothing now */
                saw(&two[i], holder, text, now);
            }
            enum lease_action action = lease_next(&two[i], now, &wait);
            if (action == LEASE_LOST) {
                lease_drop(&two[i]);
                action = lease_next(&two[i], now, &wait);
            }
            if (action != LEASE_WRITE && action != LEASE_CREATE) {
                continue;
            }
            lease_sent(&two[i], now);
            bool taken = strcmp(two[i].version, text) == 0 && (now / 20000 + i) % 3 != 0;
            if (taken) {
                changes += strcmp(holder, two[i].identity) != 0;
                snprintf(holder, sizeof(holder), "%s", two[i].identity);
                snprintf(text, sizeof(text), "%u", ++version);
            }
            lease_answered(&two[i], taken && luck % 4 != 0 ? text : NULL);
        }
        bool first = two[0].leading && now < two[0].renewed_ms + settings.deadline_ms;
        bool second = two[1].leading && now < two[1].renewed_ms + settings.deadline_ms;
        assert_false(first && second);
    }
    assert_true(changes > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_leads_before_it_has_looked),
        cmocka_unit_test(another_is_waited_for_by_our_own_clock),
        cmocka_unit_test(a_lease_given_back_is_taken_at_once),
        cmocka_unit_test(our_own_of_before_a_restart),
        cmocka_unit_test(an_end_before_the_others_begin),
        cmocka_unit_test(somebody_took_it),
        cmocka_unit_test(late_news_of_our_own_change_nothing),
        cmocka_unit_test(deleted_under_us),
        cmocka_unit_test(never_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
