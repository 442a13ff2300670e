// SPDX-License-Identifier: Apache-2.0
/* The controller's small parts: conditions, Pods, the queue, the reference index, settings. */
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/expect.h"
#include "controller/health.h"
#include "controller/pods.h"
#include "controller/ref_index.h"
#include "controller/work_queue.h"
#include "fake_api.h"
#include "test.h"

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &value, &err));
    return value;
}

static void ready_follows(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *info;
        const char *want, *reason;
    } rows[] = {
        {"True", "True", "True", "True", ""},       {"True", "Unknown", "True", "Unknown", "b"},
        {"Unknown", "False", "True", "False", "b"}, {"False", "False", "True", "False", "a"},
        {"True", "True", "False", "True", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct condition list[] = {{"A", rows[i].a, "a", "", false},
                                         {"B", rows[i].b, "b", "", false},
                                         {"C", rows[i].info, "c", "", true}};
        struct condition got = conditions_ready(list, 3);
        assert_string_equal(got.status, rows[i].want);
        assert_string_equal(got.reason, rows[i].reason);
    }
}

static void transition_time_stays(void **state)
{
    (void)state;
    CLEANUP(jfree)
    json_t *object = parse("{\"status\":{\"conditions\":[{\"type\":\"B\",\"status\":\"True\","
                           "\"lastTransitionTime\":\"old\"}]}}");
    const struct condition list[] = {{"B", "True", "", "", false}, {"A", "False", "r", "m", true}};
    CLEANUP(jfree) json_t *got = conditions_build(list, 2, object, "new");
    CLEANUP(jfree)
    json_t *want = parse(
        "[{\"type\":\"A\",\"status\":\"False\",\"lastTransitionTime\":\"new\",\"reason\":\"r\","
        "\"message\":\"m\",\"severity\":\"Info\"},{\"type\":\"B\",\"status\":\"True\","
        "\"lastTransitionTime\":\"old\"},{\"type\":\"Ready\",\"status\":\"True\","
        "\"lastTransitionTime\":\"new\"}]");
    assert_true(json_equal(got, want));
    /* A message that was cut inside a character is still told. */
    const struct condition cut[] = {{"Ready", "False", "r", "caf\xc3", false}};
    CLEANUP(jfree) json_t *told = conditions_build(cut, 1, object, "new");
    assert_string_equal(jpeek_cstr(json_array_get(told, 0), "message"), "caf\xef\xbf\xbd");
}

#define POD(status) \
    "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}},\"status\":{" status "}}"
#define USER(state) "\"containerStatuses\":[{\"name\":\"user-container\"," state "}]"

static void pods_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ready, running;
        enum replica_trouble trouble;
        const char *reason, *message;
    } rows[] = {
        {POD("\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]," USER(
             "\"state\":{\"running\":{}}")),
         true, true, TROUBLE_NONE, "", ""},
        {POD("\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":"
             "\"Unschedulable\",\"message\":\"no room\"}]"),
         false, false, TROUBLE_UNSCHEDULABLE, "Unschedulable", "no room"},
        {POD(USER("\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}")), false, false,
         TROUBLE_NONE, "", ""},
        {POD(USER("\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"none\"}}")),
         false, false, TROUBLE_WAITING, "ErrImagePull", "none"},
        {POD(USER("\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{"
                  "\"terminated\":{\"exitCode\":9,\"message\":\"boom\\n\"}}")),
         false, false, TROUBLE_EXITED, "", "boom"},
        {POD(USER("\"state\":{\"running\":{}},\"lastState\":{\"terminated\":{\"exitCode\":9,"
                  "\"reason\":\"Error\"}}")),
         false, true, TROUBLE_EXITED, "Error", "Error"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jfree) json_t *pod = parse(rows[i].text);
        struct pod_view got;
        assert_true(pod_read(pod, &got));
        assert_int_equal(got.ready, rows[i].ready);
        assert_int_equal(got.running, rows[i].running);
        assert_int_equal(got.trouble, rows[i].trouble);
        assert_string_equal(got.reason, rows[i].reason);
        assert_string_equal(got.message, rows[i].message);
    }
    CLEANUP(jfree) json_t *other = parse("{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
    struct pod_view got;
    assert_false(pod_read(other, &got));
}

/* A long sentence of the runtime keeps both ends, a function's last words theirs, and no character
 * is cut in half: half a character would be no JSON. */
static void long_messages_are_cut(void **state)
{
    (void)state;
    char words[4 * 300 + 1] = "";
    for (size_t i = 0; i < 300; i++) {
        memcpy(words + 4 * i, i % 2 == 0 ? "a€" : "b€", 5);
    }
    for (int i = 0; i < 2; i++) {
        char text[2048];
        if (i == 0) {
            snprintf(text, sizeof(text),
                     POD(USER("\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\","
                              "\"message\":\"begin%send\"}}")),
                     words);
        } else {
            snprintf(text, sizeof(text),
                     POD(USER("\"state\":{\"terminated\":{\"exitCode\":1,"
                              "\"message\":\"%send\"}}")),
                     words);
        }
        CLEANUP(jfree) json_t *pod = parse(text);
        struct pod_view got;
        assert_true(pod_read(pod, &got));
        size_t len = strlen(got.message);
        assert_in_range(len, sizeof(got.message) - 8, sizeof(got.message) - 1);
        CLEANUP(jfree) json_t *valid = json_string(got.message);
        assert_non_null(valid);
        if (i == 0) {
            assert_memory_equal(got.message, "begin", 5);
            assert_non_null(strstr(got.message, "…"));
        } else {
            assert_memory_equal(got.message, "…", 3);
        }
        assert_string_equal(got.message + len - 3, "end");
    }
}

static void health_by_time(void **state)
{
    (void)state;
    CLEANUP(jfree) json_t *revision = json_object();
    CLEANUP(jfree) json_t *deployment = parse("{\"spec\":{\"replicas\":1}}");
    struct health_input in = {.revision = revision,
                              .deployment = deployment,
                              .initial_scale = 1,
                              .deadline_ms = 60000,
                              .port = 80};
    struct health out;
    health_decide(&in, &out);
    assert_string_equal(out.resources.status, "Unknown");
    assert_string_equal(out.resources.reason, "Deploying");
    assert_int_equal(out.again_ms, 5000);
    in.age_ms = 12000;
    in.replicas.running = 1;
    health_decide(&in, &out);
    assert_non_null(strstr(out.resources.message, "nothing listens on port 80"));
    assert_string_equal(out.resources.reason, "NotListening");
    assert_int_equal(out.again_ms, 48000);
    in.age_ms = 60000;
    health_decide(&in, &out);
    assert_string_equal(out.resources.status, "False");
    assert_string_equal(out.resources.reason, "ProgressDeadlineExceeded");
    in.replicas.ready = 1;
    health_decide(&in, &out);
    assert_string_equal(out.resources.status, "True");
    assert_string_equal(out.container.status, "True");
    in.initial_scale = 0;
    in.replicas = (struct replicas){0};
    health_decide(&in, &out);
    assert_string_equal(out.resources.status, "True");
}

/* --- the queue
 * ------------------------------------------------------------------------------------ */

struct queue_world {
    struct loop loop;
    struct work_queue *q;
    struct work_item *token; /* of the run that was not answered */
    char log[256];
    bool hold;
    bool fail_once;
    bool fail_always;
    uint64_t failed_ms[16]; /* when it was made to fail, with fail_always */
    unsigned failures;
    uint64_t again_ms;
    bool closed;
};

static void on_run(void *arg, struct work_key key, struct work_item *token)
{
    struct queue_world *w = arg;
    size_t len = strlen(w->log);
    snprintf(w->log + len, sizeof(w->log) - len, "%s/%s ", key.ns, key.name);
    if (w->hold) {
        w->token = token;
        return;
    }
    bool fail = w->fail_once || w->fail_always;
    if (w->fail_always && w->failures < ARRAY_LEN(w->failed_ms)) {
        w->failed_ms[w->failures++] = loop_now_ms(&w->loop);
    }
    uint64_t again_ms = w->again_ms;
    w->fail_once = false;
    w->again_ms = 0;
    work_queue_done(token, fail, again_ms);
}

static void on_queue_closed(void *arg)
{
    struct queue_world *w = arg;
    w->closed = true;
}

static void queue_runs_keys(void **state)
{
    (void)state;
    struct queue_world w = {.hold = false};
    struct error err = {0};
    ASSERT_OK(loop_init(&w.loop, &err));
    w.q = work_queue_new(&w.loop, 1, on_run, &w);
    work_queue_add(w.q, KIND_SERVICE, "n", "a");
    work_queue_add(w.q, KIND_SERVICE, "n", "b");
    work_queue_add(w.q, KIND_SERVICE, "n", "a"); /* waits already */
    loop_turn(&w.loop, false);
    assert_string_equal(w.log, ""); /* not open */
    work_queue_open(w.q);
    RUN_UNTIL(&w.loop, strcmp(w.log, "n/a n/b ") == 0);
    assert_int_equal(work_queue_waiting(w.q), 0);

    w.log[0] = '\0';
    w.fail_once = true; /* again by itself */
    work_queue_add(w.q, KIND_SERVICE, "n", "c");
    RUN_UNTIL(&w.loop, strcmp(w.log, "n/c n/c ") == 0);

    w.log[0] = '\0';
    w.again_ms = 1;
    work_queue_add(w.q, KIND_SERVICE, "n", "d");
    RUN_UNTIL(&w.loop, strcmp(w.log, "n/d n/d ") == 0);

    w.log[0] = '\0';
    w.hold = true; /* added while it runs: once more afterwards, never twice at a time */
    work_queue_add(w.q, KIND_SERVICE, "n", "e");
    RUN_UNTIL(&w.loop, w.token != NULL);
    work_queue_add(w.q, KIND_SERVICE, "n", "e");
    work_queue_add(w.q, KIND_SERVICE, "n", "e");
    work_queue_add(w.q, KIND_SERVICE, "n", "f"); /* one run at a time */
    for (int i = 0; i < 5; i++) {
        loop_turn(&w.loop, false);
    }
    assert_string_equal(w.log, "n/e ");
    assert_int_equal(work_queue_running(w.q), 1);
    w.hold = false;
    work_queue_done(w.token, false, 0);
    RUN_UNTIL(&w.loop, strcmp(w.log, "n/e n/f n/e ") == 0);

    w.hold = true;
    w.token = NULL;
    work_queue_add(w.q, KIND_SERVICE, "n", "g");
    RUN_UNTIL(&w.loop, w.token != NULL);
    work_queue_close(w.q, on_queue_closed, &w);
    work_queue_add(w.q, KIND_SERVICE, "n", "h");
    loop_turn(&w.loop, false);
    assert_false(w.closed);
    work_queue_done(w.token, true, 0);
    RUN_UNTIL(&w.loop, w.closed);
    loop_run(&w.loop);
    ASSERT_OK(loop_fini(&w.loop, &err));
}

/* What has time is done when nothing else is to be done; news of it make it urgent. */
static void queue_does_news_first(void **state)
{
    (void)state;
    struct queue_world w = {.hold = false};
    struct error err = {0};
    ASSERT_OK(loop_init(&w.loop, &err));
    w.q = work_queue_new(&w.loop, 1, on_run, &w);
    work_queue_add_later(w.q, KIND_SERVICE, "n", "a");
    work_queue_add_later(w.q, KIND_SERVICE, "n", "b");
    work_queue_add(w.q, KIND_SERVICE, "n", "c");
    work_queue_add_later(w.q, KIND_SERVICE, "n", "c");
    work_queue_add(w.q, KIND_SERVICE, "n", "b");
    assert_int_equal(work_queue_waiting(w.q), 3);
    work_queue_open(w.q);
    RUN_UNTIL(&w.loop, strcmp(w.log, "n/c n/b n/a ") == 0);

    w.log[0] = '\0';
    w.hold = true; /* what comes while it runs goes before the rest */
    work_queue_add_later(w.q, KIND_SERVICE, "n", "d");
    work_queue_add_later(w.q, KIND_SERVICE, "n", "e");
    RUN_UNTIL(&w.loop, w.token != NULL);
    work_queue_add_later(w.q, KIND_SERVICE, "n", "d");
    work_queue_add(w.q, KIND_SERVICE, "n", "f");
    w.hold = false;
    work_queue_done(w.token, false, 0);
    RUN_UNTIL(&w.loop, strcmp(w.log, "n/d n/f n/d n/e ") == 0);
    assert_int_equal(work_queue_waiting(w.q), 0);

    for (int i = 0; i < 200; i++) { /* with a rest now and then: all are done at the end */
        char name[8];
        snprintf(name, sizeof(name), "%d", i);
        work_queue_add_later(w.q, KIND_SERVICE, "n", name);
    }
    RUN_UNTIL(&w.loop, work_queue_waiting(w.q) + work_queue_running(w.q) == 0);
    work_queue_add_later(w.q, KIND_SERVICE, "n", "g");
    work_queue_close(w.q, on_queue_closed, &w);
    RUN_UNTIL(&w.loop, w.closed);
    loop_run(&w.loop);
    ASSERT_OK(loop_fini(&w.loop, &err));
}

/* While the API server is away a key is tried less and less often, whatever else it asked for; once
 * it is back, at once. */
static void queue_backs_off(void **state)
{
    enum { TRIES = 9, SHORT = 3 };
    struct queue_world w = {.fail_always = true, .again_ms = 1};
    struct error err = {0};
    ASSERT_OK(loop_init(&w.loop, &err));
    w.q = work_queue_new(&w.loop, 1, on_run, &w);
    work_queue_open(w.q);
    work_queue_add(w.q, KIND_SERVICE, "n", "a");
    for (unsigned i = 0; i < TRIES; i++) {
        RUN_UNTIL(&w.loop, w.failures == i + 1);
        work_queue_add(w.q, KIND_SERVICE, "n", "a"); /* news do not shorten it */
        assert_int_equal(work_queue_waiting(w.q), 0);
        if (i > 0) { /* 5 ms, twice that, … with a jitter of a fifth */
            assert_true(w.failed_ms[i] - w.failed_ms[i - 1] >= (4u << (i - 1)));
        }
    }
    uint64_t back_ms = loop_now_ms(&w.loop);
    work_queue_retry(w.q);
    assert_int_equal(work_queue_waiting(w.q), 1);
    RUN_UNTIL(&w.loop, w.failures == TRIES + SHORT);
    assert_true(loop_now_ms(&w.loop) - back_ms < 4000); /* else 1024 + 2048 + 4000 at least */
    work_queue_close(w.q, on_queue_closed, &w);
    RUN_UNTIL(&w.loop, w.closed);
    loop_run(&w.loop);
    ASSERT_OK(loop_fini(&w.loop, &err));
}

static void note(void *arg, const char *ns, const char *from)
{
    char *text = arg;
    size_t len = strlen(text);
    snprintf(text + len, 64 - len, "%s/%s ", ns, from);
}

static void references(void **state)
{
    (void)state;
    struct ref_index index;
    char text[64] = "";
    ref_index_init(&index);
    ref_index_add(&index, "n", "a", "x");
    ref_index_add(&index, "n", "a", "y");
    ref_index_add(&index, "n", "a", "x");
    ref_index_add(&index, "m", "a", "z");
    ref_index_each(&index, "n", "a", note, text);
    assert_string_equal(text, "n/x n/y ");
    ref_index_remove(&index, "n", "a", "x");
    ref_index_remove(&index, "n", "a", "x");
    ref_index_remove(&index, "q", "a", "x");
    text[0] = '\0';
    ref_index_each(&index, "n", "a", note, text);
    assert_string_equal(text, "n/y ");
    ref_index_fini(&index);
}

static const char *fake_version(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    const char *const *versions = arg; /* of "a" and of "b" */
    assert_int_equal(kind, KIND_POD);
    assert_string_equal(ns, "n");
    return versions[name[0] - 'a'];
}

static void expectations(void **state)
{
    (void)state;
    struct expectations e;
    struct work_key key = {KIND_SERVICE, "n", "x"};
    struct work_key other = {KIND_SERVICE, "n", "y"};
    const char *versions[2] = {"9", NULL};
    expect_init(&e);
    assert_true(expect_met(&e, key, fake_version, versions));
    expect_add(&e, key, KIND_POD, key.ns, "a", "10");
    expect_add(&e, key, KIND_POD, key.ns, "b", "11");
    expect_add(&e, key, KIND_POD, key.ns, "a", "no number");
    assert_false(expect_met(&e, key, fake_version, versions));
    assert_true(expect_met(&e, other, fake_version, versions));
    versions[0] = "10";
    assert_false(expect_met(&e, key, fake_version, versions)); /* b is not there yet */
    versions[1] = "100";
    assert_true(expect_met(&e, key, fake_version, versions));
    versions[1] = NULL;
    assert_true(expect_met(&e, key, fake_version, versions)); /* forgotten */
    expect_add(&e, key, KIND_POD, key.ns, "b", "200");
    expect_drop(&e, key);
    assert_true(expect_met(&e, key, fake_version, versions));
    expect_add(&e, key, KIND_POD, key.ns, "b", "200");
    expect_fini(&e);
}

static void config_maps(void **state)
{
    (void)state;
    struct settings s;
    struct error err = {0};
    settings_init(&s, "img", "lull-system");
    CLEANUP(jfree) json_t *good = parse("{\"progress-deadline\":\"30s\"}");
    CLEANUP(jfree) json_t *bad = parse("{\"progress-deadline\":\"soon\"}");
    CLEANUP(jfree) json_t *scale = parse("{\"initial-scale\":\"2\"}");
    ASSERT_OK(settings_read(&s, CONFIG_DEPLOYMENT, good, &err));
    assert_int_equal(s.deployment.progress_deadline_s, 30);
    ASSERT_ERR(ERR_INVALID, settings_read(&s, CONFIG_DEPLOYMENT, bad, &err));
    ASSERT_MSG("config-deployment");
    assert_int_equal(s.deployment.progress_deadline_s, 30);
    ASSERT_OK(settings_read(&s, CONFIG_DEPLOYMENT, NULL, &err));
    assert_int_equal(s.deployment.progress_deadline_s, 600);
    ASSERT_OK(settings_read(&s, CONFIG_AUTOSCALER, scale, &err));
    assert_int_equal(s.autoscaler.initial_scale, 2);
    CLEANUP(jfree)
    json_t *log = parse("{\"logging.enable-request-log\":\"true\","
                        "\"logging.request-log-template\":\"{{.TraceID}}\"}");
    CLEANUP(jfree)
    json_t *no_log = parse("{\"logging.enable-request-log\":\"false\","
                           "\"logging.request-log-template\":\"{{.Nope}}\"}");
    CLEANUP(jfree) json_t *odd_log = parse("{\"logging.enable-probe-request-log\":\"maybe\"}");
    ASSERT_OK(settings_read(&s, CONFIG_OBSERVABILITY, log, &err));
    assert_true(s.observability.request_log && !s.observability.request_log_probes);
    assert_string_equal(s.observability.request_log_template, "{{.TraceID}}");
    ASSERT_ERR(ERR_INVALID, settings_read(&s, CONFIG_OBSERVABILITY, no_log, &err));
    ASSERT_MSG("logging.request-log-template");
    ASSERT_ERR(ERR_INVALID, settings_read(&s, CONFIG_OBSERVABILITY, odd_log, &err));
    ASSERT_MSG("logging.enable-probe-request-log");
    assert_true(s.observability.request_log); /* as before */
    ASSERT_OK(settings_read(&s, CONFIG_OBSERVABILITY, NULL, &err));
    assert_false(s.observability.request_log);
    assert_true(settings_wants(CONFIG_OBSERVABILITY));
    assert_true(settings_wants(CONFIG_NETWORK));
    assert_false(settings_wants("other"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_follows),
        cmocka_unit_test(transition_time_stays),
        cmocka_unit_test(pods_are_read),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(health_by_time),
        cmocka_unit_test(queue_runs_keys),
        cmocka_unit_test(queue_does_news_first),
        cmocka_unit_test(queue_backs_off),
        cmocka_unit_test(references),
        cmocka_unit_test(expectations),
        cmocka_unit_test(config_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
