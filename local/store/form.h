// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The form of the database: its tables, its version, the steps from each older version to the
 * present one, and the sentences for what SQLite says. Blocks. Used by database.h (the living
 * database) and backup.h (copies of it).
 *
 *   1  object(id, resource, namespace, name, version, body), state(version)
 *   2  meta(key, value): written_by (the Lull that opened it last), in a copy backup_taken
 * (seconds)
 */

#include <sqlite3.h>

#include "base/error.h"

#define FORM_VERSION 2

/*
 * Makes the tables when there are none, brings an older form up to date (a copy of the old one
 * stays in PATH-schemaN first), and refuses what is not ours, newer or damaged with what to do.
 * `used`: a Lull has kept state here before, so a file without tables has lost them.
 */
MUST_CHECK int form_open(const char *path, sqlite3 *db, bool used, struct error *err);
/* The refusal of a file that has lost its tables. */
int form_lost(const char *path, struct error *err);
/* The same checks, and nothing is changed. */
MUST_CHECK int form_check(const char *path, sqlite3 *db, struct error *err);

/* The sentence for SQLite's code; db may be NULL. `what`: "cannot read". */
int sql_error(const char *path, sqlite3 *db, int rc, const char *what, struct error *err);
MUST_CHECK int sql_run(const char *path, sqlite3 *db, const char *sql, struct error *err);
/* The first column of the first row. */
MUST_CHECK int sql_number(const char *path, sqlite3 *db, const char *sql, int64_t *out,
                          struct error *err);
/* VACUUM INTO: the whole database in a new file of mode 0600, which replaces one that is there. */
MUST_CHECK int sql_copy(const char *path, sqlite3 *db, const char *to, struct error *err);
MUST_CHECK int sql_meta_set(const char *path, sqlite3 *db, const char *key, const char *value,
                            struct error *err);
