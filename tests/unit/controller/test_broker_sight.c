// SPDX-License-Identifier: Apache-2.0
/* Whether lull-broker is there: what its Deployment says, and when Brokers hear of it. */
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "controller/broker_part.h"
#include "test.h"

static struct broker_seen read_text(const char *text)
{
    struct broker_seen seen;
    struct error err = {0};
    CLEANUP(jfree) json_t *deployment = NULL;
    if (text != NULL) {
        ASSERT_OK(jparse(slice_str(text), 1 << 16, &deployment, &err));
    }
    broker_deployment_read(deployment, "lull-system", "lull-broker", &seen);
    return seen;
}

#define PROGRESS(status, reason)                                                               \
    "\"conditions\":[{\"type\":\"Progressing\",\"status\":\"" status "\",\"reason\":\"" reason \
    "\"}]"

static void deployments(void **state)
{
    static const struct {
        const char *text, *word;
        enum broker_phase phase;
    } rows[] = {
        {"{\"status\":{\"availableReplicas\":1," PROGRESS("True", "ReplicaSetUpdated") "}}", "",
         BROKER_UP},
        {"{\"status\":{\"availableReplicas\":2," PROGRESS("False", "ProgressDeadlineExceeded") "}}",
         "", BROKER_UP},
        {"{}", "is ready yet", BROKER_STARTING},
        {"{\"spec\":{\"replicas\":2},\"status\":{" PROGRESS("True", "ReplicaSetUpdated") "}}",
         "is ready yet", BROKER_STARTING},
        {"{\"spec\":{\"replicas\":2},\"status\":{" PROGRESS("True", "NewReplicaSetAvailable") "}}",
         "is ready;", BROKER_AWAY},
        {"{\"status\":{" PROGRESS("False", "ProgressDeadlineExceeded") "}}", "is ready;",
         BROKER_AWAY},
        {"{\"spec\":{\"replicas\":0},\"status\":{" PROGRESS("True", "NewReplicaSetAvailable") "}}",
         "zero", BROKER_AWAY},
        {NULL, "no Deployment lull-system/lull-broker", BROKER_AWAY},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct broker_seen seen = read_text(rows[i].text);
        assert_int_equal(seen.phase, rows[i].phase);
        assert_non_null(strstr(seen.message, rows[i].word));
        assert_int_equal(seen.message[0] == '\0', seen.phase == BROKER_UP);
    }
}

/* A run of sights: seconds, what is seen, what is told then. */
struct moment {
    uint64_t s;
    enum broker_phase seen, told;
};

static void run(const struct moment *moments, size_t n, uint64_t steady_ms)
{
    struct broker_sight sight = {.told.phase = BROKER_UNKNOWN};
    for (size_t i = 0; i < n; i++) {
        struct broker_seen seen = {.phase = moments[i].seen};
        enum broker_phase before = sight.told.phase;
        bool changed = broker_sight_step(&sight, &seen, steady_ms, moments[i].s * 1000);
        if (sight.told.phase != moments[i].told || changed != (before != sight.told.phase)) {
            fail_msg("row %zu: told %d, changed %d", i, (int)sight.told.phase, changed);
        }
    }
}

#define U BROKER_UP
#define A BROKER_AWAY
#define S BROKER_STARTING
#define N BROKER_UNKNOWN

static void a_short_absence_is_not_told(void **state)
{
    (void)state;
    static const struct moment m[] = {
        {1, N, N},  {2, S, S},  {3, U, U},  /* a start is told at once */
        {5, A, U},  {14, A, U}, {20, U, U}, /* short */
        {30, A, U}, {39, S, U}, {40, A, A}, /* long: 10 s */
        {41, A, A}, {50, U, A}, {52, U, A},
        {53, U, U},                         /* and there again, for 3 s */
        {60, A, U}, {69, U, U}, {70, A, A}, /* a second between two absences is none */
        {80, U, A}, {81, A, A}, {82, U, A},
        {84, A, A},             /* in a circle: stays away */
        {85, S, S}, {86, U, U}, /* somebody has mended it */
        {87, A, U}, {90, N, U}, {96, A, U},
        {97, A, A}, /* a watch that breaks off changes nothing */
    };
    run(m, ARRAY_LEN(m), BROKER_STEADY_MS);
}

static void on_one_machine_it_is_back_at_once(void **state)
{
    (void)state;
    static const struct moment m[] = {{1, A, A}, {2, U, U},  {3, A, U},  {4, U, U},  {5, A, U},
                                      {9, S, U}, {14, A, U}, {15, A, A}, {16, S, S}, {17, U, U}};
    run(m, ARRAY_LEN(m), 0);
}

static void a_message_alone_is_told_too(void **state)
{
    (void)state;
    struct broker_sight sight = {.told.phase = BROKER_UNKNOWN};
    struct broker_seen none = read_text(NULL), zero = read_text("{\"spec\":{\"replicas\":0}}");
    assert_true(broker_sight_step(&sight, &none, 0, 1000));
    assert_false(broker_sight_step(&sight, &none, 0, 2000));
    assert_true(broker_sight_step(&sight, &zero, 0, 3000));
    assert_string_equal(sight.told.message, zero.message);
}

static void see(void *arg, struct broker_seen *out)
{
    *out = *(const struct broker_seen *)arg;
}

static void all_brokers_hear_of_what_one_found(void **state)
{
    (void)state;
    struct broker_seen seen = {.phase = BROKER_UNKNOWN};
    struct broker_ingress out;
    struct broker_part part = {.url = "http://in", .file = "", .see = see, .arg = &seen};
    broker_part_ask(&part, 1000, &out);
    assert_true(out.unknown);
    assert_false(broker_part_changed(&part, 1000));
    seen = read_text("{}");
    broker_part_ask(&part, 2000, &out);
    assert_false(out.unknown || out.ready);
    assert_string_equal(out.reason, BROKER_IS_STARTING);
    assert_string_equal(out.url, "http://in");
    assert_true(broker_part_changed(&part, 2000)); /* the others */
    assert_false(broker_part_changed(&part, 2000));
    seen = (struct broker_seen){.phase = BROKER_UP};
    assert_true(broker_part_changed(&part, 3000));
    broker_part_ask(&part, 3000, &out);
    assert_true(out.ready);
    seen = read_text(NULL);
    broker_part_ask(&part, 4000, &out);
    assert_true(out.ready);
    assert_false(broker_part_changed(&part, 13000));
    assert_true(broker_part_changed(&part, 14000));
    broker_part_ask(&part, 14000, &out);
    assert_false(out.ready);
    assert_string_equal(out.reason, BROKER_NOT_AVAILABLE);
    assert_int_equal(out.again_ms, 0);
}

static void no_deployment_is_asked_of_no_one(void **state)
{
    (void)state;
    struct broker_ingress out;
    struct broker_part part = {.url = "http://in", .file = ""};
    broker_part_ask(&part, 1, &out);
    assert_true(out.ready);
    assert_false(broker_part_changed(&part, 1));
}

static void put(const char *path, const char *text)
{
    struct error err = {0};
    ASSERT_OK(fs_write_atomic(path, slice_str(text), 0600, &err));
}

static void the_supervisors_file(void **state)
{
    (void)state;
    char path[] = "/tmp/broker-state-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct broker_ingress out;
    struct broker_part part = {.url = "", .file = path};
    broker_part_ask(&part, 1000, &out);
    assert_string_equal(out.reason, BROKER_IS_STARTING);
    put(path, "{\"state\":\"failed\",\"url\":\"\",\"message\":\"no redis-server\"}");
    broker_part_ask(&part, 1100, &out);
    assert_string_equal(out.reason, BROKER_NOT_AVAILABLE);
    assert_string_equal(out.message, "no redis-server");
    assert_true(out.again_ms > 0);
    put(path, "{\"state\":\"ready\",\"url\":\"http://x:1\",\"message\":\"\"}");
    broker_part_ask(&part, 1200, &out);
    assert_true(out.ready && out.again_ms == 0);
    assert_string_equal(out.url, "http://x:1");
    assert_true(broker_part_changed(&part, 1200));
    /* It ends and is started again, at another address. */
    put(path, "{\"state\":\"failed\",\"url\":\"http://x:1\",\"message\":\"it ended\"}");
    assert_false(broker_part_changed(&part, 2000));
    broker_part_ask(&part, 2000, &out);
    assert_true(out.ready);
    put(path, "{\"state\":\"ready\",\"url\":\"http://x:2\",\"message\":\"\"}");
    broker_part_ask(&part, 3000, &out);
    assert_string_equal(out.url, "http://x:2");
    assert_true(broker_part_changed(&part, 3000));
    /* It ends for good. */
    put(path, "{\"state\":\"failed\",\"url\":\"http://x:2\",\"message\":\"it ended\"}");
    assert_false(broker_part_changed(&part, 4000));
    assert_true(broker_part_changed(&part, 14000));
    broker_part_ask(&part, 14000, &out);
    assert_string_equal(out.message, "it ended");
    /* What was told long ago is no reason to wait. */
    put(path, "{\"state\":\"ready\",\"url\":\"http://x:2\",\"message\":\"\"}");
    assert_true(broker_part_changed(&part, 15000));
    broker_part_forget(&part);
    put(path, "{\"state\":\"failed\",\"url\":\"http://x:2\",\"message\":\"it ended again\"}");
    broker_part_ask(&part, 90000, &out);
    assert_string_equal(out.message, "it ended again");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deployments),
        cmocka_unit_test(a_short_absence_is_not_told),
        cmocka_unit_test(on_one_machine_it_is_back_at_once),
        cmocka_unit_test(a_message_alone_is_told_too),
        cmocka_unit_test(all_brokers_hear_of_what_one_found),
        cmocka_unit_test(no_deployment_is_asked_of_no_one),
        cmocka_unit_test(the_supervisors_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
