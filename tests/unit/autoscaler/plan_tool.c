// SPDX-License-Identifier: Apache-2.0
/*
 * What becomes of desired scales, against the outcomes that Knative's reconciler has for the same
 * (tests/reference/README.md): plan_tool FILE compares every case of FILE, a line of JSON each, and
 * prints what differs; exit 1 then. Settings take the whole way: ConfigMap and annotations.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/autoscaler_json.h"
#include "autoscaler/objects.h"

enum { FILE_MAX = 256 << 20, CASES_MIN = 40, TOLD_MAX = 20 };

#define T0                   (100000000ull * 1000)
#define PROGRESS_DEADLINE_MS 600000u
#define MS_PER_S             1000u

static const char *const actives[] = {
    [PLAN_ACTIVATING] = "activating",
    [PLAN_ACTIVE] = "active",
    [PLAN_INACTIVE] = "inactive",
    [PLAN_TIMED_OUT] = "inactive", /* the reference has another reason at its next look */
};

struct world {
    struct scaling_spec spec;
    struct plan_state state;
    uint64_t deadline_ms;
    uint64_t now_ms;
};

static bool start(const json_t *line, struct world *w)
{
    struct autoscaler_config config;
    struct pa_object pa = {0};
    struct error err = {0};
    json_t *object = json_pack(
        "{s:{s:s,s:s,s:O},s:{s:{s:s}}}", "metadata", "name", "r", "namespace", "default",
        "annotations", jpeek_obj(line, "annotations"), "spec", "scaleTargetRef", "name", "r");
    if (autoscaler_config_from_json(jpeek_obj(line, "configMap"), &config, &err) < 0 ||
        pa_object_project(NULL, object, &pa, &err) < 0) {
        printf("%s: %s\n", jpeek_cstr(line, "name"), err.msg);
        json_decref(object);
        return false;
    }
    *w = (struct world){.now_ms = T0};
    scaling_spec_resolve(&config, pa.annotations, pa.annotation_count, 0, &w->spec);
    w->deadline_ms = pa.progress_deadline_ms > 0 ? pa.progress_deadline_ms : PROGRESS_DEADLINE_MS;
    plan_init(&w->state, T0 - (uint64_t)jpeek_i64(line, "start.for") * MS_PER_S);
    w->state.initialized = jpeek_bool(line, "start.initialized");
    for (size_t i = 0; i < PLAN_TIMED_OUT; i++) {
        if (strcmp(actives[i], jpeek_cstr(line, "start.active")) == 0) {
            w->state.active = (enum plan_active)i;
        }
    }
    pa_object_release(NULL, &pa);
    json_decref(object);
    return true;
}

/* The outcome as text, as the reference prints it. */
static char *step(struct world *w, const json_t *step)
{
    w->now_ms += (uint64_t)jpeek_i64(step, "after") * MS_PER_S;
    const struct plan_input in = {
        .now_ms = w->now_ms,
        .reachable = jpeek_bool(step, "reachable"),
        .replicas = (int32_t)jpeek_i64(step, "replicas"),
        .ready = (int32_t)jpeek_i64(step, "ready"),
        .reports = true,
        .path_since_ms = w->now_ms - (uint64_t)jpeek_i64(step, "pathFor") * MS_PER_S,
        .progress_deadline_ms = w->deadline_ms,
    };
    const struct decision decision = {.valid = jpeek_i64(step, "desired") >= 0,
                                      .desired = (int32_t)jpeek_i64(step, "desired")};
    struct plan plan = plan_make(&w->state, &w->spec, &decision, &in);
    return xasprintf("{\"want\":%d,\"write\":%s,\"active\":\"%s\",\"for\":%llu,\"initialized\":%s}",
                     plan.want, plan.write ? "true" : "false", actives[w->state.active],
                     (unsigned long long)((w->now_ms - w->state.since_ms) / MS_PER_S),
                     w->state.initialized ? "true" : "false");
}

static bool compare(const json_t *line, bool tell)
{
    struct world w;
    size_t i;
    json_t *one;
    json_t *outcomes = jpeek_arr(line, "outcomes");
    if (!start(line, &w)) {
        return false;
    }
    json_array_foreach(jpeek_arr(line, "steps"), i, one)
    {
        CLEANUP(cleanup_free) char *ours = step(&w, one);
        CLEANUP(cleanup_free) char *theirs = jdump_str(json_array_get(outcomes, i));
        if (strcmp(ours, theirs) != 0) {
            CLEANUP(cleanup_free) char *asked = jdump_str(one);
            if (tell) {
                printf("%s, step %zu: %s\n  reference: %s\n  ours:      %s\n",
                       jpeek_cstr(line, "name"), i, asked, theirs, ours);
            }
            return false;
        }
    }
    return i > 0 && i == json_array_size(outcomes);
}

int main(int argc, char **argv)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err;
    struct slice line;
    size_t count = 0, wrong = 0;
    strbuf_init(&text, FILE_MAX);
    if (argc != 2 || fs_read_file(argv[1], FILE_MAX, &text, &err) < 0) {
        fprintf(stderr, "usage: plan_tool FILE%s%s\n", argc == 2 ? ": " : "",
                argc == 2 ? err.msg : "");
        return 2;
    }
    struct slice rest = strbuf_slice(&text);
    while (slice_split(&rest, '\n', &line)) {
        CLEANUP(jfree) json_t *one = NULL;
        if (line.len == 0) {
            continue;
        }
        if (jparse_object(line, FILE_MAX, &one, &err) < 0) {
            fprintf(stderr, "line %zu: %s\n", count + 1, err.msg);
            return 2;
        }
        count++;
        wrong += !compare(one, wrong < TOLD_MAX);
    }
    printf("%zu cases, %zu differ\n", count, wrong);
    return wrong == 0 && count >= CASES_MIN ? 0 : 1;
}
