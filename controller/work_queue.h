// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Objects to look at: each key waits at most once, is worked on by one run at a time, and comes
 * back when something happened during its run, when it failed (with back-off), or when a time has
 * come. Owns: the keys. May not: know what a run does.
 */

#include "loop/loop.h"
#include "serving/kinds.h"

struct work_queue;

struct work_key {
    enum kind_id kind;
    const char *ns; /* borrowed from the queue until work_queue_done */
    const char *name;
};

/* Starts a run of key; work_queue_done(token) must follow, inside the call or later. */
struct work_item;
typedef void (*work_run_cb)(void *arg, struct work_key key, struct work_item *token);

struct work_queue *work_queue_new(struct loop *loop, unsigned max_running, work_run_cb run,
                                  void *arg);
/* Nothing runs before this. */
void work_queue_open(struct work_queue *q);
/* No further run starts until it is opened again; those under way go on. */
void work_queue_hold(struct work_queue *q);
/* On the next turn of the loop, or once its present run is done. */
void work_queue_add(struct work_queue *q, enum kind_id kind, const char *ns, const char *name);
/* As work_queue_add, but whatever was added by that goes first, and the runs leave half of the
 * processor to others. News of the key make it one that was added by work_queue_add. */
void work_queue_add_later(struct work_queue *q, enum kind_id kind, const char *ns,
                          const char *name);
/* The run is over. failed: again after the key's back-off; else again_ms > 0: again after so long.
 */
void work_queue_done(struct work_item *token, bool failed, uint64_t again_ms);
/* Those that wait for their back-off run now, and it begins anew: what they failed for is over. */
void work_queue_retry(struct work_queue *q);

/* This run came because the time given as again_ms was over, not because of news. */
bool work_item_waited(const struct work_item *token);

/* Keys that wait for their turn, and runs under way. */
size_t work_queue_waiting(const struct work_queue *q);
size_t work_queue_running(const struct work_queue *q);

/* No further run starts; cb once those under way are done. Idempotent. */
void work_queue_close(struct work_queue *q, void (*cb)(void *arg), void *arg);
