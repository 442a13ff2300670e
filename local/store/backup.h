// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Copies of the state: one file with every object and every bundle, and back. The file is a SQLite
 * database of the same form as the living one (form.h) with one table more:
 * bundle_file(path, mode, data), and with events event_file (backup_events.h). Certificates, the
 * token and logs are not in it. Blocks: for a process that does nothing else.
 */

#include "local/store.h"

struct backup_report {
    int64_t objects;
    int64_t bundles;
    int64_t event_bytes; /* of our own redis-server's files; 0: there are no events */
    int64_t brokers;     /* among the objects */
    int64_t taken_s;     /* wall clock */
};

/*
 * Also while a Lull runs on `home`: the state of one moment, with every write that was acknowledged
 * to a user before. `file` is replaced, and whole or as it was.
 */
MUST_CHECK int backup_write(const char *home, const char *file, struct backup_report *out,
                            struct error *err);

/*
 * Not while a Lull runs on `home` (ERR_IN_USE). Bundles that are there stay. Every object gets a
 * resourceVersion beyond all that were ever given, also by a Lull that went on after the copy was
 * taken. The database that was there stays as lull.db-before-restore, events as
 * events-before-restore. Until its last step nothing
 * that counts has changed.
 */
MUST_CHECK int backup_restore(const char *home, const char *file, const struct store_kind *kinds,
                              size_t kinds_count, struct backup_report *out, struct error *err);
