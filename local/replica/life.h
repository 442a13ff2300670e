// SPDX-License-Identifier: Apache-2.0
//
// One replica while it lives: the function and its queue-proxy, and the agents that are told about
// them. life.c is the state machine of the two programs, control.c the talk with the agent, main.c
// the set-up and the loop over the descriptors. Everything runs in one thread; nothing blocks but
// the start of a program.
#pragma once

#include <poll.h>

#include "local/replica/replica.h"

// RUNNING <-> BACKOFF until told to stop; then DRAINING -> TERMINATING -> ENDED, never back.
enum phase { PHASE_RUNNING, PHASE_BACKOFF, PHASE_DRAINING, PHASE_TERMINATING, PHASE_ENDED };

enum {
    FD_SIGNAL,
    FD_LIFELINE,
    FD_CTL,
    FD_NOTIFY,
    FD_OUT,
    FD_PROXY_OUT,
    FD_CLIENT,
    FD_COUNT = FD_CLIENT + REPLICA_MAX_CLIENTS
};

#define STATE_MAX 1024
#define ORDER_MAX 64

struct replica {
    struct replica_spec spec;
    struct replica_log log, proxy_log;
    struct pollfd fds[FD_COUNT];
    int out_write, proxy_out_write; // write ends kept open, so that a restart reuses the pipes
    pid_t pid, proxy_pid;           // 0 = not running
    enum phase phase;
    bool ready;
    bool orphaned; // the function is killed because its queue-proxy ended
    uint64_t restarts;
    uint64_t started_wall_ns, ready_wall_ns;
    uint64_t started_ms;  // monotonic, of the function's last start
    uint64_t deadline_ms; // of BACKOFF, DRAINING, TERMINATING; 0 = none
    uint64_t proxy_retry_ms;
    uint64_t delay_ms;  // next restart delay
    bool oom;           // the function's last end was for want of memory
    uint64_t oom_kills; // of the whole machine, at the function's last start
    int code, signal;   // of the function's last end; -1 = could not be executed
    char message[REPLICA_MESSAGE_MAX];
    char told[STATE_MAX]; // the newest state line that was sent
    struct order {
        size_t len;
        char text[ORDER_MAX];
    } orders[REPLICA_MAX_CLIENTS]; // the beginning of a line, per client
};

// ---- life.c: function and queue-proxy

// Both, side by side. What they write waits in their pipes until the logs are open.
void life_begin(struct replica *r);
// Drain, then SIGTERM, then SIGKILL when grace_ms is over; a later stop can only shorten.
void life_stop(struct replica *r, uint64_t grace_ms);
// Kills everything at once: PHASE_ENDED.
void life_kill(struct replica *r);
// A signal came: children that ended, or SIGTERM to us.
void life_reap(struct replica *r);
// The queue-proxy said READY=1, X_READY=0 or STOPPING=1.
void life_notified(struct replica *r);
// What is due by now; and how long poll may wait for the next, in milliseconds, -1 for ever.
void life_due(struct replica *r);
int life_timeout(const struct replica *r);

// ---- control.c: the agent's connections

void control_accept(struct replica *r);
// Orders came on this slot of fds, or its end.
void control_read(struct replica *r, int slot);
// Tells everybody the state, where it is a new one.
void control_tell(struct replica *r);
