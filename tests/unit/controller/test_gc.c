// SPDX-License-Identifier: Apache-2.0
/* Which Revisions go, by a table of their ages; and what config-gc may say. */
#include "controller/gc.h"
#include "controller/plan.h"
#include "test.h"

#define S INT64_C(1000000000)

enum { REVISIONS_MAX = 8, NOW_S = 100000 };

/* Ages in seconds. state: 'r' in reserve, 'a' active, 'k' in reserve but to be kept, 'u' in reserve
 * but named by a Route. */
struct age {
    char name;
    char state;
    int created;
    int idle;
};

struct row {
    const char *about;
    struct gc_config config; /* times in seconds */
    struct age ages[REVISIONS_MAX];
    const char *gone; /* names, in order */
    uint64_t again_s; /* 0: never */
};

static const struct row rows[] = {
    {"nothing to do", {10, 10, 0, 5}, {{0}}, "", 0},
    {"old and idle go, oldest activity first",
     {10, 10, 0, GC_DISABLED},
     {{'a', 'r', 50, 20}, {'b', 'r', 50, 30}, {'c', 'a', 60, 60}},
     "ba",
     0},
    {"both ages must be reached",
     {40, 10, 0, GC_DISABLED},
     {{'a', 'r', 50, 5}, {'b', 'r', 30, 20}, {'c', 'r', 50, 20}},
     "c",
     5},
    {"the minimum stays",
     {10, 10, 2, GC_DISABLED},
     {{'a', 'r', 50, 20}, {'b', 'r', 50, 30}},
     "",
     0},
    {"down to the minimum",
     {10, 10, 1, GC_DISABLED},
     {{'a', 'r', 50, 20}, {'b', 'r', 50, 30}, {'c', 'r', 50, 40}},
     "cb",
     0},
    {"active, kept and routed ones do not count",
     {10, 10, 0, GC_DISABLED},
     {{'a', 'a', 50, 20}, {'k', 'k', 50, 30}, {'u', 'u', 50, 30}, {'L', 'r', 90, 90}},
     "",
     0},
    {"above the maximum the oldest go, young as they are",
     {1000, 1000, 0, 1},
     {{'a', 'r', 5, 3}, {'b', 'r', 6, 4}, {'c', 'r', 7, 2}},
     "ba",
     998},
    {"stale ones first, then down to the maximum",
     {100, 10, 0, 1},
     {{'a', 'r', 50, 40}, {'b', 'r', 200, 20}, {'c', 'r', 60, 30}, {'d', 'r', 10, 5}},
     "bac",
     90},
    {"the maximum alone",
     {GC_DISABLED, GC_DISABLED, 0, 2},
     {{'a', 'r', 50, 40}, {'b', 'r', 200, 20}, {'c', 'r', 60, 30}},
     "a",
     0},
    {"everything disabled",
     {GC_DISABLED, GC_DISABLED, 0, GC_DISABLED},
     {{'a', 'r', 50, 40}, {'b', 'r', 200, 20}},
     "",
     0},
    {"one age disabled",
     {GC_DISABLED, 30, 0, GC_DISABLED},
     {{'a', 'r', 50, 40}, {'b', 'r', 200, 20}},
     "a",
     10},
    {"at most an hour until the next look",
     {1, 90000, 0, GC_DISABLED},
     {{'a', 'r', 50, 40}},
     "",
     3600},
};

static void test_table(void **state)
{
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        const struct row *row = &rows[r];
        struct revision_facts facts[REVISIONS_MAX];
        char names[REVISIONS_MAX][2] = {{0}};
        char gone[REVISIONS_MAX + 1] = "";
        uint64_t next_ms = 0;
        struct gc_config config = row->config;
        config.since_create_ns *= config.since_create_ns == GC_DISABLED ? 1 : S;
        config.since_active_ns *= config.since_active_ns == GC_DISABLED ? 1 : S;
        struct gc_input in = {
            .config = &config, .latest_ready = "L", .now_ns = NOW_S * S, .revisions = facts};
        for (; in.count < REVISIONS_MAX && row->ages[in.count].name != 0; in.count++) {
            const struct age *age = &row->ages[in.count];
            names[in.count][0] = age->name;
            facts[in.count] = (struct revision_facts){.name = names[in.count],
                                                      .uid = "",
                                                      .created_ns = (NOW_S - age->created) * S,
                                                      .active_ns = (NOW_S - age->idle) * S,
                                                      .reserve = age->state != 'a',
                                                      .keep = age->state == 'k',
                                                      .routed = age->state == 'u'};
        }
        size_t n = gc_decide(&in, &next_ms);
        assert_true(n <= in.count);
        for (size_t i = 0; i < n; i++) {
            gone[i] = facts[i].name[0];
        }
        if (strcmp(gone, row->gone) != 0 || (next_ms + 999) / 1000 < row->again_s ||
            next_ms / 1000 > row->again_s) {
            fail_msg("%s: gone \"%s\", wanted \"%s\"; again %llu ms, wanted %llu s", row->about,
                     gone, row->gone, (unsigned long long)next_ms,
                     (unsigned long long)row->again_s);
        }
    }
}

/* A time that cannot be read: not old, and no overflow. */
static void test_odd_times(void **state)
{
    uint64_t next_ms = 0;
    struct gc_config config = {INT64_MAX, INT64_MAX, 0, GC_DISABLED};
    struct revision_facts facts[] = {
        {.name = "a", .created_ns = INT64_MAX, .active_ns = INT64_MAX, .reserve = true},
        {.name = "b", .created_ns = INT64_MIN, .active_ns = INT64_MIN, .reserve = true},
        {.name = "c", .created_ns = 0, .active_ns = INT64_MIN, .reserve = true},
    };
    struct gc_input in = {
        .config = &config, .latest_ready = "", .now_ns = S, .revisions = facts, .count = 3};
    assert_int_equal(gc_decide(&in, &next_ms), 1);
    assert_string_equal(facts[0].name, "b");
}

static void test_config(void **state)
{
    struct gc_config config;
    struct error err;
    gc_config_init(&config);
    json_t *data =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "retain-since-create-time", "1h30m",
                  "retain-since-last-active-time", "Disabled", "min-non-active-revisions", "3",
                  "max-non-active-revisions", "disabled", "_example", "whatever: 3");
    assert_int_equal(gc_config_read(&config, data, &err), 0);
    assert_int_equal(config.since_create_ns, 5400 * S);
    assert_int_equal(config.since_active_ns, GC_DISABLED);
    assert_int_equal(config.min_non_active, 3);
    assert_int_equal(config.max_non_active, GC_DISABLED);
    json_decref(data);
    static const struct {
        const char *key, *value, *words;
    } bad[] = {
        {"retain-since-create-time", "soon", "failed to parse retain-since-create-time"},
        {"retain-since-last-active-time", "-3s", "must be non-negative"},
        {"min-non-active-revisions", "-1",
         "min-non-active-revisions must be non-negative, was: -1"},
        {"min-non-active-revisions", "disabled", "failed to parse min-non-active-revisions"},
        {"max-non-active-revisions", "-7", "max-non-active-revisions must be"},
        {"max-non-active-revisions", "5",
         "min-non-active-revisions(20) must be <= max-non-active-revisions(5)"},
    };
    struct gc_config before = config;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        data = json_pack("{s:s}", bad[i].key, bad[i].value);
        assert_int_equal(gc_config_read(&config, data, &err), ERR_INVALID);
        if (strstr(err.msg, bad[i].words) == NULL) {
            fail_msg("%s", err.msg);
        }
        assert_memory_equal(&before, &config, sizeof(config));
        json_decref(data);
    }
    assert_int_equal(gc_config_read(&config, NULL, &err), 0);
    assert_int_equal(config.max_non_active, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_odd_times),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
