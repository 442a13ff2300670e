// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the throttler's files and revision.c share; for nobody else. Owns nothing. */

#include "base/clock.h"
#include "activator/throttler.h"

/* --- throttler.c: a ticket's way ------------------------------------------------------------ */

/* Held requests of it may have somewhere to go now. */
void revision_wake(struct throttler *t, struct revision *r);
/* Frees it when the object is gone and nothing is left of it. */
void revision_drop_if_empty(struct throttler *t, struct revision *r);
/* Sets an idle ticket up; it gets its number and its deadline. */
void ticket_begin(struct throttler *t, struct revision *r, struct ticket *tk, uint64_t now_ns);
void ticket_grant(struct throttler *t, struct revision *r, struct ticket *tk, struct replica *p,
                  uint64_t now_ns);
/* It is over: out of the numbers. The revision may be freed by that. */
void ticket_leave(struct throttler *t, struct ticket *tk, uint64_t now_ns);

/* --- throttler_hold.c: the queues ----------------------------------------------------------- */

/* Makes room for one more request of r if it may have any: ADMIT_HELD, or the reason why not. */
enum admit hold_make_room(struct throttler *t, struct revision *r, uint32_t bytes);
/* Puts the ticket at its place: at the end, or where its number belongs. */
void hold_enqueue(struct throttler *t, struct revision *r, struct ticket *tk, bool to_its_place);
void hold_dequeue(struct throttler *t, struct revision *r, struct ticket *tk);
/* Nothing can answer since now: for Retry-After. */
void hold_if_cold(struct revision *r, uint64_t now_ns);
void hold_poke_if_due(struct throttler *t, struct revision *r, uint64_t now_ns);
/* A held request was granted: what Retry-After is reckoned from. Before it leaves the queue. */
void hold_moved(struct revision *r, uint64_t now_ns);

/* --- throttler_pick.c: replicas -------------------------------------------------------------- */

/* Ready by the API (or by a probe before that) and not on its way out. */
bool replica_ready(const struct replica *p);
/* The replica that takes the next request, or NULL. paced: keep to the revision's window. */
struct replica *revision_pick(struct throttler *t, struct revision *r, bool paced, uint64_t now_ns);
/* When a full replica is to be tried again, or the window grows; UINT64_MAX: no such time. */
uint64_t revision_next_try_ns(const struct revision *r, uint64_t now_ns);
/* A slot of it is taken. */
void replica_taken(struct replica *p, struct ticket *tk, uint64_t now_ns);
/* It answered this ticket: it is well, and may have more room than it said. */
void replica_answered(struct replica *p, const struct ticket *tk);
/* One of its replicas answered: a queue may move faster. */
void revision_answered(struct revision *r);
/* Forget all failures. */
void replica_good(struct replica *p);
/* It did not take this ticket, which is still on it. */
void replica_bad(struct throttler *t, const struct ticket *tk, enum give_back why, uint64_t now_ns);
/* Not used again before a probe has succeeded. */
void replica_suspect(struct throttler *t, struct replica *p, uint64_t probe_at_ns);

/* --- revision.c ------------------------------------------------------------------------------- */

/* One request fewer on it; frees it when its Pod is gone and this was the last. */
void replica_unref(struct throttler *t, struct replica *p);
