// SPDX-License-Identifier: Apache-2.0
/* The links of the reporter, to autoscalers that listen, come late, or never read. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "activator/reporter.h"
#include "test.h"
#include "test_loop.h"

#define HELLO 1
#define STATS 2
#define POKE  3

/* An autoscaler that counts what it hears. */
struct ear {
    struct link_server *server;
    unsigned up;
    unsigned hellos;
    unsigned stats;
    unsigned pokes;
};

struct world {
    struct loop *loop;
    struct throttler throttler;
    struct ticket ticket;
    struct revision *revision;
    struct reporter reporter;
    char *dir;
    bool closed;
};

static void on_up(struct link_peer *peer, void *data)
{
    ((struct ear *)data)->up++;
}

static void on_frame(struct link_peer *peer, uint8_t type, struct slice payload, void *data)
{
    struct ear *ear = data;
    ear->hellos += type == HELLO;
    ear->stats += type == STATS;
    ear->pokes += type == POKE;
}

static void on_down(struct link_peer *peer, const struct error *why, void *data)
{
    ((struct ear *)data)->up--;
}

static void listen_at(struct world *w, struct ear *ear, const char *name)
{
    static const struct link_server_events events = {on_up, on_frame, on_down};
    struct link_server_options options = {.events = &events, .data = ear};
    struct error err;
    CLEANUP(cleanup_free) char *path = xasprintf("unix:%s/%s", w->dir, name);
    *ear = (struct ear){0};
    ASSERT_OK(addr_parse(slice_str(path), &options.addr, &err));
    ASSERT_OK(link_server_start(w->loop, &options, &ear->server, &err));
}

static void setup(struct world *w, struct loop *loop, const char *names)
{
    static const struct throttler_limits limits = {
        .max_held_per_revision = 10, .max_held = 10, .max_held_bytes = 1 << 20, .hold_ms = 60000};
    struct error err;
    *w = (struct world){.loop = loop, .dir = test_dir()};
    throttler_init(&w->throttler, &limits, 1);
    w->revision =
        throttler_revision(&w->throttler, SLICE_LIT("default"), SLICE_LIT("hello-00001"), true);
    struct strbuf list;
    strbuf_init(&list, 4096);
    for (const char *name = names; *name != '\0'; name++) {
        strbuf_appendf(&list, "%sunix:%s/%c", name == names ? "" : ", ", w->dir, *name);
    }
    struct config config = {.autoscaler = names[0] == '\0' ? (char[]){"pods:1"} : list.ptr};
    ASSERT_OK(reporter_start(&w->reporter, loop, &config, "a1", &w->throttler, &err));
    strbuf_fini(&list);
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->closed = true;
}

static void teardown(struct world *w)
{
    reporter_close(&w->reporter, on_closed, w);
    LOOP_UNTIL(w->loop, w->closed);
    throttler_cancel(&w->throttler, &w->ticket, loop_now_ns(w->loop));
    throttler_fini(&w->throttler);
    test_dir_remove(w->dir);
}

static void on_ended(void *arg)
{
    ((struct ear *)arg)->server = NULL;
}

static void end(struct world *w, struct ear *ear)
{
    link_server_close(ear->server, on_ended, ear);
    LOOP_UNTIL(w->loop, ear->server == NULL);
}

/* The request that is being held for. */
static void hold(struct world *w)
{
    assert_int_equal(
        throttler_admit(&w->throttler, w->revision, &w->ticket, 1, loop_now_ns(w->loop)),
        ADMIT_HELD);
}

static void test_all_are_told_the_same(void **state)
{
    struct world w;
    struct ear a, b;
    setup(&w, *state, "ab");
    listen_at(&w, &a, "a");
    listen_at(&w, &b, "b");
    LOOP_UNTIL(w.loop, a.stats > 1 && b.stats > 1);
    assert_int_equal(a.hellos, 1);
    assert_int_equal(b.hellos, 1);
    assert_true(reporter_connected(&w.reporter));
    hold(&w);
    reporter_poke(&w.reporter, w.revision);
    LOOP_UNTIL(w.loop, a.pokes == 1 && b.pokes == 1);
    teardown(&w);
    end(&w, &a);
    end(&w, &b);
}

/* A standby that starts while a request waits hears of it at once, not only with the next report.
 */
static void test_one_that_comes_late_is_poked(void **state)
{
    struct world w;
    struct ear a, b;
    struct error err;
    setup(&w, *state, "a");
    listen_at(&w, &a, "a");
    LOOP_UNTIL(w.loop, a.up == 1);
    hold(&w);
    listen_at(&w, &b, "b");
    CLEANUP(cleanup_free) char *address = xasprintf("unix:%s/b", w.dir);
    ASSERT_OK(reporter_add(&w.reporter, address, &err));
    ASSERT_OK(reporter_add(&w.reporter, address, &err)); /* told twice: still one */
    assert_int_equal(w.reporter.links.count, 2);
    LOOP_UNTIL(w.loop, b.pokes == 1);
    reporter_remove(&w.reporter, address);
    reporter_remove(&w.reporter, address);
    LOOP_UNTIL(w.loop, b.up == 0);
    assert_true(reporter_connected(&w.reporter));
    unsigned stats = a.stats;
    LOOP_UNTIL(w.loop, a.stats > stats);
    teardown(&w);
    end(&w, &a);
    end(&w, &b);
}

/* It takes connections and never reads: what is queued for it is bounded, and the other one gets
 * everything. */
static void test_a_deaf_one_delays_no_other(void **state)
{
    enum { ROUNDS = 400, POKES = 250 };
    struct world w;
    struct ear b;
    setup(&w, *state, "ab");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/a", w.dir);
    int deaf = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(deaf, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(deaf, 8), 0);
    listen_at(&w, &b, "b");
    LOOP_UNTIL(w.loop, b.up == 1 && w.reporter.sent >= 2); /* both HELLOs */
    hold(&w);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        for (unsigned k = 0; k < POKES; k++) {
            reporter_poke(&w.reporter, w.revision);
        }
        LOOP_UNTIL(w.loop, b.pokes >= i * POKES);
    }
    assert_true(w.reporter.lost > 0);
    assert_int_equal(b.hellos, 1);
    assert_int_equal(b.up, 1);
    teardown(&w);
    end(&w, &b);
    close(deaf);
}

static void test_no_more_than_its_links(void **state)
{
    struct world w;
    struct error err;
    char address[64];
    setup(&w, *state, "");
    for (int i = 0; i < LINK_GROUP_MAX; i++) {
        (void)snprintf(address, sizeof(address), "unix:/nowhere/%d", i);
        ASSERT_OK(reporter_add(&w.reporter, address, &err));
    }
    ASSERT_ERR(ERR_OVERLOAD, reporter_add(&w.reporter, "unix:/nowhere/more", &err));
    assert_false(reporter_connected(&w.reporter));
    reporter_remove(&w.reporter, "unix:/nowhere/0");
    ASSERT_OK(reporter_add(&w.reporter, "unix:/nowhere/more", &err));
    teardown(&w);
}

static void test_what_autoscaler_may_say(void **state)
{
    struct world w;
    struct error err;
    struct config config = {.autoscaler = (char[]){"pods:8090"}};
    assert_int_equal(link_group_pods_port(config.autoscaler), 8090);
    config.autoscaler = (char[]){"pods:0"};
    assert_int_equal(link_group_pods_port(config.autoscaler), 0);
    config.autoscaler = (char[]){"10.0.0.7:8090"};
    assert_int_equal(link_group_pods_port(config.autoscaler), 0);
    static const char *const bad[] = {"unix:/tmp/x, not-an-address", "pods:many"};
    setup(&w, *state, "");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reporter other;
        struct world its = {.loop = w.loop};
        CLEANUP(cleanup_free) char *said = xstrdup(bad[i]);
        config.autoscaler = said;
        ASSERT_ERR(ERR_INVALID, reporter_start(&other, w.loop, &config, "a1", &w.throttler, &err));
        reporter_close(&other, on_closed, &its);
        LOOP_UNTIL(w.loop, its.closed);
    }
    teardown(&w);
}

#define ON_A_LOOP(f) cmocka_unit_test_setup_teardown(f, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_LOOP(test_all_are_told_the_same),      ON_A_LOOP(test_one_that_comes_late_is_poked),
        ON_A_LOOP(test_a_deaf_one_delays_no_other), ON_A_LOOP(test_no_more_than_its_links),
        ON_A_LOOP(test_what_autoscaler_may_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
