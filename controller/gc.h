// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which Revisions of a Configuration go: a pure function of their ages. Not active is a Revision
 * that no Route uses, that is not the newest ready one, and that nobody asked to keep.
 * Owns: nothing.
 */

#include "serving/config_gc.h"
#include "controller/reconcile.h"

/* All of one Configuration; latest_ready: its name, "" for none. */
struct gc_input {
    const struct gc_config *config;
    const char *latest_ready;
    int64_t now_ns;
    struct revision_facts *revisions; /* put in order: what may go first, oldest first */
    size_t count;
};

/*
 * The number of Revisions that go now: those that stand in front of in->revisions afterwards.
 * out_next_ms: after so long another one may be old enough; 0: time alone changes nothing.
 */
size_t gc_decide(const struct gc_input *in, uint64_t *out_next_ms);
