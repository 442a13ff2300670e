// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One revision in virtual time: reports every second, decisions every two, replicas at once. */

#include "base/mem.h"
#include "autoscaler/explain.h"
#include "test.h"

#define WORLD_T0 100000000ull

struct world {
    struct revision *rev;
    struct reports reports;
    struct reporter *activator;
    struct autoscaler_config config;
    uint64_t now_ms;
    uint64_t seq;
    bool silent_link; /* no reports come */
    int link;
    int writes;
};

static inline void world_report_of(struct world *w, struct reporter *activator, double concurrency)
{
    char header[12] = {0};
    w->seq++;
    for (int i = 0; i < 8; i++) {
        header[i] = (char)(w->seq >> (56 - 8 * i));
    }
    header[11] = 1;
    struct slice stats;
    assert_int_equal(
        reports_begin_part(&w->reports, activator, slice_of(header, 12), w->now_ms, &stats, NULL),
        1);
    if (concurrency > 0) {
        revision_record(w->rev, activator->at_ms, activator->missed, concurrency, concurrency);
    }
    assert_true(reports_end_part(&w->reports, activator, w->now_ms));
}

static inline void world_report(struct world *w, double concurrency)
{
    world_report_of(w, w->activator, concurrency);
}

/* Deployed with one ready replica; annotations may be none. */
static inline void world_init(struct world *w, const struct config_pair *annotations, size_t count)
{
    struct error err = {0};
    *w = (struct world){.now_ms = WORLD_T0};
    autoscaler_config_default(&w->config);
    w->config.allow_unsafe_windows = true;
    reports_init(&w->reports);
    void *replaced;
    ASSERT_OK(reports_hello(&w->reports, SLICE_LIT("a"), &w->link, w->now_ms, &w->activator,
                            &replaced, &err));
    w->rev = revision_new("default", "hello-00001");
    struct config_pair copy[8];
    assert_true(count <= ARRAY_LEN(copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = annotations[i];
    }
    struct pa_object pa = {.deployment = xstrdup("hello-00001-deployment"),
                           .reachable = true,
                           .generation = 1,
                           .annotations = copy,
                           .annotation_count = count,
                           .desired_scale = -1,
                           .actual_scale = -1};
    revision_set_pa(w->rev, &pa, &w->config, w->now_ms, 1000000000);
    free(pa.deployment);
    w->rev->has_deployment = true;
    w->rev->replicas = 1;
    struct pod_object pod = {.ready = true};
    revision_set_pod(w->rev, "pod-0", &pod);
    revision_start(w->rev, w->now_ms);
    world_report(w, 0);
}

static inline void world_fini(struct world *w)
{
    revision_free(w->rev);
    reports_fini(&w->reports);
}

static inline void world_scale(struct world *w, int32_t to)
{
    struct pod_object pod = {.ready = true};
    char name[32];
    w->writes++;
    for (int32_t i = w->rev->ready; i < to; i++) {
        snprintf(name, sizeof(name), "pod-%d", i);
        revision_set_pod(w->rev, name, &pod);
    }
    for (int32_t i = w->rev->ready; i > to; i--) {
        snprintf(name, sizeof(name), "pod-%d", i - 1);
        revision_remove_pod(w->rev, name);
    }
    w->rev->replicas = to;
    revision_replan(w->rev, &w->reports, false, w->now_ms);
}

/* Two seconds of this concurrency, then a decision, carried out at once. */
static inline void world_step(struct world *w, double concurrency)
{
    for (int i = 0; i < 2; i++) {
        w->now_ms += 1000;
        if (!w->silent_link) {
            world_report(w, concurrency);
        }
    }
    reports_check(&w->reports, w->now_ms);
    struct plan plan = revision_decide(w->rev, &w->reports, false, w->now_ms);
    if (plan.write) {
        world_scale(w, plan.want);
    }
}
