// SPDX-License-Identifier: Apache-2.0
/* The PodAutoscaler's status and notes: Knative's conditions, and changes that survive a restart.
 */
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "autoscaler/status.h"
#include "world.h"

static void assert_condition(const json_t *patch, size_t i, const char *type, const char *status,
                             const char *reason)
{
    const json_t *c = json_array_get(jpeek_arr(patch, "status.conditions"), i);
    assert_string_equal(jpeek_cstr(c, "type"), type);
    assert_string_equal(jpeek_cstr(c, "status"), status);
    assert_string_equal(jpeek_cstr(c, "reason"), reason);
    assert_string_equal(jpeek_cstr(c, "lastTransitionTime"), "1970-01-01T00:00:01Z");
}

static void conditions_follow_the_state(void **state)
{
    static const struct {
        enum plan_active active;
        bool initialized;
        const char *active_status, *ready_status, *reason;
    } rows[] = {
        {PLAN_ACTIVATING, false, "Unknown", "Unknown", "Queued"},
        {PLAN_ACTIVE, true, "True", "True", ""},
        {PLAN_INACTIVE, true, "False", "False", "NoTraffic"},
        {PLAN_TIMED_OUT, true, "False", "False", "TimedOut"},
    };
    struct world w;
    world_init(&w, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        w.rev->state.active = rows[i].active;
        w.rev->state.initialized = rows[i].initialized;
        w.rev->want = 1;
        CLEANUP(jfree) json_t *patch = status_patch_json(w.rev, &err);
        assert_non_null(patch);
        assert_condition(patch, 0, "Active", rows[i].active_status, rows[i].reason);
        assert_condition(patch, 1, "Ready", rows[i].ready_status, rows[i].reason);
        assert_condition(patch, 2, "ScaleTargetInitialized",
                         rows[i].initialized ? "True" : "Unknown", "");
        assert_int_equal(jpeek_i64(patch, "status.desiredScale"), 1);
        assert_int_equal(jpeek_i64(patch, "status.actualScale"), 1);
        assert_int_equal(jpeek_i64(patch, "status.observedGeneration"), 1);
        assert_null(jget(patch, "status.lullDecisions"));
    }
    world_fini(&w);
}

static void changes_read_back(void **state)
{
    struct history h = {0};
    for (int i = 0; i < HISTORY_MAX + 2; i++) {
        struct change c = {.wall_ns = 1700000000123000000 + i * 1000000000ll,
                           .from = i,
                           .to = i + 1,
                           .plan_rule = i % 2 == 0 ? PLAN_AS_DECIDED : PLAN_MAX_SCALE,
                           .decider_rule = DECIDER_PANIC,
                           .panicking = true,
                           .ready = i,
                           .stable = 0.1,
                           .panic = 1.0 / 3,
                           .target = 70,
                           .stable_window_s = 60,
                           .panic_window_s = 6};
        history_add(&h, &c);
    }
    assert_int_equal(h.count, HISTORY_MAX);
    assert_int_equal(h.changes[0].to, HISTORY_MAX + 2);
    CLEANUP(jfree) json_t *json = history_to_json(&h);
    struct history back;
    history_from_json(&back, json);
    assert_int_equal(back.count, h.count);
    for (size_t i = 0; i < h.count; i++) {
        const struct change *a = &h.changes[i];
        const struct change *b = &back.changes[i];
        assert_int_equal(a->wall_ns, b->wall_ns);
        assert_true(a->from == b->from && a->to == b->to && a->ready == b->ready);
        assert_string_equal(change_rule(a), change_rule(b));
        assert_true(a->stable == b->stable && a->panic == b->panic && a->target == b->target);
        assert_true(a->stable_window_s == b->stable_window_s && a->panicking == b->panicking);
    }
    history_fini(&h);
    history_fini(&back);
}

static void notes_are_json(void **state)
{
    struct error err = {0};
    struct world w;
    world_init(&w, NULL, 0);
    CLEANUP(strbuf_fini) struct strbuf note;
    strbuf_init(&note, 200);
    ASSERT_OK(status_note_json(w.rev, "failed", "a \"bad\" thing\n", &note, &err));
    CLEANUP(jfree) json_t *json = NULL;
    ASSERT_OK(jparse_object(strbuf_slice(&note), 1000, &json, &err));
    assert_string_equal(jpeek_cstr(json, "namespace"), "default");
    assert_string_equal(jpeek_cstr(json, "name"), "hello-00001");
    assert_string_equal(jpeek_cstr(json, "phase"), "failed");
    assert_string_equal(jpeek_cstr(json, "message"), "a \"bad\" thing\n");
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_follow_the_state),
        cmocka_unit_test(changes_read_back),
        cmocka_unit_test(notes_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
