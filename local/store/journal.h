// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The log behind the store: what was written is in the database (local/store/database.h), and no
 * thread but its own two touches that: a writer (all that waits becomes one transaction) and a
 * syncer (one fdatasync for all that wait, and the checkpoints, so that a machine's write never
 * stands behind a disk). Machines' writes are first in the redo log (local/store/redo.h), where
 * they survive this process, and count as written on the next turn of the loop. May not know
 * objects beyond their keys and texts.
 *
 * Order: `written` callbacks come in the order of journal_write. A transaction that fails takes
 * everything queued behind it with it (those writes were checked against versions that never
 * came to be), except what was in the redo log: that stays owed, and is tried again before all
 * else.
 */

#include "loop/worker.h"
#include "local/store/database.h"

struct journal;
struct journal_write;
typedef void (*journal_cb)(struct journal_write *w);

enum journal_op { JOURNAL_PUT, JOURNAL_DELETE, JOURNAL_NOTHING };

struct journal_write {
    struct worker_job job; /* job.status and job.err: the outcome */
    enum journal_op op;
    bool machine;            /* it may count as written before it is in the database */
    struct database_row row; /* texts borrowed until `written` */
    journal_cb written;      /* private, set by journal_write */
    journal_cb synced;       /* private, set by journal_sync */
    void *data;              /* the owner's */
};

/*
 * path NULL: nothing is kept, callbacks come all the same. Gives every row to `load` and the
 * largest version ever written. Blocks. On an error nothing is left open.
 */
MUST_CHECK int journal_open(struct journal **out, struct loop *loop, const char *path,
                            size_t pending_max, database_row_cb load, void *arg,
                            uint64_t *out_version, struct error *err);

/* Zero: `written` comes once. */
MUST_CHECK int journal_write(struct journal *j, struct journal_write *w, journal_cb written,
                             struct error *err);
/* Inside or after `written`: `synced` comes once, when it is on the disk. */
MUST_CHECK int journal_sync(struct journal *j, struct journal_write *w, journal_cb synced,
                            struct error *err);
/* A transaction failed, and not all that fell with it has come back: nothing can be checked now. */
bool journal_is_broken(const struct journal *j);
/* Finishes what is queued; cb comes last, and the journal is freed. */
void journal_close(struct journal *j, void (*cb)(void *arg), void *arg);
