// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * PingSource: an event at each time of a schedule. Of several workers the one whose script is first
 * writes the event; from then on it is in Redis and goes to the sink as a Trigger's events do.
 *
 * Runs that were missed (nobody ran, Redis was away, the sink was not known, the clock was put
 * forward): the last of them is made up for once when it is not older than --missed-runs, the
 * others are not. A clock that is put back does not repeat runs, unless it was wrong by more than
 * CRON_SKEW_MS. Some time before a run (--wake-ahead) the function that is its sink is woken.
 *
 * Owns: the schedule, its zone, and when it is due. The functions are those that a row of
 * broker/sources.c wants; one: what ping_new has made.
 */

#include "broker/model.h"
#include "broker/source_object.h"

#define CRON_SKEW_MS (10 * 60 * 1000)

struct ping_object {
    struct source_common common;
    char *schedule; /* without zone */
    char *timezone;
    char *content_type; /* NULL: none */
    struct strbuf data;
    bool has_data;
    bool to_broker; /* the sink is no function */
    int64_t created_ms;
};

int ping_object_project(void *arg, const json_t *object, void *value, struct error *err);
void ping_object_release(void *arg, void *value);

void *ping_new(struct worker *w, const char *ns, const char *name);
void ping_use(void *one, const char *uid, void *value);
void ping_drop(void *one);
void ping_free(void *one);
void ping_tick(void *one, uint64_t now_ms, size_t crowd);
json_t *ping_state(const void *one);
