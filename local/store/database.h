// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The SQLite file itself: open and check, read every row, write one transaction, bring it to the
 * disk. Owns the file's lock, two connections (the writer's, and one for checkpoints) and the
 * prepared statements. Blocks; knows no thread, no loop, no object.
 *
 * After database_open the writer's thread calls database_begin … database_commit and the syncer's
 * thread database_sync and database_checkpoint; nothing else is shared between the two.
 */

#include "base/error.h"
#include "base/slice.h"

struct database;

struct database_row {
    int64_t row;
    uint64_t version; /* of a put */
    const char *resource;
    const char *ns;
    const char *name;
    struct slice body;
};

/* The file is made when absent (mode 0600) and taken for this process alone. */
MUST_CHECK int database_open(struct database **out, const char *path, struct error *err);
void database_close(struct database *db);

typedef int (*database_row_cb)(const struct database_row *row, void *arg, struct error *err);
/* Every row, oldest object first (which reads every page: damage shows here). */
MUST_CHECK int database_load(struct database *db, database_row_cb cb, void *arg, struct error *err);
/* The largest version ever written. */
MUST_CHECK int database_version(struct database *db, uint64_t *out, struct error *err);

/*
 * The writer's. SQLite's code, 0 when fine: the first that is not ends the transaction, and
 * database_fail makes the sentence. In the log then, not on the disk.
 */
int database_begin(struct database *db);
int database_put(struct database *db, const struct database_row *row);
int database_remove(struct database *db, int64_t row, uint64_t version);
int database_commit(struct database *db);
/* Rolls back. */
int database_fail(struct database *db, int sqlite_code, struct error *err);

/* The syncer's. */
MUST_CHECK int database_sync(struct database *db, struct error *err);
void database_checkpoint(struct database *db);
/* The log has grown so far that it should be checkpointed. Any thread. */
bool database_has_grown(const struct database *db);
