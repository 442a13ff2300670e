// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/sha256.h"
#include "activator/announced.h"
#include "test.h"

#define UID "uid-1"
#define REV "hello-00001"
#define IP  "10.0.0.7"
#define MS  CLOCK_NS_PER_MS

static struct announced_pod pod(const char *address)
{
    return (struct announced_pod){.uid = SLICE_LIT(UID),
                                  .revision = SLICE_LIT(REV),
                                  .address = slice_str(address),
                                  .port = 8012,
                                  .ours = true};
}

static enum announced_view look(const struct announced_pod *p, enum announced_end *out)
{
    return announced_look(p, SLICE_LIT(UID), SLICE_LIT(REV), SLICE_LIT(IP), out);
}

static void what_the_api_says(void **state)
{
    struct announced_pod other_uid = pod("");
    struct announced_pod other_revision = pod("");
    struct announced_pod going = pod(IP ":8012");
    struct announced_pod ready = pod(IP ":8012");
    struct announced_pod kubelet = pod("");
    struct announced_pod moved_ready = pod("10.0.0.8:8012");
    other_uid.uid = SLICE_LIT("uid-2");
    other_revision.revision = SLICE_LIT("hello-00002");
    going.going = true;
    ready.ready = true;
    kubelet.ours = false;
    moved_ready.ready = true;
    const struct announced_pod open = pod("");
    const struct announced_pod same = pod(IP ":8012");
    const struct announced_pod other = pod("10.0.0.70:8012");
    const struct {
        const struct announced_pod *pod;
        enum announced_view view;
        enum announced_end end;
    } rows[] = {
        {NULL, ANNOUNCED_VIEW_NONE, ANNOUNCED_UNKNOWN_POD},
        {&open, ANNOUNCED_VIEW_OPEN, ANNOUNCED_ACCEPTED},
        {&same, ANNOUNCED_VIEW_CONFIRMS, ANNOUNCED_ACCEPTED},
        {&other, ANNOUNCED_VIEW_DENIES, ANNOUNCED_MOVED},
        {&moved_ready, ANNOUNCED_VIEW_DENIES, ANNOUNCED_MOVED},
        {&other_uid, ANNOUNCED_VIEW_DENIES, ANNOUNCED_GONE},
        {&other_revision, ANNOUNCED_VIEW_DENIES, ANNOUNCED_OTHER},
        {&going, ANNOUNCED_VIEW_DENIES, ANNOUNCED_GONE},
        {&ready, ANNOUNCED_VIEW_OVER, ANNOUNCED_KNOWN},
        {&kubelet, ANNOUNCED_VIEW_OVER, ANNOUNCED_KUBELET},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum announced_end end;
        assert_int_equal(look(rows[i].pod, &end), rows[i].view);
        assert_int_equal(end, rows[i].end);
    }
    struct announced_pod six = pod("[fd00::7]:8012");
    assert_int_equal(
        announced_look(&six, SLICE_LIT(UID), SLICE_LIT(REV), SLICE_LIT("fd00::7"), NULL),
        ANNOUNCED_VIEW_CONFIRMS);
    assert_int_equal(
        announced_look(&six, SLICE_LIT(UID), SLICE_LIT(REV), SLICE_LIT("fd00::8"), NULL),
        ANNOUNCED_VIEW_DENIES);
}

/* Every state with every view: what it becomes, or how it ends. */
static void states_and_views(void **state)
{
    enum { STAYS = -1, EVICT = ANNOUNCED_EVICTED, DONE = ANNOUNCED_CONFIRMED };
    static const struct {
        enum announced_state from;
        enum announced_view view;
        enum announced_state to;
        int end;
    } rows[] = {
        {ANNOUNCED_DIALLED_STATE, ANNOUNCED_VIEW_NONE, ANNOUNCED_DIALLED_STATE, STAYS},
        {ANNOUNCED_DIALLED_STATE, ANNOUNCED_VIEW_OPEN, ANNOUNCED_DIALLED_STATE, STAYS},
        {ANNOUNCED_DIALLED_STATE, ANNOUNCED_VIEW_CONFIRMS, ANNOUNCED_DIALLED_STATE, STAYS},
        {ANNOUNCED_DIALLED_STATE, ANNOUNCED_VIEW_OVER, 0, DONE},
        {ANNOUNCED_DIALLED_STATE, ANNOUNCED_VIEW_DENIES, 0, EVICT},
        {ANNOUNCED_WAITING_STATE, ANNOUNCED_VIEW_NONE, ANNOUNCED_WAITING_STATE, STAYS},
        {ANNOUNCED_WAITING_STATE, ANNOUNCED_VIEW_OPEN, ANNOUNCED_USED_STATE, STAYS},
        {ANNOUNCED_WAITING_STATE, ANNOUNCED_VIEW_CONFIRMS, ANNOUNCED_CONFIRMED_STATE, STAYS},
        {ANNOUNCED_WAITING_STATE, ANNOUNCED_VIEW_OVER, 0, DONE},
        {ANNOUNCED_WAITING_STATE, ANNOUNCED_VIEW_DENIES, 0, EVICT},
        {ANNOUNCED_USED_STATE, ANNOUNCED_VIEW_NONE, ANNOUNCED_USED_STATE, STAYS},
        {ANNOUNCED_USED_STATE, ANNOUNCED_VIEW_OPEN, ANNOUNCED_USED_STATE, STAYS},
        {ANNOUNCED_USED_STATE, ANNOUNCED_VIEW_CONFIRMS, ANNOUNCED_CONFIRMED_STATE, STAYS},
        {ANNOUNCED_USED_STATE, ANNOUNCED_VIEW_OVER, 0, DONE},
        {ANNOUNCED_USED_STATE, ANNOUNCED_VIEW_DENIES, 0, EVICT},
        {ANNOUNCED_CONFIRMED_STATE, ANNOUNCED_VIEW_NONE, ANNOUNCED_CONFIRMED_STATE, STAYS},
        {ANNOUNCED_CONFIRMED_STATE, ANNOUNCED_VIEW_OPEN, 0, EVICT},
        {ANNOUNCED_CONFIRMED_STATE, ANNOUNCED_VIEW_CONFIRMS, ANNOUNCED_CONFIRMED_STATE, STAYS},
        {ANNOUNCED_CONFIRMED_STATE, ANNOUNCED_VIEW_OVER, 0, DONE},
        {ANNOUNCED_CONFIRMED_STATE, ANNOUNCED_VIEW_DENIES, 0, EVICT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct announced a = {.state = rows[i].from};
        enum announced_end end = ANNOUNCED_N;
        list_init(&a.link);
        assert_int_equal(announced_view(&a, rows[i].view, &end), rows[i].end == STAYS);
        if (rows[i].end == STAYS) {
            assert_int_equal(a.state, rows[i].to);
            assert_int_equal(announced_counts(&a), a.state == ANNOUNCED_USED_STATE ||
                                                       a.state == ANNOUNCED_CONFIRMED_STATE);
        } else {
            assert_int_equal(end, rows[i].end);
        }
    }
}

static struct announced like(char *uid)
{
    static char ns[] = "default";
    static char name[] = "a-pod";
    static char rev[] = REV;
    static char ip[] = IP;
    return (struct announced){.uid = uid, .ns = ns, .pod = name, .revision = rev, .ip = ip};
}

static void deadlines(void **state)
{
    struct announced_table t;
    char one[] = "one";
    char two[] = "two";
    uint64_t due;
    enum announced_end end;
    announced_init(&t);
    assert_null(announced_overdue(&t, 5 * MS, &due));
    assert_true(due == UINT64_MAX);
    struct announced l = like(one);
    struct announced *a = announced_add(&t, &l, 1000 * MS);
    l = like(two);
    struct announced *b = announced_add(&t, &l, 2000 * MS);
    assert_null(announced_overdue(&t, 2000 * MS, &due));
    assert_true(due == (1000 + ANNOUNCED_DEADLINE_MS) * MS);
    assert_ptr_equal(announced_overdue(&t, due, &due), a);
    /* What the API has confirmed has no deadline any more. */
    a->state = ANNOUNCED_USED_STATE;
    assert_true(announced_view(a, ANNOUNCED_VIEW_CONFIRMS, &end));
    assert_null(announced_overdue(&t, due, &due));
    assert_true(due == (2000 + ANNOUNCED_DEADLINE_MS) * MS);
    assert_ptr_equal(announced_overdue(&t, due, &due), b);
    announced_remove(&t, b);
    assert_null(announced_get(&t, SLICE_LIT("two")));
    assert_ptr_equal(announced_get(&t, SLICE_LIT("one")), a);
    announced_fini(&t);
}

static void bounded(void **state)
{
    struct announced_table t;
    announced_init(&t);
    for (unsigned i = 0; i < ANNOUNCED_MAX + 10; i++) {
        char uid[16];
        snprintf(uid, sizeof(uid), "u%u", i);
        struct announced l = like(uid);
        assert_int_equal(announced_add(&t, &l, 0) != NULL, i < ANNOUNCED_MAX);
    }
    assert_int_equal(announced_len(&t), ANNOUNCED_MAX);
    announced_fini(&t);
}

static void replays(void **state)
{
    struct announced_table t;
    char code[SHA256_HEX + 1];
    char first[] = "0000000000000001aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    announced_init(&t);
    assert_false(announced_was_seen(&t, slice_of(first, SHA256_HEX)));
    assert_true(announced_was_seen(&t, slice_of(first, SHA256_HEX)));
    for (unsigned i = 0; i < ANNOUNCED_SEEN; i++) {
        snprintf(code, sizeof(code), "%015x%049d", i + 5, 0);
        assert_false(announced_was_seen(&t, slice_of(code, SHA256_HEX)));
    }
    assert_true(announced_was_seen(&t, slice_of(code, SHA256_HEX)));
    assert_false(announced_was_seen(&t, slice_of(first, SHA256_HEX))); /* long ago */
    announced_fini(&t);
}

static void freshness(void **state)
{
    int64_t now = 1763880000000;
    assert_true(announced_is_fresh(now, now));
    assert_true(announced_is_fresh(now - ANNOUNCED_FRESH_MS, now));
    assert_false(announced_is_fresh(now - ANNOUNCED_FRESH_MS - 1, now));
    assert_true(announced_is_fresh(now + ANNOUNCED_FRESH_MS, now));
    assert_false(announced_is_fresh(now + ANNOUNCED_FRESH_MS + 1, now));
    assert_false(announced_is_fresh(0, now));
}

static void words(void **state)
{
    for (enum announced_end i = 0; i < ANNOUNCED_N; i++) {
        assert_true(strlen(announced_label(i)) > 0 && strlen(announced_words(i)) > 0);
        assert_in_range(announced_status(i), 200, 599);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_api_says),
        cmocka_unit_test(states_and_views),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(bounded),
        cmocka_unit_test(replays),
        cmocka_unit_test(freshness),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
