// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One supervised process of `lull up`: started with its own readiness socket, the lifeline and a
 * bounded log; started again with back-off when it ends, until it is told to stop.
 */

#include "base/backoff.h"
#include "base/error.h"
#include "loop/process.h"
#include "loop/timer.h"

struct part;
enum part_event {
    PART_READY,   /* said READY=1 */
    PART_ENDED,   /* the process ended; it is started again unless part_stop was called */
    PART_ASKS,    /* said NOTIFY_BROKER: it wants the parts for events */
    PART_STATUS,  /* said NOTIFY_STATUS: why it is not ready; `status` has it */
    PART_STOPPED, /* ended after part_stop; nothing follows */
};
typedef void (*part_cb)(struct part *part, enum part_event event);

#define PART_MAX_ARGS 32
#define PART_MAX_ENV  16

struct part {
    const char *name; /* "lull-local" */
    struct loop *loop;
    const char *home; /* borrowed */
    char *program;
    char *argv[PART_MAX_ARGS]; /* owned texts */
    unsigned argc;
    char *env[PART_MAX_ENV]; /* owned texts NAME=VALUE, beside the supervisor's own environment */
    unsigned envc;
    int lifeline_fd; /* read end; borrowed */
    part_cb cb;
    void *data;          /* the owner's */
    bool ready_at_start; /* it does not say READY=1 */
    /* read-only for the owner */
    bool ready, stopping, running;
    unsigned restarts;
    char status[ERROR_MSG_MAX];
    char end[64]; /* how it ended last: "exit status 1", "signal 9" */
    /* private */
    struct process process;
    struct timer restart;
    struct backoff backoff;
    uv_poll_t notify;
    int notify_fd, log_fd;
    uint64_t started_ms;
};

/* Fills the struct; start comes with part_start. program: an absolute path; taken; NULL: comes with
 * part_program. */
void part_init(struct part *p, const char *name, char *program, struct loop *loop, const char *home,
               int lifeline_fd, part_cb cb, void *data);
/* Before any part_arg; taken. Arguments and environment of before are gone. */
void part_program(struct part *p, char *program);
/* Whether part_start was successful; it stays so while the part is restarted. */
bool part_started(const struct part *p);
/* A variable of its environment: copied. */
void part_env(struct part *p, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "--flag", "value": copied. */
void part_arg(struct part *p, const char *flag, const char *fmt, ...) PRINTF_LIKE(3, 4);
MUST_CHECK int part_start(struct part *p, struct error *err);
/* SIGTERM (or SIGKILL); PART_STOPPED follows, at once from the loop when it does not run. */
void part_stop(struct part *p, bool kill);
pid_t part_pid(const struct part *p); /* 0 when it does not run */
/* Keeps the log bounded; call now and then. */
void part_log_trim(struct part *p);
/* The newest lines of its log, for a message. New memory. */
char *part_log_tail(const struct part *p);
