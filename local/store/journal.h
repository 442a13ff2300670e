// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The SQLite database behind the store: one row per object, in WAL mode. Owns the database, a
 * writer thread (all that waits becomes one transaction) and a syncer thread (one fdatasync for
 * all that wait, and the checkpoints, so that a machine's write never stands behind a disk).
 * May not know objects beyond their keys and texts.
 *
 * Order: `written` callbacks come in the order of journal_write. A transaction that fails takes
 * everything queued behind it with it (those writes were checked against versions that never
 * came to be); journal_repair() opens the journal again when nothing is under way.
 */

#include <stdatomic.h>

#include "base/slice.h"
#include "loop/worker.h"

struct journal;
struct journal_write;
typedef void (*journal_cb)(struct journal_write *w);

enum journal_op { JOURNAL_PUT, JOURNAL_DELETE, JOURNAL_NOTHING };

struct journal_write {
    struct worker_job job; /* job.status and job.err: the outcome */
    enum journal_op op;
    int64_t row;
    uint64_t version;
    const char *resource; /* all borrowed until `written` */
    const char *ns;
    const char *name;
    struct slice body;
    journal_cb written; /* private, set by journal_write */
    journal_cb synced;  /* private, set by journal_sync */
    void *data;         /* the owner's */
};

struct journal_row {
    int64_t row;
    const char *resource;
    const char *ns;
    const char *name;
    struct slice body;
};
typedef int (*journal_load_cb)(const struct journal_row *row, void *arg, struct error *err);

/*
 * path NULL: nothing is kept, callbacks come all the same. Gives every row to `load` and the
 * largest version ever written. Blocks. On an error nothing is left open.
 */
MUST_CHECK int journal_open(struct journal **out, struct loop *loop, const char *path,
                            size_t pending_max, journal_load_cb load, void *arg,
                            uint64_t *out_version, struct error *err);

/* Zero: `written` comes once. */
MUST_CHECK int journal_write(struct journal *j, struct journal_write *w, journal_cb written,
                             struct error *err);
/* Inside or after `written`: `synced` comes once, when it is on the disk. */
MUST_CHECK int journal_sync(struct journal *j, struct journal_write *w, journal_cb synced,
                            struct error *err);
/* A transaction failed, and the journal refuses until journal_repair(). */
bool journal_is_broken(const struct journal *j);
void journal_repair(struct journal *j);
/* Finishes what is queued; cb comes last, and the journal is freed. */
void journal_close(struct journal *j, void (*cb)(void *arg), void *arg);
