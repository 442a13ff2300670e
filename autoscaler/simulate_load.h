// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Invocations from traces, in any order in; by function and time out. What does not fit into the
 * given memory is sorted in runs and kept in temporary files without a name, so that a load may be
 * larger than memory. Owns names, records and files.
 */

#include "base/error.h"
#include "base/map.h"
#include "base/slice.h"

#define LOAD_NAME_MAX      512u
#define LOAD_FUNCTIONS_MAX 1000000u
#define LOAD_RUNS_MAX      512u
#define LOAD_COUNT_MAX     1000000000u /* invocations of one record */
#define LOAD_TIME_MAX_US   9000000000000000ull

/* `count` invocations spread evenly over `spread_us` from at_us on. count 0: those before it ran
 * for duration_us longer in all. */
struct load_record {
    uint64_t at_us;
    uint64_t duration_us;
    uint64_t spread_us;
    uint32_t function;
    uint32_t count;
};

struct load_run;

struct load {
    struct map names; /* private: name -> struct load_name */
    uint32_t functions;
    struct load_record *records; /* private */
    size_t len;
    size_t cap;
    size_t cap_max;        /* private */
    struct load_run *runs; /* private */
    size_t run_count;
    uint64_t begin_us; /* first begin; UINT64_MAX: none */
    uint64_t end_us;   /* last end */
    uint64_t invocations;
};

void load_init(struct load *load, uint64_t memory_bytes);
void load_fini(struct load *load);

/* record->function is not read. ERR_TOO_BIG: too many functions or runs; ERR_IO: no room on disk.
 */
MUST_CHECK int load_add(struct load *load, struct slice function, const struct load_record *record,
                        struct error *err);

/* All is in: from here on only load_next. */
MUST_CHECK int load_finish(struct load *load, struct error *err);
/* 1: the next record, by function, then time; 0: no more. */
MUST_CHECK int load_next(struct load *load, struct load_record *out, struct error *err);
