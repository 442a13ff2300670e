// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One line per request on a descriptor, written at the end of a turn of the loop. It never blocks:
 * what a slow reader does not take waits in a bounded buffer, and then lines are dropped and
 * counted. Owns its timer and task; not the descriptor.
 */

#include "loop/timer.h"
#include "http/log_template.h"

struct request_log {
    struct loop *loop; /* private, like the rest; NULL: not started */
    struct log_template *format;
    int fd;
    bool whole; /* a file: takes all that is written */
    bool scheduled;
    struct strbuf waiting;
    struct strbuf line;
    struct loop_task task;
    struct timer timer;
    uint64_t written; /* lines taken in */
    uint64_t dropped; /* lines for which there was no room */
    void (*close_cb)(struct request_log *log);
    void *data; /* the owner's */
};

/* text: the template, empty for Knative's default. ERR_INVALID: it cannot be understood. */
MUST_CHECK int request_log_start(struct request_log *log, struct loop *loop, int fd,
                                 struct slice text, struct error *err);
static inline bool request_log_on(const struct request_log *log)
{
    return log->loop != NULL;
}
void request_log_write(struct request_log *log, const struct log_entry *entry);
/* Writes what can be written at once. cb may be NULL; one that is not started: cb must be NULL. */
void request_log_close(struct request_log *log, void (*cb)(struct request_log *log));
