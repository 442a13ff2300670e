// SPDX-License-Identifier: Apache-2.0
/*
 * Kubernetes' formula against Kubernetes: hpa_tool FILE compares every case of FILE, a line of JSON
 * with Pods, a metric, and what Kubernetes' replica calculator says of them
 * (tests/reference/README.md), and prints what differs; exit 1 then.
 */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/hpa/calculate.h"

enum { FILE_MAX = 256 << 20, CASES_MIN = 300, TOLD_MAX = 10 };

#define S   INT64_C(1000000000)
#define NOW (INT64_C(2000000000) * S)

static const struct hpa_settings SETTINGS = {
    .tolerance = 0.1, .cpu_initialization_ns = 300 * S, .initial_readiness_ns = 30 * S};

static struct hpa_pod read_pod(const json_t *pod, const char *name)
{
    return (struct hpa_pod){
        .name = name,
        .ignored = jpeek_bool(pod, "Ignored"),
        .pending = jpeek_bool(pod, "Pending"),
        .has_ready = jpeek_bool(pod, "HasReady"),
        .unready = jpeek_bool(pod, "Unready"),
        .started_ns = NOW - jpeek_i64(pod, "Started") * S,
        .ready_changed_ns = NOW - jpeek_i64(pod, "Changed") * S,
        .unrequested = jpeek_bool(pod, "Unrequested") ? "c" : NULL,
        .request = jpeek_bool(pod, "Unrequested") ? 0 : jpeek_i64(pod, "Request"),
        .measured = jpeek_bool(pod, "Measured"),
        .usage = jpeek_i64(pod, "Usage"),
        .measured_ns = NOW - jpeek_i64(pod, "At") * S,
        .window_ns = jpeek_i64(pod, "Window") * S,
    };
}

static bool compare(const json_t *line, size_t number, bool tell)
{
    struct hpa_pod pods[16];
    char names[16][24];
    struct hpa_proposal got = {0};
    struct error err = {0};
    size_t i, count = 0;
    json_t *one;
    json_array_foreach(jpeek_arr(line, "Pods"), i, one)
    {
        if (count < ARRAY_LEN(pods)) {
            (void)snprintf(names[count], sizeof(names[count]), "p%zu", i);
            pods[count] = read_pod(one, names[count]);
            count++;
        }
    }
    const struct hpa_measure measure = {
        .resource = jpeek_bool(line, "CPU") ? "cpu" : "memory",
        .cpu = jpeek_bool(line, "CPU"),
        .utilization = jpeek_bool(line, "Util"),
        .target = jpeek_i64(line, "Target"),
    };
    int rc = hpa_calculate(pods, count, (int32_t)jpeek_i64(line, "Current"), &measure, &SETTINGS,
                           NOW, &got, &err);
    const char *said = jpeek_cstr(line, "Err");
    bool same = rc < 0 ? strcmp(said, err.msg) == 0
                       : said[0] == '\0' && got.replicas == jpeek_i64(line, "Replicas") &&
                             got.utilization == jpeek_i64(line, "Utilization") &&
                             got.average == jpeek_i64(line, "Average");
    if (!same && tell) {
        CLEANUP(cleanup_free) char *text = jdump_str(line);
        printf("case %zu: %s\n  ours: %d replicas, %d %%, %lld; %s\n", number, text, got.replicas,
               got.utilization, (long long)got.average, rc < 0 ? err.msg : "");
    }
    return same;
}

int main(int argc, char **argv)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct error err = {0};
    struct slice line;
    size_t count = 0, wrong = 0;
    strbuf_init(&text, FILE_MAX);
    if (argc != 2 || fs_read_file(argv[1], FILE_MAX, &text, &err) < 0) {
        fprintf(stderr, "usage: hpa_tool FILE %s\n", err.msg);
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
        wrong += !compare(one, count, wrong < TOLD_MAX);
    }
    printf("%zu cases, %zu differ\n", count, wrong);
    return wrong == 0 && count >= CASES_MIN ? 0 : 1;
}
