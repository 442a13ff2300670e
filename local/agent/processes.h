// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What process groups use, from /proc: processor time and memory, of the group's processes
 * together. Pure but for reading files. A process that left its group (a session of its own) is not
 * counted.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct process_group {
    int pgid;
    /* found: */
    unsigned processes;   /* 0: there is none */
    int64_t cpu_ns;       /* of those that live, and of their children that were waited for */
    int64_t memory_bytes; /* what they share is counted once (PSS), where the kernel tells */
    int64_t age_ns;       /* of its oldest process */
};

/* Of a line of /proc/PID/stat. */
struct process_stat {
    int pgid;
    uint64_t cpu_ticks;   /* user and system, with waited-for children */
    uint64_t start_ticks; /* after the machine's start */
    int64_t rss_pages;
};

/* False: it is not such a line. */
bool processes_parse_stat(struct slice text, struct process_stat *out);
/* The line "Pss:" of smaps_rollup in bytes; -1: there is none. */
int64_t processes_parse_pss(struct slice text);

/* Fills the groups, which are in order of pgid. Blocks: for a pool thread. proc: "/proc". */
void processes_read(const char *proc, struct process_group *groups, size_t count);
