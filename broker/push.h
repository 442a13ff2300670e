// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One event of a source on its way to the sink: tried as spec.delivery says, then to the dead
 * letter sink, until somebody takes it or nobody does. Kept in memory only: its owner still has it
 * where it came from, and says there how it went. Owns: the event. May not: know the source.
 */

#include "base/list.h"
#include "broker/sender.h"
#include "broker/source_object.h"

/* Where the events of a source go; open to its owner, who keeps it up to date. */
struct push_route {
    struct sender *sender;
    const char *ns;
    const struct source_common *common; /* push_pause everything before its texts change */
    uint64_t timeout_ms;                /* of a try, where the delivery spec says nothing */
    /* After each try; failed NULL: the sink took it. */
    void (*on_try)(void *arg, const struct error *failed);
    void *arg;
};

enum push_outcome {
    PUSH_TAKEN,
    PUSH_DEAD_LETTER, /* the dead letter sink took it */
    PUSH_REFUSED,     /* nobody took it */
};

struct push;
/* Once; last. PUSH_REFUSED: the event is as it was at the beginning. */
typedef void (*push_cb)(struct push *p, enum push_outcome outcome);

enum push_state { PUSH_IDLE, PUSH_WAITING, PUSH_SENDING, PUSH_OVER };

/* Embed it. Zeroed is fine for push_fini. */
struct push {
    struct event event; /* owned; texts that it borrows live as long */
    const struct push_route *route;
    push_cb cb;
    struct send send;      /* private */
    enum push_state state; /* private */
    bool dead_letter;      /* private: goes there by now */
    uint32_t attempt;      /* private */
    uint64_t begun_ms;     /* private */
    uint64_t due_ms;       /* private */
    int code;              /* of the sink's last answer; 0: none came */
    char *said;            /* the beginning of what it said, in base64; NULL: nothing; owned */
    struct error why;      /* the last failure */
};

/* Zero: exactly one cb, never inside this call. event is taken over. */
void push_start(struct push *p, const struct push_route *route, struct event *event, push_cb cb);
/* Breaks a try off; the next tick begins it anew. Before the route's texts change. */
void push_pause(struct push *p);
/* As often as there is one: tries that are due, and those that take too long. Not from cb. */
void push_tick(struct push *p, uint64_t now_ms);
/* No cb comes any more. */
void push_fini(struct push *p);
