// SPDX-License-Identifier: Apache-2.0
//
// A Pod's status for each state of its replica, as clients of Kubernetes read it.
#include <string.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/agent/pod_json.h"
#include "test.h"

#define SECOND 1000000000LL
#define SPEC                                                                   \
    "\"spec\":{\"containers\":[{\"name\":\"user-container\",\"image\":\"i\"}," \
    "{\"name\":\"queue-proxy\",\"image\":\"\"}]}"

static json_t *parsed(const char *text)
{
    json_t *root = NULL;
    struct error err;
    ASSERT_OK(jparse_object(slice_str(text), 1u << 20, &root, &err));
    return root;
}

// The Pod after its status was written at this time.
static json_t *written(const json_t *pod, const struct replica_state *state,
                       const struct pod_trouble *trouble, int64_t now_ns)
{
    json_t *patch = NULL;
    struct error err;
    ASSERT_OK(pod_status_build(pod, state, trouble, now_ns, &patch, &err));
    json_t *after = jmerge_patch(pod, patch);
    json_decref(patch);
    return after;
}

static struct replica_state state_of(const char *line)
{
    struct replica_state s;
    struct error err;
    ASSERT_OK(replica_state_parse(line, strlen(line), &s, &err));
    return s;
}

static void test_each_state(void **unused)
{
    (void)unused;
    static const struct {
        const char *line, *phase, *ready, *path, *want;
    } ROWS[] = {
        {"{\"phase\":\"running\",\"pid\":7,\"startedAt\":1000000000}", "Running", "False",
         "state.running.startedAt", "1970-01-01T00:00:01Z"},
        {"{\"phase\":\"running\",\"pid\":7,\"proxyPid\":8,\"ready\":true}", "Running", "True",
         "state.running.startedAt", "1970-01-01T00:00:00Z"},
        {"{\"phase\":\"backoff\",\"restarts\":1,\"code\":5,\"message\":\"why\"}", "Pending",
         "False", "state.waiting.message",
         "back-off before the next start; it ended with exit status 5, saying: why"},
        {"{\"phase\":\"backoff\",\"restarts\":1,\"code\":137,\"signal\":9}", "Pending", "False",
         "state.waiting.message",
         "back-off before the next start; it ended with signal 9 and no output"},
        {"{\"phase\":\"backoff\",\"restarts\":1,\"code\":-1,\"message\":\"cannot execute x\"}",
         "Pending", "False", "state.waiting.message", "cannot execute x"},
        {"{\"phase\":\"backoff\",\"restarts\":1,\"code\":5}", "Pending", "False",
         "lastState.terminated.reason", "Error"},
        {"{\"phase\":\"draining\",\"pid\":7}", "Running", "False", "state.running.startedAt",
         "1970-01-01T00:00:00Z"},
        {"{\"phase\":\"ended\",\"code\":0}", "Pending", "False", "state.terminated.reason",
         "Completed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct replica_state s = state_of(ROWS[i].line);
        struct pod_trouble none = {0};
        char path[128];
        json_t *pod = parsed("{" SPEC "}"), *after = written(pod, &s, &none, SECOND);
        snprintf(path, sizeof path, "status.containerStatuses[0].%s", ROWS[i].path);
        assert_string_equal(jpeek_cstr(after, "status.phase"), ROWS[i].phase);
        assert_string_equal(jpeek_cstr(after, "status.conditions[2].type"), "Ready");
        assert_string_equal(jpeek_cstr(after, "status.conditions[2].status"), ROWS[i].ready);
        assert_string_equal(jpeek_cstr(after, path), ROWS[i].want);
        json_decref(after);
        json_decref(pod);
    }
}

static void test_a_condition_keeps_its_time(void **unused)
{
    (void)unused;
    static const char AT[] = "status.conditions[2].lastTransitionTime";
    struct pod_trouble none = {0};
    struct replica_state up = state_of("{\"phase\":\"running\",\"pid\":7,\"ready\":true}");
    struct replica_state down = state_of("{\"phase\":\"running\",\"pid\":7,\"ready\":false}");
    json_t *pod = parsed("{" SPEC "}");
    const struct {
        const struct replica_state *state;
        const char *want, *started;
    } steps[] = {
        {&down, "1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z"},
        {&down, "1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z"},
        {&up, "1970-01-01T00:00:03Z", "1970-01-01T00:00:01Z"},
        {&up, "1970-01-01T00:00:03Z", "1970-01-01T00:00:01Z"},
        {&down, "1970-01-01T00:00:05Z", "1970-01-01T00:00:01Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        json_t *after = written(pod, steps[i].state, &none, (int64_t)(i + 1) * SECOND);
        assert_string_equal(jpeek_cstr(after, AT), steps[i].want);
        assert_string_equal(jpeek_cstr(after, "status.startTime"), steps[i].started);
        json_decref(pod);
        pod = after;
    }
    json_decref(pod);
}

static void test_troubles(void **unused)
{
    (void)unused;
    struct replica_state none = {0};
    // Cut inside a character, as a bounded message may be.
    struct pod_trouble full = {"Unschedulable", "no room \xe2\x80", true};
    struct pod_trouble image = {"ErrImagePull", "not here", false};
    json_t *pod = parsed("{" SPEC "}"), *after = written(pod, &none, &full, SECOND);

    assert_string_equal(jpeek_cstr(after, "status.phase"), "Pending");
    assert_string_equal(jpeek_cstr(after, "status.conditions[0].reason"), "Unschedulable");
    assert_true(
        slice_starts_with(jpeek_str(after, "status.conditions[0].message"), SLICE_LIT("no room ")));
    assert_null(jget(after, "status.containerStatuses"));
    json_decref(after);
    after = written(pod, &none, &image, SECOND);
    assert_string_equal(jpeek_cstr(after, "status.conditions[0].status"), "True");
    assert_string_equal(jpeek_cstr(after, "status.containerStatuses[0].state.waiting.reason"),
                        "ErrImagePull");
    json_decref(after);
    json_decref(pod);
}

static void test_memory_requests(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int64_t want;
    } ROWS[] = {
        {"{}", 0},
        {"{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"memory\":\"1Mi\"},"
         "\"limits\":{\"memory\":\"9Mi\"}}},{\"resources\":{\"limits\":{\"memory\":\"2Mi\"}}}]}}",
         3 << 20},
        {"{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"memory\":\"8000P\"}}},"
         "{\"resources\":{\"requests\":{\"memory\":\"8000P\"}}}]}}",
         INT64_MAX},
        {"{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"memory\":\"lots\"}}}]}}", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        json_t *pod = parsed(ROWS[i].text);
        assert_int_equal(pod_memory_request(pod), ROWS[i].want);
        json_decref(pod);
    }
}

static void test_lines_that_are_none(void **unused)
{
    (void)unused;
    static const char *const WRONG[] = {"", "{", "[]", "running", "{\"phase\":\"\xff\"}"};
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        struct replica_state s;
        struct error err;
        assert_true(replica_state_parse(WRONG[i], strlen(WRONG[i]), &s, &err) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_state),
        cmocka_unit_test(test_a_condition_keeps_its_time),
        cmocka_unit_test(test_troubles),
        cmocka_unit_test(test_memory_requests),
        cmocka_unit_test(test_lines_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
