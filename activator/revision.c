// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: what is known of one revision and its set of replicas, as the API tells it.
 *
 * Failure modes: a Pod that vanishes while requests run on it is kept until the last of them.
 */
#include <string.h>

#include "base/mem.h"
#include "activator/throttler_internal.h"

static void set_text(char **at, struct slice text)
{
    if (*at != NULL && slice_eq_str(text, *at)) {
        return;
    }
    free(*at);
    *at = slice_dup_or_null(text);
}

void revision_learn(struct throttler *t, struct revision *r, const struct revision_facts *facts,
                    uint64_t now_ns)
{
    bool failed = r->fail_reason != NULL;
    r->known = true;
    r->expiring_gone = false;
    r->concurrency = facts->concurrency;
    r->timeout_ms = facts->timeout_ms;
    set_text(&r->fail_reason, facts->reason);
    set_text(&r->fail_message, facts->message);
    if (!failed && r->fail_reason != NULL && r->blocked == 0) {
        r->fail_since_ns = now_ns;
    }
    revision_wake(t, r);
}

void revision_pod_blocked(struct revision *r, bool blocked, struct slice message, uint64_t now_ns)
{
    if (blocked) {
        if (r->blocked++ == 0 && r->fail_reason == NULL) {
            r->fail_since_ns = now_ns;
        }
        set_text(&r->blocked_message, message);
        return;
    }
    REQUIRE(r->blocked > 0);
    if (--r->blocked == 0) {
        set_text(&r->blocked_message, SLICE_EMPTY);
    }
}

const char *revision_failure(const struct revision *r, const char **out_message)
{
    const char *reason = r->fail_reason;
    const char *message = r->fail_message;
    if (!r->known) {
        reason = "RevisionUnknown";
        message = "the API has no such Revision (yet)";
    } else if (r->blocked > 0) {
        reason = "Unschedulable";
        message = r->blocked_message;
    }
    if (out_message != NULL) {
        *out_message = reason != NULL ? message : NULL;
    }
    return reason;
}

/* --- replicas ------------------------------------------------------------------------------- */

static void replica_free(struct throttler *t, struct replica *p)
{
    if (t->release != NULL) {
        t->release(t->release_ctx, p);
    }
    list_remove(&p->suspect_link);
    free(p->uid);
    free(p->name);
    free(p->address);
    free(p);
}

void replica_unref(struct throttler *t, struct replica *p)
{
    REQUIRE(p->in_flight > 0);
    p->in_flight--;
    if (p->gone && p->in_flight == 0) {
        p->revision->gone_busy--;
        replica_free(t, p);
    }
}

struct replica *revision_find_replica(const struct revision *r, struct slice uid)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        if (slice_eq_str(uid, r->replicas[i]->uid)) {
            return r->replicas[i];
        }
    }
    return NULL;
}

static bool any_ready(const struct revision *r)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        if (replica_ready(r->replicas[i])) {
            return true;
        }
    }
    return false;
}

void revision_decided(struct revision *r, uint64_t now_ns)
{
    cold_mark(&r->cold.decided_ns, now_ns);
}

void revision_started(struct revision *r, uint64_t now_ns)
{
    cold_mark(&r->cold.started_ns, now_ns);
}

struct replica *revision_put_replica(struct throttler *t, struct revision *r,
                                     const struct replica_facts *facts, uint64_t now_ns)
{
    bool had_ready = any_ready(r);
    struct replica *p = revision_find_replica(r, facts->uid);
    if (p != NULL && !slice_eq_str(facts->address, p->address) && p->address[0] != '\0') {
        revision_remove_replica(t, r, facts->uid); /* moved: requests on the old place go on */
        p = NULL;
    }
    if (p == NULL) {
        p = NEW(struct replica);
        p->uid = slice_dup(facts->uid);
        p->name = slice_dup(facts->name);
        p->address = slice_dup(facts->address);
        p->revision = r;
        list_init(&p->suspect_link);
        r->replicas = xreallocarray(r->replicas, r->replica_count + 1, sizeof(struct replica *));
        r->replicas[r->replica_count++] = p;
    } else if (p->address[0] == '\0') {
        free(p->address);
        p->address = slice_dup(facts->address);
    }
    if (facts->ready && !p->ready) {
        replica_good(p);
    }
    p->ready = facts->ready;
    p->h2c = facts->h2c;
    p->terminating = facts->terminating;
    if (facts->started && !p->terminating) {
        cold_mark(&r->cold.started_ns, now_ns);
    }
    if (!had_ready && replica_ready(p)) {
        cold_mark(&r->cold.ready_ns, now_ns);
        r->window = 0; /* it begins small */
    }
    revision_wake(t, r);
    return p;
}

void revision_remove_replica(struct throttler *t, struct revision *r, struct slice uid)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        struct replica *p = r->replicas[i];
        if (!slice_eq_str(uid, p->uid)) {
            continue;
        }
        memmove(&r->replicas[i], &r->replicas[i + 1],
                (r->replica_count - i - 1) * sizeof(struct replica *));
        r->replica_count--;
        p->gone = true;
        p->suspect = false;
        list_remove(&p->suspect_link);
        if (p->in_flight == 0) {
            replica_free(t, p);
        } else {
            r->gone_busy++;
        }
        return;
    }
}
