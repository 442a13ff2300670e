// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the throttler's state as JSON, for people. Only revisions that have replicas or requests,
 * so that ten thousand idle ones do not hide the one in question.
 */
#include "activator/throttler_internal.h"

static void dump_replica(const struct replica *p, uint64_t now_ns, struct strbuf *out)
{
    const char *state = p->terminating      ? "terminating"
                        : !p->ready         ? "not ready"
                        : p->draining       ? "draining"
                        : p->suspect        ? "set aside"
                        : p->full_count > 0 ? "full"
                                            : "ready";
    strbuf_append_str(out, "{\"pod\":");
    strbuf_append_json(out, slice_str(p->name));
    strbuf_append_str(out, ",\"address\":");
    strbuf_append_json(out, slice_str(p->address));
    strbuf_appendf(out, ",\"state\":\"%s\",\"inFlight\":%u,\"requests\":%llu,\"failures\":%u}",
                   state, p->in_flight, (unsigned long long)p->total, p->failures);
}

void throttler_dump(const struct throttler *t, uint64_t now_ns, struct strbuf *out)
{
    bool first = true;
    map_foreach (it, &t->revisions) {
        const struct revision *r = it.value;
        if (r->replica_count == 0 && r->held == 0 && r->in_flight == 0 && r->meter.total == 0) {
            continue;
        }
        const char *reason = r->known ? revision_failure(r, NULL) : NULL;
        strbuf_appendf(out, "%s{\"revision\":\"%s\",\"containerConcurrency\":%u,\"held\":%u,",
                       first ? "" : ",", r->key, r->concurrency, r->held);
        strbuf_appendf(out, "\"heldBytes\":%llu,\"retryAfterSeconds\":%u,",
                       (unsigned long long)r->held_bytes, revision_retry_after_s(r, now_ns));
        strbuf_appendf(out, "\"inFlight\":%u,\"requests\":%llu,\"coldStarts\":%llu,", r->in_flight,
                       (unsigned long long)r->meter.total, (unsigned long long)r->cold_starts);
        strbuf_appendf(out, "\"refused\":%llu,\"reason\":", (unsigned long long)r->refused);
        strbuf_append_json(out, slice_str(reason));
        strbuf_append_str(out, ",\"replicas\":[");
        for (uint32_t i = 0; i < r->replica_count; i++) {
            strbuf_append_str(out, i == 0 ? "" : ",");
            dump_replica(r->replicas[i], now_ns, out);
        }
        strbuf_append_str(out, "]}");
        first = false;
    }
}
