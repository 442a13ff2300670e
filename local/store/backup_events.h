// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The events of a backup: the append-only files of our own redis-server (HOME/events), as of one
 * moment, in the backup's table event_file(name, part, data). Whether redis-server runs does not
 * matter for the copy; it must not run for the way back. Blocks.
 */

#include <sqlite3.h>

#include "base/error.h"

/* *bytes: what was copied; 0: there are no events. path names the database in errors. */
MUST_CHECK int backup_events_add(const char *home, const char *path, sqlite3 *db, int64_t *bytes,
                                 struct error *err);
/* Into HOME/events-restoring; *bytes as above. Nothing that counts has changed yet. */
MUST_CHECK int backup_events_unpack(const char *home, const char *path, sqlite3 *db, int64_t *bytes,
                                    struct error *err);
/*
 * HOME/events becomes HOME/events-before-restore (*moved: there was one), what was unpacked
 * HOME/events. ERR_IN_USE: a redis-server has them.
 */
MUST_CHECK int backup_events_exchange(const char *home, bool *moved, struct error *err);
/* After an exchange, when what comes behind it failed: what was there before is there again. */
void backup_events_undo(const char *home, bool moved);
