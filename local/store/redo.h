// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The redo log: a small file mapped into memory, in front of the database. A machine's write is in
 * it after one copy, with no thread and no system call between, and so survives the process (not
 * the power: the page cache holds it). The database gets the same writes a moment later, in
 * batches; then the log is emptied. Owns the file and its mapping. May not know SQLite or objects.
 *
 * It counts only for the boot in which it was written, and only as the continuation of the
 * database's newest version: each record names the version that it follows.
 */

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

struct redo;

struct redo_record {
    uint64_t version;
    uint64_t follows; /* the newest version before this one */
    int64_t row;
    bool remove;          /* else put */
    const char *resource; /* of a record in the log: there until redo_clear */
    const char *ns;
    const char *name;
    struct slice body; /* not terminated */
};

/* Opens or makes the file (mode 0600) with room for `bytes`. Blocks. */
MUST_CHECK int redo_open(struct redo **out, const char *path, size_t bytes, struct error *err);

/*
 * Gives the records that continue `version`, in order; *version becomes the last one's. Stops at
 * the first that is not whole or follows something else. Blocks.
 */
typedef int (*redo_cb)(const struct redo_record *record, void *arg, struct error *err);
MUST_CHECK int redo_replay(const struct redo *r, uint64_t *version, redo_cb cb, void *arg,
                           struct error *err);

/* False: no room. Else it is kept, and *kept is the same record with its texts in the log. */
MUST_CHECK bool redo_append(struct redo *r, const struct redo_record *record,
                            struct redo_record *kept);
/* All records are in the database. */
void redo_clear(struct redo *r);
size_t redo_used(const struct redo *r);
size_t redo_size(const struct redo *r);
void redo_close(struct redo *r);
