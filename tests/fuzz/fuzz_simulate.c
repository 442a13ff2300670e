// SPDX-License-Identifier: Apache-2.0
/* Traces of every form, and settings: the first line tells which; the rest is read as it says. */
#include "base/mem.h"
#include "autoscaler/simulate_setting.h"
#include "autoscaler/simulate_trace.h"
#include "fuzz.h"

#define LINES_MAX 200

static int add(void *arg, struct slice function, const struct load_record *record,
               struct error *err)
{
    struct load_record one = *record;
    REQUIRE(one.count <= LOAD_COUNT_MAX && one.at_us <= LOAD_TIME_MAX_US);
    return load_add(arg, function, &one, err);
}

static void read_trace(struct slice text)
{
    struct error err = {0};
    struct load load;
    struct map durations;
    struct slice line = SLICE_EMPTY;
    struct load_record r;
    load_init(&load, 1);
    map_init(&durations, MAP_COPY_KEYS);
    struct trace trace = {
        .function = "f", .duration_us = 1000, .durations = &durations, .emit = add, .arg = &load};
    bool header = true;
    (void)slice_split(&text, '\n', &line);
    if (trace_begin(&trace, "a.d03.csv", line, &header, &err) == 0) {
        int rc = header ? 0 : trace_line(&trace, line, &err);
        for (int i = 0; rc == 0 && i < LINES_MAX && slice_split(&text, '\n', &line); i++) {
            rc = trace_line(&trace, line, &err);
        }
    }
    uint64_t seen = 0;
    uint64_t wanted = load.invocations;
    if (load_finish(&load, &err) == 0) {
        while (load_next(&load, &r, &err) > 0) {
            seen += r.count;
        }
        REQUIRE(seen == wanted);
    }
    load_fini(&load);
    map_foreach (it, &durations) {
        free(it.value);
    }
    map_fini(&durations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct sim_setting setting;
    struct slice text = slice_of((const char *)data, size);
    struct slice line = SLICE_EMPTY;
    struct slice rest = text;
    (void)slice_split(&rest, '\n', &line);
    if (sim_setting_parse(line, 1000, &setting, &err) == 0) {
        sim_setting_fini(&setting);
    }
    read_trace(text);
    return 0;
}
