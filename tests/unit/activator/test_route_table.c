// SPDX-License-Identifier: Apache-2.0
/* Hosts, tags, paths and weights → revision. */
#include <stdlib.h>
#include <string.h>

#include "activator/route_table.h"
#include "test.h"

static const struct route_target one[] = {{.revision = SLICE_LIT("hello-00001"),
                                           .tag = SLICE_LIT(""),
                                           .host = SLICE_LIT(""),
                                           .percent = 100}};

static const struct route_target split[] = {
    {.revision = SLICE_LIT("hello-00001"),
     .tag = SLICE_LIT("old"),
     .host = SLICE_LIT("old-hello.default.localhost"),
     .percent = 90},
    {.revision = SLICE_LIT("hello-00002"),
     .tag = SLICE_LIT(""),
     .host = SLICE_LIT(""),
     .percent = 7},
    {.revision = SLICE_LIT("hello-00003"),
     .tag = SLICE_LIT(""),
     .host = SLICE_LIT(""),
     .percent = 3},
    {.revision = SLICE_LIT("hello-00004"),
     .tag = SLICE_LIT("next"),
     .host = SLICE_LIT("next-hello.default.localhost"),
     .percent = 0},
};

static struct route_spec spec_of(const char *name, const char *host, bool local,
                                 const struct route_target *targets, size_t count)
{
    return (struct route_spec){.ns = SLICE_LIT("default"),
                               .name = slice_str(name),
                               .host = slice_str(host),
                               .cluster_local = local,
                               .targets = targets,
                               .count = count};
}

static enum route_result match(struct route_table *t, enum route_listener listener,
                               struct slice host, struct slice path, struct route_match *out)
{
    struct route_request rq = {
        .listener = listener, .host = host, .path = path, .tag = SLICE_EMPTY};
    return route_table_match(t, &rq, out);
}

static int setup(void **state)
{
    struct route_table *t = calloc(1, sizeof(*t));
    route_table_init(t, "cluster.local");
    struct route_spec s = spec_of("hello", "hello.default.localhost", false, split, 4);
    route_table_put(t, &s);
    s = spec_of("inner", "inner.default.svc.cluster.local", true, one, 1);
    route_table_put(t, &s);
    s = spec_of("young", "", false, NULL, 0);
    route_table_put(t, &s);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    route_table_fini(*state);
    free(*state);
    return 0;
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        enum route_listener listener;
        const char *host, *path;
        enum route_result want;
        const char *route, *tag;
        size_t skip;
    } rows[] = {
        {"main host", ROUTE_PUBLIC, "hello.default.localhost", "/", ROUTE_FOUND, "hello", "", 0},
        {"with port", ROUTE_PUBLIC, "hello.default.localhost:8080", "/", ROUTE_FOUND, "hello", "",
         0},
        {"any case", ROUTE_PUBLIC, "Hello.DEFAULT.localhost", "/", ROUTE_FOUND, "hello", "", 0},
        {"final dot", ROUTE_PUBLIC, "hello.default.localhost.:80", "/", ROUTE_FOUND, "hello", "",
         0},
        {"tag host", ROUTE_PUBLIC, "next-hello.default.localhost", "/", ROUTE_FOUND, "hello",
         "next", 0},
        {"main host inside", ROUTE_LOCAL, "hello.default.localhost", "/", ROUTE_FOUND, "hello", "",
         0},
        {"short inside", ROUTE_LOCAL, "hello.default", "/", ROUTE_FOUND, "hello", "", 0},
        {"svc inside", ROUTE_LOCAL, "hello.default.svc", "/", ROUTE_FOUND, "hello", "", 0},
        {"full inside", ROUTE_LOCAL, "hello.default.svc.cluster.local:80", "/", ROUTE_FOUND,
         "hello", "", 0},
        {"tag inside", ROUTE_LOCAL, "old-hello.default.svc", "/", ROUTE_FOUND, "hello", "old", 0},
        {"short outside", ROUTE_PUBLIC, "hello.default", "/", ROUTE_UNKNOWN, "", "", 0},
        {"full outside", ROUTE_PUBLIC, "hello.default.svc.cluster.local", "/", ROUTE_UNKNOWN, "",
         "", 0},
        {"local by host outside", ROUTE_PUBLIC, "inner.default.svc.cluster.local", "/",
         ROUTE_UNKNOWN, "", "", 0},
        {"local by path outside", ROUTE_PUBLIC, "127.0.0.1", "/_lull/default/inner", ROUTE_UNKNOWN,
         "", "", 21},
        {"local by path inside", ROUTE_LOCAL, "127.0.0.1", "/_lull/default/inner", ROUTE_FOUND,
         "inner", "", 20},
        {"path", ROUTE_PUBLIC, "127.0.0.1:8080", "/_lull/default/hello", ROUTE_FOUND, "hello", "",
         20},
        {"path and rest", ROUTE_PUBLIC, "127.0.0.1", "/_lull/default/hello/a/b?c", ROUTE_FOUND,
         "hello", "", 20},
        {"path and query", ROUTE_PUBLIC, "127.0.0.1", "/_lull/default/hello?c=/", ROUTE_FOUND,
         "hello", "", 20},
        {"path of a tag", ROUTE_PUBLIC, "x", "/_lull/default/next-hello/", ROUTE_FOUND, "hello",
         "next", 25},
        {"path wins over host", ROUTE_PUBLIC, "next-hello.default.localhost",
         "/_lull/default/hello/", ROUTE_FOUND, "hello", "", 20},
        {"path without name", ROUTE_PUBLIC, "x", "/_lull/default", ROUTE_UNKNOWN, "", "", 0},
        {"path of nobody", ROUTE_PUBLIC, "x", "/_lull/default/none/", ROUTE_UNKNOWN, "", "", 0},
        {"host like a path key", ROUTE_PUBLIC, "/default/hello", "/", ROUTE_UNKNOWN, "", "", 0},
        {"empty host", ROUTE_PUBLIC, "", "/", ROUTE_UNKNOWN, "", "", 0},
        {"IPv6 host", ROUTE_PUBLIC, "[::1]:8080", "/", ROUTE_UNKNOWN, "", "", 0},
        {"no revision yet", ROUTE_LOCAL, "young.default", "/", ROUTE_NO_TARGET, "young", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct route_match m;
        enum route_result got =
            match(*state, rows[i].listener, slice_str(rows[i].host), slice_str(rows[i].path), &m);
        if (got != rows[i].want || !slice_eq_str(m.route, rows[i].route) ||
            !slice_eq_str(m.tag, rows[i].tag) ||
            (got == ROUTE_FOUND && m.path_skip != rows[i].skip)) {
            fail_msg("%s: got %d route \"%.*s\" tag \"%.*s\" skip %zu", rows[i].name, (int)got,
                     SLICE_FMT(m.route), SLICE_FMT(m.tag), m.path_skip);
        }
    }
}

static void count(struct route_table *t, int n, int seen[4])
{
    for (int i = 0; i < n; i++) {
        struct route_match m;
        assert_int_equal(
            match(t, ROUTE_PUBLIC, SLICE_LIT("hello.default.localhost"), SLICE_LIT("/"), &m),
            ROUTE_FOUND);
        seen[m.revision.ptr[m.revision.len - 1] - '1']++;
    }
}

/* Whatever the first request of the hundred, and across an update that changes nothing. */
static void test_weights_are_exact(void **state)
{
    struct route_table *t = *state;
    for (int offset = 0; offset < 17; offset++) {
        int seen[4] = {0};
        count(t, 63, seen);
        struct route_spec s = spec_of("hello", "hello.default.localhost", false, split, 4);
        route_table_put(t, &s);
        count(t, 37, seen);
        assert_int_equal(seen[0], 90);
        assert_int_equal(seen[1], 7);
        assert_int_equal(seen[2], 3);
        assert_int_equal(seen[3], 0);
        int skip[4] = {0};
        count(t, 1, skip);
    }
}

/* Every window of 100 requests of a long row, for a few splits, with updates in between. */
static void test_any_hundred_in_a_row(void **state)
{
    static const uint32_t splits[][4] = {
        {90, 7, 3, 0}, {97, 1, 1, 1}, {34, 33, 33, 0}, {50, 50, 0, 0}, {25, 25, 25, 25}};
    struct route_table *t = *state;
    for (size_t s = 0; s < ARRAY_LEN(splits); s++) {
        struct route_target targets[4];
        static const char *const names[] = {"r-1", "r-2", "r-3", "r-4"};
        for (int i = 0; i < 4; i++) {
            targets[i] = (struct route_target){.revision = slice_str(names[i]),
                                               .tag = SLICE_EMPTY,
                                               .host = SLICE_EMPTY,
                                               .percent = splits[s][i]};
        }
        struct route_spec spec = spec_of("hello", "hello.default.localhost", false, targets, 4);
        int row[450];
        for (int i = 0; i < 450; i++) {
            if (i % 37 == 0) {
                route_table_put(t, &spec);
            }
            int one_seen[4] = {0};
            count(t, 1, one_seen);
            row[i] = one_seen[0] ? 0 : one_seen[1] ? 1 : one_seen[2] ? 2 : 3;
        }
        for (int from = 0; from + 100 <= 450; from++) {
            uint32_t seen[4] = {0};
            for (int i = from; i < from + 100; i++) {
                seen[row[i]]++;
            }
            assert_memory_equal(seen, splits[s], sizeof(seen));
        }
    }
}

static void test_tag_header(void **state)
{
    struct route_table *t = *state;
    struct route_match m;
    struct route_request rq = {.listener = ROUTE_PUBLIC,
                               .host = SLICE_LIT("hello.default.localhost"),
                               .path = SLICE_LIT("/"),
                               .tag = SLICE_LIT("next")};
    assert_int_equal(route_table_match(t, &rq, &m), ROUTE_FOUND);
    ASSERT_SLICE(m.tag, ""); /* the feature is off */
    t->tag_header = true;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(route_table_match(t, &rq, &m), ROUTE_FOUND);
        ASSERT_SLICE(m.revision, "hello-00004");
        ASSERT_SLICE(m.tag, "next");
    }
    rq.tag = SLICE_LIT("nExt");
    assert_int_equal(route_table_match(t, &rq, &m), ROUTE_FOUND);
    ASSERT_SLICE(m.tag, ""); /* exact, or the default route */
    rq.host = SLICE_LIT("next-hello.default.localhost");
    rq.tag = SLICE_LIT("other");
    assert_int_equal(route_table_match(t, &rq, &m), ROUTE_FOUND);
    ASSERT_SLICE(m.revision, "hello-00004");
    rq = (struct route_request){.listener = ROUTE_PUBLIC,
                                .host = SLICE_LIT("x"),
                                .path = SLICE_LIT("/_lull/default/hello/x"),
                                .tag = SLICE_LIT("next")};
    assert_int_equal(route_table_match(t, &rq, &m), ROUTE_FOUND);
    ASSERT_SLICE(m.tag, "next");
}

static void test_host_form(void **state)
{
    struct route_table *t = *state;
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, 256);
    route_table_host_form(t, ROUTE_PUBLIC, &s);
    ASSERT_SLICE(strbuf_slice(&s), "NAME.NAMESPACE.localhost");
    route_table_remove(t, SLICE_LIT("default"), SLICE_LIT("hello"));
    strbuf_clear(&s);
    route_table_host_form(t, ROUTE_PUBLIC, &s);
    ASSERT_SLICE(strbuf_slice(&s), "NAME.NAMESPACE.DOMAIN");
    strbuf_clear(&s);
    route_table_host_form(t, ROUTE_LOCAL, &s);
    ASSERT_SLICE(strbuf_slice(&s), "NAME.NAMESPACE.svc.cluster.local");
}

static void test_same_revision_twice(void **state)
{
    static const struct route_target twice[] = {
        {.revision = SLICE_LIT("r-1"), .tag = SLICE_LIT("a"), .percent = 50},
        {.revision = SLICE_LIT("r-2"), .percent = 25},
        {.revision = SLICE_LIT("r-1"), .percent = 25},
    };
    struct route_table *t = *state;
    struct route_spec s = spec_of("hello", "hello.default.localhost", false, twice, 3);
    route_table_put(t, &s);
    int seen[4] = {0};
    count(t, 100, seen);
    assert_int_equal(seen[0], 75);
    assert_int_equal(seen[1], 25);
}

/* During a rollout a tag has several revisions; and one tag may be for inside only. */
static void test_a_tag_that_is_shared(void **state)
{
    static const struct route_target shared[] = {
        {.revision = SLICE_LIT("r-1"), .tag = SLICE_LIT("a"), .percent = 75},
        {.revision = SLICE_LIT("r-2"), .tag = SLICE_LIT("a"), .percent = 25},
        {.revision = SLICE_LIT("r-3"), .tag = SLICE_LIT("b"), .cluster_local = true},
    };
    struct route_table *t = *state;
    struct route_match m;
    struct route_spec s = spec_of("hello", "hello.default.localhost", false, shared, 3);
    route_table_put(t, &s);
    int seen[4] = {0};
    count(t, 100, seen);
    assert_int_equal(seen[0], 75);
    assert_int_equal(seen[1], 25);
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < 100; i++) {
        (void)match(t, ROUTE_PUBLIC, SLICE_LIT("x"), SLICE_LIT("/_lull/default/a-hello"), &m);
        seen[m.revision.ptr[m.revision.len - 1] - '1']++;
    }
    assert_int_equal(seen[0], 75);
    assert_int_equal(seen[1], 25);
    struct slice path = SLICE_LIT("/_lull/default/b-hello");
    assert_int_equal(match(t, ROUTE_PUBLIC, SLICE_LIT("x"), path, &m), ROUTE_UNKNOWN);
    assert_int_equal(match(t, ROUTE_LOCAL, SLICE_LIT("x"), path, &m), ROUTE_FOUND);
    ASSERT_SLICE(m.revision, "r-3");
}

static void test_update_and_remove(void **state)
{
    struct route_table *t = *state;
    struct route_match m;
    struct route_spec s = spec_of("hello", "greet.example.org", false, one, 1);
    route_table_put(t, &s);
    assert_int_equal(
        match(t, ROUTE_PUBLIC, SLICE_LIT("hello.default.localhost"), SLICE_LIT("/"), &m),
        ROUTE_UNKNOWN);
    assert_int_equal(match(t, ROUTE_PUBLIC, SLICE_LIT("greet.example.org"), SLICE_LIT("/"), &m),
                     ROUTE_FOUND);
    assert_int_equal(match(t, ROUTE_LOCAL, SLICE_LIT("next-hello.default"), SLICE_LIT("/"), &m),
                     ROUTE_UNKNOWN);
    route_table_remove(t, SLICE_LIT("default"), SLICE_LIT("hello"));
    route_table_remove(t, SLICE_LIT("default"), SLICE_LIT("never-there"));
    assert_int_equal(match(t, ROUTE_PUBLIC, SLICE_LIT("greet.example.org"), SLICE_LIT("/"), &m),
                     ROUTE_UNKNOWN);
    assert_int_equal(route_table_len(t), 2);
}

/* Two Routes claim one host: the older keeps it, the younger gets it when the older goes. */
static void test_contested_host(void **state)
{
    struct route_table *t = *state;
    struct route_match m;
    struct route_spec s = spec_of("thief", "hello.default.localhost", false, one, 1);
    route_table_put(t, &s);
    (void)match(t, ROUTE_PUBLIC, SLICE_LIT("hello.default.localhost"), SLICE_LIT("/"), &m);
    ASSERT_SLICE(m.route, "hello");
    s = spec_of("hello", "hello.default.localhost", false, split, 4);
    route_table_put(t, &s); /* an update is no new claim */
    (void)match(t, ROUTE_PUBLIC, SLICE_LIT("hello.default.localhost"), SLICE_LIT("/"), &m);
    ASSERT_SLICE(m.route, "hello");
    route_table_remove(t, SLICE_LIT("default"), SLICE_LIT("hello"));
    (void)match(t, ROUTE_PUBLIC, SLICE_LIT("hello.default.localhost"), SLICE_LIT("/"), &m);
    ASSERT_SLICE(m.route, "thief");
}

/* A Route "next-hello" of its own wins over the tag "next" of "hello". */
static void test_main_name_wins_over_tag(void **state)
{
    struct route_table *t = *state;
    struct route_match m;
    struct route_spec s = spec_of("next-hello", "next-hello.default.localhost", false, one, 1);
    route_table_put(t, &s);
    (void)match(t, ROUTE_PUBLIC, SLICE_LIT("next-hello.default.localhost"), SLICE_LIT("/"), &m);
    ASSERT_SLICE(m.route, "next-hello");
    (void)match(t, ROUTE_PUBLIC, SLICE_LIT("x"), SLICE_LIT("/_lull/default/next-hello"), &m);
    ASSERT_SLICE(m.route, "next-hello");
}

/* A domain leads to its Route, also a cluster-local one or one that comes later; a Route's own
 * names go first. */
static void test_mapped_domains(void **state)
{
    struct route_table *t = *state;
    struct route_match m;
    struct slice domain = SLICE_LIT("shop.example.com");
    struct slice any = SLICE_LIT("/");
    assert_int_equal(match(t, ROUTE_PUBLIC, domain, any, &m), ROUTE_UNKNOWN);
    route_table_map_domain(t, SLICE_LIT("Shop.Example.com"), SLICE_LIT("default"),
                           SLICE_LIT("inner"), 0);
    assert_int_equal(match(t, ROUTE_PUBLIC, SLICE_LIT("SHOP.example.com:8080"), any, &m),
                     ROUTE_FOUND);
    ASSERT_SLICE(m.route, "inner");
    assert_int_equal(match(t, ROUTE_LOCAL, domain, any, &m), ROUTE_FOUND);
    route_table_map_domain(t, domain, SLICE_LIT("default"), SLICE_LIT("late"), 0);
    assert_int_equal(match(t, ROUTE_PUBLIC, domain, any, &m), ROUTE_UNKNOWN);
    struct route_spec s = spec_of("late", "late.default.localhost", false, one, 1);
    route_table_put(t, &s);
    assert_int_equal(match(t, ROUTE_PUBLIC, domain, any, &m), ROUTE_FOUND);
    ASSERT_SLICE(m.route, "late");
    /* Another namespace gets it; the first one's end changes nothing then. */
    route_table_map_domain(t, domain, SLICE_LIT("other"), SLICE_LIT("nobody"), 0);
    route_table_unmap_domain(t, domain, SLICE_LIT("default"));
    assert_int_equal(match(t, ROUTE_PUBLIC, domain, any, &m), ROUTE_UNKNOWN);
    route_table_map_domain(t, domain, SLICE_LIT("default"), SLICE_LIT("late"), 0);
    route_table_unmap_domain(t, domain, SLICE_LIT("default"));
    assert_int_equal(match(t, ROUTE_PUBLIC, domain, any, &m), ROUTE_UNKNOWN);
    /* Nobody takes a Route's own name away. */
    route_table_map_domain(t, SLICE_LIT("late.default.localhost"), SLICE_LIT("default"),
                           SLICE_LIT("inner"), 0);
    assert_int_equal(match(t, ROUTE_PUBLIC, SLICE_LIT("late.default.localhost"), any, &m),
                     ROUTE_FOUND);
    ASSERT_SLICE(m.route, "late");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_hundred_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tag_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host_form, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_revision_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_tag_that_is_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update_and_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contested_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_main_name_wins_over_tag, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mapped_domains, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
