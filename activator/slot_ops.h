// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What shards say to each other about slots, as bytes. Pure.
 *
 * Op: u8 op | u64 id | fields. Big endian; text is u16 length and bytes. id is the borrower's
 * number of what it asks for or claims, another one each time. A frame is a row of whole ops. An op
 * with an id that the receiver does not know (any more) means nothing; a grant of it is cancelled.
 */

#include "base/error.h"
#include "base/strbuf.h"

enum slot_op {
    /* borrower → owner */
    SLOT_RESERVE = 'R', /* revision: wants a slot, waits in the owner's queue */
    SLOT_CLAIM = 'C',   /* revision, replica: has this slot already (of an owner before) */
    SLOT_DONE = 'D',    /* u8 enum slot_end: the slot is free again */
    SLOT_BACK = 'B',    /* u8 enum give_back: not served; back to its place in the queue */
    SLOT_CANCEL = 'X',  /* waiting or lent: not wanted any more */
    /* owner → borrower */
    SLOT_GRANT = 'G', /* replica */
    SLOT_FULL = 'F',  /* the queue is full; forgotten */
    SLOT_MOVED = 'M', /* not the owner (any more); forgotten */
    SLOT_LATE = 'L',  /* waited too long here; forgotten */
};

enum slot_end { SLOT_END_OK, SLOT_END_BAD, SLOT_END_BROKEN };

struct slot_message {
    enum slot_op op;
    uint64_t id;
    uint8_t how;           /* of DONE and BACK */
    struct slice revision; /* borrowed from the frame */
    struct slice replica;  /* the same: uid of the Pod */
};

/* Frames that wait to be sent: each a u32 length and its bytes. */
struct ops_out {
    struct strbuf buf;
    size_t open; /* private: where the last frame begins */
};

void ops_init(struct ops_out *out, size_t max);
void ops_fini(struct ops_out *out);
void ops_clear(struct ops_out *out);
bool ops_empty(const struct ops_out *out);
/* An op that does not fit makes ops_ok() false: the link is of no use any more. */
void ops_put(struct ops_out *out, const struct slot_message *m);
bool ops_ok(const struct ops_out *out);
/* The frames one after the other; *at starts at 0. */
bool ops_next_frame(const struct ops_out *out, size_t *at, struct slice *frame);

/* 1: *out is the next op of the frame and *rest what follows. 0: at the end. ERR_PROTOCOL. */
MUST_CHECK int ops_read(struct slice *rest, struct slot_message *out, struct error *err);
