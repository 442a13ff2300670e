// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The reading side of a RedisSource: two connections (one of them waits for what comes, the other
 * acknowledges) and the entries that are being delivered. It ends with the first connection that is
 * lost, and whenever its owner wants; a new one begins with what was taken and not acknowledged.
 */

#include "broker/model.h"
#include "broker/outlet.h"
#include "broker/push.h"
#include "broker/source_object.h"

struct redis_session;

struct redis_session_options {
    struct worker *worker;
    const char *url;
    const struct redis_object *object; /* lives as long; its shape does not change meanwhile */
    const struct push_route *route;    /* likewise */
    const struct outlet_ref *outlet;   /* where its dead go; likewise */
    struct redis_counts *counts;       /* likewise */
};

struct redis_counts {
    uint64_t taken;
    uint64_t dead; /* nobody took them, or the dead letter sink did */
    bool had_group;
    struct error trouble;
};

MUST_CHECK int redis_session_new(const struct redis_session_options *options,
                                 struct redis_session **out, struct error *err);
/* Nothing that the options name is used any more; the rest goes by itself. */
void redis_session_close(struct redis_session *s);
/* A connection was lost: close it, and begin another one. */
bool redis_session_is_lost(const struct redis_session *s);
void redis_session_tick(struct redis_session *s, uint64_t now_ms);
/* Before what the route names changes. */
void redis_session_pause(struct redis_session *s);
size_t redis_session_running(const struct redis_session *s);
