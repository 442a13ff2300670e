// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How events lie in Redis: names of keys and groups, the scripts that change several of them at
 * once, and the small texts in them. Everything of one Broker has one hash tag, so that a clustered
 * Redis keeps it together. Pure.
 *
 *   lull:{NS/BROKER}:events       stream; entry: e = packed attributes, d = data (absent: none),
 *                                 t = UID of the one trigger that gets it (absent: who wants it).
 *                                 The payload stands here once. Group `dispatch`.
 *   lull:{NS/BROKER}:born         "TIME UID" of the Broker whose events these are
 *   lull:{NS/BROKER}:owner        the worker that keeps order (owner.h); ends by itself
 *   lull:{NS/BROKER}:triggers     set of the UIDs whose keys exist
 *   lull:{NS/BROKER}:t:UID        stream of references; entry: r = id in events, s = state (absent:
 *                                 never tried). Group `deliver`; an entry is deleted when it is
 *                                 done, so the first one is the oldest that is not.
 *   lull:{NS/BROKER}:t:UID:retry  sorted set: "ENTRY EVENT STATE" by the time when it is due (ms,
 *                                 by Redis' clock)
 *   lull:{NS/BROKER}:t:UID:held   the same members by the ms of the event's id: what may not be
 *                                 trimmed
 *   lull:{NS/BROKER}:t:UID:dead   stream of events that nobody took: e, d, x = why, and n = 1 when
 *                                 it cannot be tried again; bounded
 *   lull:{NS/BROKER}:t:UID:taken  hash: files of a FileSource that stay where they are
 *   lull:workers                  sorted set of the workers' names by their last sign of life
 *   lull:brokers                  set of "NS/BROKER"
 *
 * A state is "PHASE ATTEMPT CODE DATA": phase d (to the subscriber) or l (to the dead letter sink),
 * tries made in it, status of the subscriber's last answer (0: none), base64 of what it said.
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define STREAM_GROUP_DISPATCH "dispatch"
#define STREAM_GROUP_DELIVER  "deliver"
#define STREAM_WORKERS        "lull:workers"
#define STREAM_BROKERS        "lull:brokers"

/* "lull:{NS/BROKER}:what"; new memory. */
char *stream_key(const char *ns, const char *broker, const char *what);
char *stream_trigger_key(const char *ns, const char *broker, const char *uid, const char *what);
/* What a trigger has beside its stream (""), behind its key; NULL ends. */
extern const char *const stream_trigger_parts[];

/* Milliseconds of an id "1700000000000-5"; false when it is none. */
bool stream_id_valid(struct slice id);
struct slice stream_id_ms(struct slice id);
/* Below 0, 0 or above, as the first of two ids of entries is older, the same or younger. */
int stream_id_compare(struct slice a, struct slice b);

#define STREAM_ERROR_DATA_MAX 1024 /* bytes of an answer that a dead letter tells of */

enum stream_phase { PHASE_DELIVER, PHASE_DEAD_LETTER };

struct stream_state {
    enum stream_phase phase;
    uint32_t attempt;  /* tries made in this phase */
    int code;          /* of the subscriber's last answer; 0: none came */
    struct slice data; /* base64; borrowed */
};

void stream_state_write(const struct stream_state *s, struct strbuf *out);
/* An empty text is a reference that was never tried. ERR_PROTOCOL. */
MUST_CHECK int stream_state_read(struct slice text, struct stream_state *out, struct error *err);

/*
 * Scripts. Each is atomic, and does nothing the second time: it begins with XACK, whose answer says
 * whether the entry was still pending.
 *
 * DISPATCH  KEYS events, (trigger, held)…; ARGV (id, n, n places of triggers in KEYS)…: references
 *           to each event; gives the number written and of those whose stream was not there.
 * RETRY     KEYS trigger, retry, held; ARGV entry, event id, member, delay ms
 * DUE       KEYS trigger, retry; ARGV most: back to the stream; gives how many, and ms until the
 *           next is due (-1: none)
 * DONE      KEYS trigger, held; ARGV entry, event id: for references with a state
 * DEAD      KEYS trigger, dead, held; ARGV entry, most, e, d, whether there is a d (1, 0), x,
 *           event id
 * TRIM      KEYS events, triggers; ARGV how many to keep, what a trigger's key begins with: trims
 *           behind the slowest; gives the length and the number that went
 * BORN      KEYS born; ARGV its text: unless a later one stands there
 * KNOWN     KEYS born, triggers; gives the text of the first, and the members of the second
 * DROP      KEYS born, events, triggers; ARGV born, what a trigger's key begins with: removes all
 *           that a Broker has, unless it is another one's; gives 1 or 0
 * TAKE      KEYS stream; ARGV group, from, to, most: pending entries change hands; gives how many
 * OWN       KEYS owner; ARGV name, ms: 1 when it is this worker's for so long, 0 when another's
 * RELEASE   KEYS owner; ARGV name
 * TAKE_ALL  KEYS stream; ARGV group, to: whatever others hold pending; gives how many
 * ALIVE     KEYS workers; ARGV name, silence ms: says that we live; gives those who are silent
 * FORGET    KEYS workers; ARGV name, silence ms: unless it is there again
 * ONCE      KEYS events, ids; ARGV id, within ms, most ids, e, d: adds the event, unless the id is
 *           known (0); nil when there is no stream
 */
extern const char stream_script_dispatch[];
extern const char stream_script_own[];
extern const char stream_script_release[];
extern const char stream_script_take_all[];
extern const char stream_script_retry[];
extern const char stream_script_due[];
extern const char stream_script_done[];
extern const char stream_script_dead[];
extern const char stream_script_trim[];
extern const char stream_script_born[];
extern const char stream_script_known[];
extern const char stream_script_drop[];
extern const char stream_script_take[];
extern const char stream_script_alive[];
extern const char stream_script_forget[];
extern const char stream_script_once[];

#define STREAM_ONCE_MAX 100000 /* ids of one source that are known */
