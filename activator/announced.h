// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Replicas that have announced themselves, until the API says by itself what they said. Pure: what
 * may become of an announcement is decided here, what is done about it in announce.c.
 *
 *   DIALLED    its queue-proxy is being asked back         → WAITING or USED, or forgotten
 *   WAITING    proven, but its Pod was not seen here yet   → USED, or forgotten when it is time
 *   USED       proven; the API has the Pod, no address     → CONFIRMED, or evicted
 *   CONFIRMED  the API has the address that was announced  → over when the Pod is Ready
 *
 * Owns the records, one per Pod, and remembers which announcements were seen lately.
 */

#include "base/list.h"
#include "base/map.h"
#include "loop/addr.h"

#define ANNOUNCED_MAX         4096u  /* records */
#define ANNOUNCED_SEEN        4096u  /* announcements that are remembered */
#define ANNOUNCED_FRESH_MS    60000  /* clocks of nodes may differ by so much */
#define ANNOUNCED_DEADLINE_MS 30000u /* the API must have said it by then */

/* How an announcement, or a record, ended. X(name, label of the metric, HTTP status, words) */
#define ANNOUNCED_MAP(X)                                                                    \
    X(ACCEPTED, "accepted", 200, "welcome")                                                 \
    X(RELAYED, "relayed", 200, "told by another activator")                                 \
    X(KNOWN, "known", 200, "known already")                                                 \
    X(MALFORMED, "malformed", 400, "not an announcement that can be read")                  \
    X(FORGED, "forged", 403, "its code is wrong")                                           \
    X(STALE, "stale", 409, "its time is too far from ours")                                 \
    X(REPLAYED, "replayed", 409, "it was seen before")                                      \
    X(WRONG_SOURCE, "wrong_source", 403, "it does not come from the address that it names") \
    X(UNKNOWN_REVISION, "unknown_revision", 503, "its Revision is not known (yet)")         \
    X(UNKNOWN_POD, "unknown_pod", 503, "its Pod is not known (yet)")                        \
    X(GONE, "gone", 410, "its Revision or Pod is gone, or going")                           \
    X(OTHER, "other_revision", 403, "its Pod belongs to another Revision")                  \
    X(KUBELET, "kubelet", 409, "the kubelet decides when its Pod is ready")                 \
    X(MOVED, "moved", 403, "its Pod has another address")                                   \
    X(FULL, "full", 503, "too many announcements at once")                                  \
    X(UNPROVEN, "unproven", 502, "its queue-proxy did not prove what it is")                \
    X(CONFIRMED, "confirmed", 200, "the API has confirmed it")                              \
    X(EVICTED, "evicted", 200, "the API says otherwise, or said nothing in time")

#define ANNOUNCED_ENUM_ROW(name, label, status, words) ANNOUNCED_##name,
enum announced_end { ANNOUNCED_MAP(ANNOUNCED_ENUM_ROW) ANNOUNCED_N };
#undef ANNOUNCED_ENUM_ROW

const char *announced_label(enum announced_end end);
const char *announced_words(enum announced_end end);
int announced_status(enum announced_end end);

enum announced_state {
    ANNOUNCED_DIALLED_STATE,
    ANNOUNCED_WAITING_STATE,
    ANNOUNCED_USED_STATE,
    ANNOUNCED_CONFIRMED_STATE,
};

/* What the API says of a Pod; texts borrowed. */
struct announced_pod {
    struct slice uid;
    struct slice revision;
    struct slice address; /* "IP:PORT"; empty: not known yet */
    uint16_t port;        /* of its queue-proxy */
    bool ready;
    bool going; /* it is being deleted, or over */
    bool ours;  /* nobody but its queue-proxy has to be asked */
};

struct announced {
    char *uid; /* of the Pod; owned, like the texts below */
    char *ns;
    char *pod;
    char *revision;
    char *address; /* "IP:PORT"; NULL while the Pod, and with it the port, is not known */
    char *ip;
    enum announced_state state;
    uint64_t deadline_ns;
    struct list link; /* private: in order of deadlines; not on it once confirmed */
    void *dial;       /* the owner's: the question under way */
};

struct announced_table {
    struct map by_uid; /* private, like the rest */
    struct list timed;
    uint64_t *seen; /* a ring; allocated at the first use */
    uint32_t seen_at;
};

/* What the API's view of the Pod means for an announcement that says so. */
enum announced_view {
    ANNOUNCED_VIEW_NONE,     /* no such Pod yet */
    ANNOUNCED_VIEW_OPEN,     /* it has no address yet */
    ANNOUNCED_VIEW_CONFIRMS, /* it has this address */
    ANNOUNCED_VIEW_OVER,     /* it is Ready by itself, or the kubelet decides: nothing to do here */
    ANNOUNCED_VIEW_DENIES,   /* another Pod, Revision or address; or it is going */
};
/* pod NULL: not known. out_end (may be NULL): what to answer when it is not OPEN or CONFIRMS. */
enum announced_view announced_look(const struct announced_pod *pod, struct slice uid,
                                   struct slice revision, struct slice ip,
                                   enum announced_end *out_end);

void announced_init(struct announced_table *t);
/* Frees all records; no dial may be under way. */
void announced_fini(struct announced_table *t);
size_t announced_len(const struct announced_table *t);

/* Fresh: its time is close enough to ours. */
bool announced_is_fresh(int64_t time_ms, int64_t now_ms);
/* True when this code came before, as far as is remembered; remembers it. */
bool announced_was_seen(struct announced_table *t, struct slice code);

/* NULL when the table is full. uid must be new. */
struct announced *announced_add(struct announced_table *t, const struct announced *like,
                                uint64_t now_ns);
struct announced *announced_get(const struct announced_table *t, struct slice uid);
/* Frees it. */
void announced_remove(struct announced_table *t, struct announced *a);
/* The API's view has changed. False: the record is of no use any more, *out_end says why (CONFIRMED
 * or EVICTED), and the caller removes it. */
bool announced_view(struct announced *a, enum announced_view view, enum announced_end *out_end);
/* Whether it stands in for the Pod's own word. */
bool announced_counts(const struct announced *a);
/* The first record whose deadline has passed, or NULL; and when the next one is due (UINT64_MAX:
 * never). */
struct announced *announced_overdue(const struct announced_table *t, uint64_t now_ns,
                                    uint64_t *out_due_ns);
