// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What traffic each revision had, second by second, in a file for `lull simulate`
 * (docs/simulate.md): a line for each second and report that names it. Bounded: the file and one
 * older half. Owns the descriptor and what was not written yet.
 */

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"

#define TRAFFIC_LOG_BYTES_MAX (8u << 20)

struct traffic_log {
    char *path; /* private, like the rest; NULL: not open */
    int fd;
    uint64_t size;
    struct strbuf waiting;
    bool troubled;
    struct log_limit trouble;
};

/* Goes on with a file that is there. On failure nothing is to be closed. */
MUST_CHECK int traffic_log_open(struct traffic_log *log, const char *path, struct error *err);
/* `requests` came in the second that ended at wall_ns, and ran for busy_ms in all. Does nothing
 * when it is not open; what does not fit is dropped. */
void traffic_log_add(struct traffic_log *log, int64_t wall_ns, const char *revision,
                     double requests, double busy_ms);
/* Writes what has gathered. A disk that is full loses it, and is tried again. */
void traffic_log_flush(struct traffic_log *log, uint64_t now_ms);
void traffic_log_close(struct traffic_log *log);
