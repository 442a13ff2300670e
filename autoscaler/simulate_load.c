// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Records gather in an array; when it is as large as memory allows it is sorted and written
 * to a temporary file: a run. At the end the runs are merged, the array being the last of them.
 * Equal records are in no order, so the order in which they came makes no difference.
 * Failure modes: too many functions; a disk that is full; a file that cannot be made.
 */
#include "autoscaler/simulate_load.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

#define FIRST_RECORDS 4096u
#define LEAST_RECORDS 64u

struct load_name {
    uint32_t number;
};

/* A sorted run on disk. */
struct load_run {
    FILE *file;
    struct load_record head;
    bool ended;
};

void load_init(struct load *load, uint64_t memory_bytes)
{
    *load = (struct load){.begin_us = UINT64_MAX};
    map_init(&load->names, MAP_COPY_KEYS);
    load->cap_max = memory_bytes / sizeof(struct load_record);
    load->cap_max = load->cap_max < LEAST_RECORDS ? LEAST_RECORDS : load->cap_max;
}

void load_fini(struct load *load)
{
    map_foreach (it, &load->names) {
        free(it.value);
    }
    map_fini(&load->names);
    for (size_t i = 0; i < load->run_count; i++) {
        if (load->runs[i].file != NULL) {
            fclose(load->runs[i].file);
        }
    }
    free(load->runs);
    free(load->records);
    *load = (struct load){0};
}

static int compare(const void *left, const void *right)
{
    const struct load_record *a = left;
    const struct load_record *b = right;
    if (a->function != b->function) {
        return a->function < b->function ? -1 : 1;
    }
    if (a->at_us != b->at_us) {
        return a->at_us < b->at_us ? -1 : 1;
    }
    if ((a->count == 0) != (b->count == 0)) {
        return a->count == 0 ? 1 : -1;
    }
    if (a->duration_us != b->duration_us) {
        return a->duration_us < b->duration_us ? -1 : 1;
    }
    if (a->spread_us != b->spread_us) {
        return a->spread_us < b->spread_us ? -1 : 1;
    }
    return a->count < b->count ? -1 : a->count > b->count;
}

static void sort(struct load *load)
{
    if (load->len > 1) {
        qsort(load->records, load->len, sizeof(*load->records), compare);
    }
}

static int write_run(struct load *load, struct error *err)
{
    if (load->run_count == LOAD_RUNS_MAX) {
        return error_set(err, ERR_TOO_BIG,
                         "more invocations than this memory can sort: give more with --memory");
    }
    struct load_run run = {.file = tmpfile()};
    if (run.file == NULL) {
        return error_from_errno(err, errno, "cannot make a temporary file");
    }
    sort(load);
    load->runs = xreallocarray(load->runs, load->run_count + 1, sizeof(*load->runs));
    load->runs[load->run_count++] = run;
    if (fwrite(load->records, sizeof(*load->records), load->len, run.file) != load->len ||
        fflush(run.file) != 0) {
        return error_from_errno(err, errno, "cannot write to a temporary file");
    }
    load->len = 0;
    return 0;
}

static int number_of(struct load *load, struct slice function, uint32_t *out, struct error *err)
{
    struct load_name *name = map_get(&load->names, function);
    if (name == NULL) {
        if (function.len > LOAD_NAME_MAX) {
            return error_set(err, ERR_TOO_BIG, "the name of a function is longer than %u bytes",
                             LOAD_NAME_MAX);
        }
        if (load->functions == LOAD_FUNCTIONS_MAX) {
            return error_set(err, ERR_TOO_BIG, "more than %u functions", LOAD_FUNCTIONS_MAX);
        }
        name = NEW(struct load_name);
        name->number = load->functions++;
        map_set(&load->names, function, name);
    }
    *out = name->number;
    return 0;
}

int load_add(struct load *load, struct slice function, const struct load_record *record,
             struct error *err)
{
    struct load_record r = *record;
    int rc = number_of(load, function, &r.function, err);
    if (rc == 0 && load->len == load->cap_max) {
        rc = write_run(load, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (load->len == load->cap) {
        size_t cap = load->cap == 0 ? FIRST_RECORDS : 2 * load->cap;
        load->cap = cap < load->cap_max ? cap : load->cap_max;
        load->records = xreallocarray(load->records, load->cap, sizeof(*load->records));
    }
    load->records[load->len++] = r;
    load->invocations += r.count;
    uint64_t end_us = r.at_us + r.spread_us + r.duration_us;
    load->begin_us = r.at_us < load->begin_us ? r.at_us : load->begin_us;
    load->end_us = end_us > load->end_us ? end_us : load->end_us;
    return 0;
}

static int read_head(struct load_run *run, struct error *err)
{
    if (fread(&run->head, sizeof(run->head), 1, run->file) != 1) {
        run->ended = true;
        return ferror(run->file) ? error_set(err, ERR_IO, "cannot read a temporary file") : 0;
    }
    return 0;
}

int load_finish(struct load *load, struct error *err)
{
    int rc = 0;
    sort(load);
    load->cap_max = load->len; /* from here on: how many are there … */
    load->len = 0;             /* … and how many were taken */
    for (size_t i = 0; rc == 0 && i < load->run_count; i++) {
        rewind(load->runs[i].file);
        rc = read_head(&load->runs[i], err);
    }
    return rc;
}

int load_next(struct load *load, struct load_record *out, struct error *err)
{
    const struct load_record *least = load->len < load->cap_max ? &load->records[load->len] : NULL;
    struct load_run *from = NULL;
    for (size_t i = 0; i < load->run_count; i++) {
        struct load_run *run = &load->runs[i];
        if (!run->ended && (least == NULL || compare(&run->head, least) < 0)) {
            least = &run->head;
            from = run;
        }
    }
    if (least == NULL) {
        return 0;
    }
    *out = *least;
    if (from == NULL) {
        load->len++;
        return 1;
    }
    int rc = read_head(from, err);
    return rc < 0 ? rc : 1;
}
