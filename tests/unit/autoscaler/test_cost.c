// SPDX-License-Identifier: Apache-2.0
/* What a decision costs, counted: no memory is asked for, and one at rest holds next to none. */
#include <stddef.h>

#include "world.h"

static unsigned long calls;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

void *__wrap_malloc(size_t size)
{
    calls++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    calls++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    calls++;
    return __real_realloc(ptr, size);
}

static void a_decision_allocates_nothing(void **state)
{
    static const struct config_pair delayed[] = {
        {SLICE_LIT("autoscaling.knative.dev/scale-down-delay"), SLICE_LIT("30s")}};
    struct world w;
    world_init(&w, delayed, ARRAY_LEN(delayed));
    for (int i = 0; i < 40; i++) { /* every window has its memory */
        world_step(&w, 500);
    }
    calls = 0;
    free(xmalloc(1));
    assert_int_equal(calls, 1); /* they are counted */
    calls = 0;
    for (int i = 0; i < 1000; i++) {
        w.now_ms += 1000;
        world_report(&w, i % 100 < 50 ? 500 : 3); /* up, down, panic */
        revision_decide(w.rev, &w.reports, false, w.now_ms);
        revision_replan(w.rev, &w.reports, i % 7 == 0, w.now_ms);
    }
    assert_int_equal(calls, 0);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decision_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
