// SPDX-License-Identifier: Apache-2.0
/* The cache against a scripted server: list, watch, cuts, 410, and what is reported when. */
#include "base/mem.h"
#include "json/jget.h"
#include "kube/cache.h"
#include "fake_api.h"
#include "test.h"

struct world {
    struct loop loop;
    struct fake_api api;
    struct kube_client *client;
    struct kube_cache *cache;
    bool closed;
    bool cache_closed;
    char log[1024]; /* what was reported: "+a=1 ~a=2(1) -a=2 synced " */
    int live;       /* values not released */
};

struct value {
    int64_t n;
    char *owned;
};

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct world *w = arg;
    struct value *v = value;
    assert_null(jget(object, "spec.big"));
    if (jpeek_bool(object, "broken")) {
        return error_set(err, ERR_INVALID, "broken");
    }
    if (jpeek_bool(object, "ignore")) {
        return 1;
    }
    v->n = jpeek_i64(object, "n");
    v->owned = xstrdup("x");
    w->live++;
    return 0;
}

static void release(void *arg, void *value)
{
    struct world *w = arg;
    struct value *v = value;
    if (v->owned != NULL) {
        w->live--;
    }
    free(v->owned);
}

static void say(struct world *w, const char *fmt, const struct kube_entry *entry, int64_t old)
{
    const struct value *v = entry == NULL ? NULL : entry->value;
    size_t len = strlen(w->log);
    const char *name = entry == NULL ? "" : entry->name;
    if (old >= 0) {
        snprintf(w->log + len, sizeof(w->log) - len, "~%s=%d(%d) ", name, (int)v->n, (int)old);
    } else if (entry != NULL) {
        snprintf(w->log + len, sizeof(w->log) - len, "%s%s=%d ", fmt, name, (int)v->n);
    } else {
        snprintf(w->log + len, sizeof(w->log) - len, "%s ", fmt);
    }
}

static void on_add(void *arg, const struct kube_entry *entry)
{
    say(arg, "+", entry, -1);
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    const struct value *v = old;
    say(arg, "~", entry, v->n);
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    say(arg, "-", entry, -1);
}

static void on_synced(void *arg)
{
    say(arg, "synced", NULL, -1);
}

static void on_closed(void *arg)
{
    bool *flag = arg;
    *flag = true;
}

static void world_start(struct world *w, const struct fake_step *steps, size_t n)
{
    struct error err = {0};
    *w = (struct world){0};
    ASSERT_OK(loop_init(&w->loop, &err));
    fake_api_start(&w->api, &w->loop, steps, n);
    struct kube_config config = {.server = w->api.url};
    ASSERT_OK(kube_client_new(&w->loop, &config, NULL, &w->client, &err));
    static const char *const without[] = {"spec.big", NULL};
    struct kube_cache_options options = {.kind = {"", "v1", "pods"},
                                         .label_selector = "l",
                                         .without = without,
                                         .value_size = sizeof(struct value),
                                         .optional = true,
                                         .project = project,
                                         .release = release,
                                         .on_add = on_add,
                                         .on_update = on_update,
                                         .on_delete = on_delete,
                                         .on_synced = on_synced,
                                         .arg = w};
    ASSERT_OK(kube_cache_start(w->client, &options, &w->cache, &err));
}

static void world_end(struct world *w)
{
    struct error err = {0};
    kube_cache_close(w->cache, on_closed, &w->cache_closed);
    kube_cache_close(w->cache, on_closed, &w->cache_closed);
    RUN_UNTIL(&w->loop, w->cache_closed);
    assert_int_equal(w->live, 0);
    kube_client_close(w->client, on_closed, &w->closed);
    RUN_UNTIL(&w->loop, w->closed);
    fake_api_close(&w->api);
    loop_run(&w->loop);
    ASSERT_OK(loop_fini(&w->loop, &err));
    assert_false(w->api.unexpected);
    fake_api_free(&w->api);
}

#define OBJ(name, n, rv)                                                         \
    "{\"metadata\":{\"namespace\":\"x\",\"name\":\"" name "\",\"uid\":\"u-" name \
    "\",\"resourceVersion\":\"" rv "\"},\"n\":" n "}"
#define EV(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define LIST(rv, items)  "{\"metadata\":{\"resourceVersion\":\"" rv "\"},\"items\":[" items "]}"
#define LIST_PATH        "GET /api/v1/pods?labelSelector=l&limit=500"
#define WATCH_PATH       "GET /api/v1/pods?labelSelector=l&watch=true&allowWatchBookmarks=true"
#define WATCH(rv)        WATCH_PATH "&resourceVersion=" rv "&timeoutSeconds="

static void lists_then_watches(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200, LIST("5", OBJ("a", "1", "3") "," OBJ("b", "2", "4"))},
        {WATCH("5"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    assert_false(kube_cache_synced(w.cache));
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache));
    assert_string_equal(w.log, "+a=1 +b=2 synced ");
    assert_true(kube_cache_synced(w.cache));
    assert_int_equal(((struct value *)kube_cache_value(w.cache, "x", "a"))->n, 1);
    assert_null(kube_cache_get(w.cache, "x", "c"));
    assert_null(kube_cache_get(w.cache, "", "a"));
    w.log[0] = '\0';
    fake_api_send(&w.api, EV("MODIFIED", OBJ("a", "7", "6")) EV("DELETED", OBJ("b", "2", "7")));
    fake_api_send(&w.api, "{\"type\":\"ADDED\",\"obj"); /* an event in two pieces */
    RUN_UNTIL(&w.loop, strcmp(w.log, "~a=7(1) -b=2 ") == 0);
    fake_api_send(&w.api, "ect\":" OBJ("c", "3", "8") "}\n");
    RUN_UNTIL(&w.loop, strcmp(w.log, "~a=7(1) -b=2 +c=3 ") == 0);
    assert_string_equal(kube_cache_get(w.cache, "x", "c")->uid, "u-c");
    assert_int_equal(kube_cache_len(w.cache), 2);
    world_end(&w);
}

static void a_cut_watch_goes_on(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200, LIST("5", OBJ("a", "1", "3"))},
        {WATCH("5"), 200, NULL, .stream = true},
        {WATCH("9"), 0},
        {WATCH("9"), 503, "busy"},
        {WATCH("9"), 200, NULL, .stream = true},
        {WATCH("12"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache));
    fake_api_send(&w.api, EV("MODIFIED", OBJ("a", "2", "8")));
    fake_api_send(&w.api, EV("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"9\"}}"));
    RUN_UNTIL(&w.loop, strstr(w.log, "~a=2(1)") != NULL);
    fake_api_cut(&w.api);
    RUN_UNTIL(&w.loop, !kube_cache_connected(w.cache));
    assert_int_equal(kube_cache_len(w.cache), 1); /* what is known stays */
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache) && w.api.n_requests == 5);
    w.log[0] = '\0';
    fake_api_send(&w.api, EV("MODIFIED", OBJ("a", "3", "12")));
    RUN_UNTIL(&w.loop, strcmp(w.log, "~a=3(2) ") == 0);
    fake_api_end(&w.api);
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache) && w.api.n_requests == 6);
    world_end(&w);
}

/* Events that come twice, too late or in the wrong order change nothing that is known better. */
static void what_is_older_is_no_news(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200, LIST("5", OBJ("a", "1", "3") "," OBJ("b", "2", "4"))},
        {WATCH("5"), 200, NULL, .stream = true},
        {WATCH("12"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache));
    w.log[0] = '\0';
    fake_api_send(&w.api, EV("MODIFIED", OBJ("a", "8", "8")) EV("MODIFIED", OBJ("a", "7", "7")));
    fake_api_send(&w.api, EV("DELETED", OBJ("b", "2", "10")) EV("MODIFIED", OBJ("b", "3", "9")));
    fake_api_send(&w.api, EV("DELETED", OBJ("a", "7", "7")));
    fake_api_send(&w.api, EV("DELETED", OBJ("c", "1", "12")) EV("ADDED", OBJ("c", "1", "11")));
    fake_api_send(&w.api, EV("ADDED", OBJ("d", "1", "6"))); /* late, and nothing newer is known */
    RUN_UNTIL(&w.loop, strcmp(w.log, "~a=8(1) -b=2 +d=1 ") == 0);
    fake_api_cut(&w.api); /* it goes on after the newest */
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache) && w.api.n_requests == 3);
    fake_api_send(&w.api, EV("ADDED", OBJ("b", "5", "13"))); /* back, in another state */
    RUN_UNTIL(&w.loop, strcmp(w.log, "~a=8(1) -b=2 +d=1 +b=5 ") == 0);
    world_end(&w);
}

#define GONE EV("ERROR", "{\"code\":410,\"reason\":\"Expired\",\"kind\":\"Status\"}")
#define OLD_LIST                                      \
    {                                                 \
        LIST_PATH, 200, LIST("4", OBJ("a", "0", "4")) \
    }

/* A list of a server that lags behind takes nothing away; one that goes on was set back in time. */
static void an_older_list_is_asked_for_again(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200, LIST("5", OBJ("a", "1", "5") "," OBJ("b", "2", "5"))},
        {WATCH("5"), 200, NULL, .stream = true},
        OLD_LIST,
        {LIST_PATH, 200, LIST("9", OBJ("a", "3", "9"))},
        {WATCH("9"), 200, NULL, .stream = true},
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        OLD_LIST,
        {WATCH("4"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache));
    w.log[0] = '\0';
    fake_api_send(&w.api, GONE);
    RUN_UNTIL(&w.loop, w.api.n_requests == 5 && kube_cache_connected(w.cache));
    assert_string_equal(w.log, "~a=3(1) -b=2 ");
    w.log[0] = '\0';
    fake_api_send(&w.api, GONE);
    RUN_UNTIL(&w.loop, w.api.n_requests == 15 && kube_cache_connected(w.cache));
    assert_string_equal(w.log, "~a=0(3) ");
    world_end(&w);
}

static void gone_lists_anew(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200,
         LIST("5", OBJ("a", "1", "3") "," OBJ("b", "2", "4") "," OBJ("c", "3", "5"))},
        {WATCH("5"), 410, "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}"},
        {LIST_PATH, 200, LIST("20", OBJ("a", "1", "3") "," OBJ("b", "9", "19"))},
        {WATCH("20"), 200, NULL, .stream = true},
        {LIST_PATH, 200, LIST("30", OBJ("a", "1", "3"))},
        {WATCH("30"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, w.api.n_requests == 4 && kube_cache_connected(w.cache));
    assert_string_equal(w.log, "+a=1 +b=2 +c=3 synced ~b=9(2) -c=3 ");
    w.log[0] = '\0';
    fake_api_send(&w.api, EV("ERROR", "{\"kind\":\"Status\",\"code\":410,\"message\":\"old\"}"));
    RUN_UNTIL(&w.loop, w.api.n_requests == 6 && kube_cache_connected(w.cache));
    assert_string_equal(w.log, "-b=9 ");
    world_end(&w);
}

static void odd_objects(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200,
         LIST("5",
              OBJ("a", "1", "3") ",{},{\"metadata\":{\"namespace\":\"x\",\"name\":\"i\",\"uid\":"
                                 "\"i\",\"resourceVersion\":\"1\"},\"ignore\":true}")},
        {WATCH("5"), 200, NULL, .stream = true},
        {LIST_PATH, 200, LIST("9", OBJ("a", "5", "9"))},
        {WATCH("9"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache));
    assert_string_equal(w.log, "+a=1 synced ");
    w.log[0] = '\0';
    /* Made anew under its name; then out of our sight; then no JSON at all. */
    fake_api_send(&w.api,
                  EV("MODIFIED", "{\"metadata\":{\"namespace\":\"x\",\"name\":\"a\",\"uid\":"
                                 "\"new\",\"resourceVersion\":\"6\"},\"n\":4}"));
    RUN_UNTIL(&w.loop, strcmp(w.log, "-a=1 +a=4 ") == 0);
    fake_api_send(&w.api,
                  EV("MODIFIED", "{\"metadata\":{\"namespace\":\"x\",\"name\":\"a\",\"uid\":"
                                 "\"new\",\"resourceVersion\":\"7\"},\"broken\":true}"));
    RUN_UNTIL(&w.loop, strcmp(w.log, "-a=1 +a=4 -a=4 ") == 0);
    fake_api_send(&w.api, "what?\n");
    RUN_UNTIL(&w.loop, w.api.n_requests == 4 && kube_cache_connected(w.cache));
    assert_string_equal(w.log, "-a=1 +a=4 -a=4 +a=5 ");
    world_end(&w);
}

static void pages(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200,
         "{\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"t/1\"},\"items\":[" OBJ(
             "a", "1", "3") "]}"},
        {LIST_PATH "&continue=t%2F1", 200, LIST("5", OBJ("b", "2", "4"))},
        {WATCH("5"), 200, NULL, .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, kube_cache_connected(w.cache));
    assert_string_equal(w.log, "+a=1 +b=2 synced ");
    world_end(&w);
}

#define BIG(name, n, rv)                                                         \
    "{\"metadata\":{\"namespace\":\"x\",\"name\":\"" name "\",\"uid\":\"u-" name \
    "\",\"resourceVersion\":\"" rv "\"},\"spec\":{\"big\":[{\"a\":1}]},\"n\":" n "}"

static void what_nobody_reads_is_left_out(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200, LIST("5", BIG("a", "1", "3"))},
        {WATCH("5"), 200, EV("ADDED", BIG("b", "1", "6")), .stream = true},
    };
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, strcmp(w.log, "+a=1 synced +b=1 ") == 0);
    world_end(&w);
}

static void a_kind_that_is_not_served_has_no_objects(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{LIST_PATH, 404, "404 page not found"}};
    struct world w;
    world_start(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, strcmp(w.log, "synced ") == 0);
    assert_true(kube_cache_synced(w.cache));
    assert_string_equal(kube_cache_trouble(w.cache), "");
    world_end(&w);
}

static void close_at_any_turn(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {LIST_PATH, 200, LIST("5", OBJ("a", "1", "3"))},
        {WATCH("5"), 200, EV("ADDED", OBJ("b", "1", "6")), .stream = true},
    };
    for (int turns = 0; turns < 20; turns++) {
        struct world w;
        world_start(&w, steps, ARRAY_LEN(steps));
        for (int i = 0; i < turns; i++) {
            loop_turn(&w.loop, false);
        }
        world_end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_then_watches),
        cmocka_unit_test(a_cut_watch_goes_on),
        cmocka_unit_test(gone_lists_anew),
        cmocka_unit_test(what_is_older_is_no_news),
        cmocka_unit_test(an_older_list_is_asked_for_again),
        cmocka_unit_test(odd_objects),
        cmocka_unit_test(pages),
        cmocka_unit_test(what_nobody_reads_is_left_out),
        cmocka_unit_test(a_kind_that_is_not_served_has_no_objects),
        cmocka_unit_test(close_at_any_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
