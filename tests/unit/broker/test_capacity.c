// SPDX-License-Identifier: Apache-2.0
/* How much a function is to have at once, and whose name a target is. */
#include "broker/capacity.h"
#include "broker/target.h"
#include "test.h"

static void what_replicas_can_take(void **state)
{
    static const struct {
        const char *name;
        struct capacity_facts facts[3];
        size_t n;
        unsigned want;
    } rows[] = {
        {"none ready, one at a time: what wakes it", {{1, 0, 0, true}}, 1, 1},
        {"ten ready", {{1, 0, 10, true}}, 1, 10},
        {"a limit of five", {{5, 0, 3, true}}, 1, 15},
        {"no limit, none ready", {{0, 0, 0, true}}, 1, 100},
        {"no limit", {{0, 0, 2, true}}, 1, 200},
        {"by concurrency as much again waits", {{1, 0, 3, false}}, 1, 6},
        {"… from zero too", {{1, 0, 0, false}}, 1, 2},
        {"a target of concurrency", {{0, 2.5, 2, false}}, 1, 12},
        {"two revisions", {{1, 0, 4, true}, {2, 0, 3, true}}, 2, 10},
        {"one of them has none yet", {{1, 0, 4, true}, {8, 0, 0, true}}, 2, 8},
        {"absurd", {{1000, 0, INT32_MAX, true}}, 1, 1000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned got = capacity_of(rows[i].facts, rows[i].n);
        if (got != rows[i].want) {
            fail_msg("%s: %u", rows[i].name, got);
        }
    }
}

static void names_of_the_cluster(void **state)
{
    static const struct {
        const char *url, *ns, *name; /* name NULL: nobody's */
    } rows[] = {
        {"http://work.default.svc.cluster.local", "default", "work"},
        {"http://work.default.svc.cluster.local:80/a?b=c", "default", "work"},
        {"https://work.a-b.svc.cluster.local/", "a-b", "work"},
        {"http://a.work.default.svc.cluster.local", NULL, NULL},
        {"http://default.svc.cluster.local", NULL, NULL},
        {"http://.default.svc.cluster.local", NULL, NULL},
        {"http://work..svc.cluster.local", NULL, NULL},
        {"http://work.default.example.com", NULL, NULL},
        {"http://127.0.0.1:8080/", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t;
        struct error err = {0};
        struct slice ns;
        struct slice name;
        ASSERT_OK(target_parse(slice_str(rows[i].url), &t, &err));
        bool got = capacity_service(&t, &ns, &name);
        if (got != (rows[i].name != NULL) ||
            (got && (!slice_eq_str(ns, rows[i].ns) || !slice_eq_str(name, rows[i].name)))) {
            fail_msg("%s", rows[i].url);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_replicas_can_take),
        cmocka_unit_test(names_of_the_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
