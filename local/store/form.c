// SPDX-License-Identifier: Apache-2.0
//
// A step from one version to the next is one transaction that also sets the new version: it is done
// or it is not. Steps are never changed after a release, only added.
#include "local/store/form.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define APPLICATION_ID 0x4c756c6c /* "Lull" */

#ifndef LULL_VERSION
#define LULL_VERSION "0.1.0"
#endif

// [N] makes version N + 1 of version N; 0 is an empty file.
static const char *const STEPS[FORM_VERSION] = {
    "CREATE TABLE object(id INTEGER PRIMARY KEY, resource TEXT NOT NULL,"
    " namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,"
    " body TEXT NOT NULL);"
    "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one=1), version INTEGER NOT NULL);"
    "INSERT INTO state VALUES(1,0);",
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
};

#define WHAT_TO_DO                                                                              \
    "stop Lull, move it and its -wal, -shm and -redo files away, and bring a backup back with " \
    "`lull restore FILE`, or start again with an empty state"

int sql_error(const char *path, sqlite3 *db, int rc, const char *what, struct error *err)
{
    const char *said = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(err, ERR_IO, "the database %s is damaged (%s): " WHAT_TO_DO, path, said);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(err, ERR_DENIED,
                         "%s %s: %s: its folder must exist and be writable for this user", what,
                         path, sqlite3_errstr(rc));
    case SQLITE_FULL:
        return error_set(err, ERR_UNAVAILABLE, "%s %s: the disk is full", what, path);
    default:
        return error_set(err, ERR_UNAVAILABLE, "%s %s: %s", what, path, said);
    }
}

int sql_run(const char *path, sqlite3 *db, const char *sql, struct error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sql_error(path, db, rc, "cannot prepare", err);
}

int sql_number(const char *path, sqlite3 *db, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    int code = 0;
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(stmt, 0);
    } else {
        code = sql_error(path, db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

int sql_copy(const char *path, sqlite3 *db, const char *to, struct error *err)
{
    (void)unlink(to);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* SQLite would use 0644 */
    if (fd < 0) {
        return error_from_errno(err, errno, "cannot make %s", to);
    }
    (void)close(fd);
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, "VACUUM INTO ?", -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_text(stmt, 1, to, -1, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
    }
    int code = rc == SQLITE_DONE ? 0 : sql_error(path, db, rc, "cannot copy", err);
    (void)sqlite3_finalize(stmt);
    if (code < 0) {
        (void)unlink(to);
    }
    return code;
}

int sql_meta_set(const char *path, sqlite3 *db, const char *key, const char *value,
                 struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO meta VALUES(?,?)", -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
    }
    int code = rc == SQLITE_DONE ? 0 : sql_error(path, db, rc, "cannot write to", err);
    (void)sqlite3_finalize(stmt);
    return code;
}

// ---- checks

// " by Lull 0.3.0", or nothing.
static void read_writer(sqlite3 *db, char *out, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    out[0] = '\0';
    if (sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE key='written_by'", -1, &stmt, NULL) ==
            SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        (void)snprintf(out, size, " %.40s", (const char *)sqlite3_column_text(stmt, 0));
    }
    (void)sqlite3_finalize(stmt);
}

static int check_version(const char *path, sqlite3 *db, int64_t *version, struct error *err)
{
    int64_t application = 0;
    char writer[48];
    int rc = sql_number(path, db, "PRAGMA application_id", &application, err);
    if (rc == 0) {
        rc = sql_number(path, db, "PRAGMA user_version", version, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (application != APPLICATION_ID || *version < 1) {
        return error_set(err, ERR_INVALID,
                         "%s is a database of another program: choose another state directory",
                         path);
    }
    if (*version > FORM_VERSION) {
        read_writer(db, writer, sizeof(writer));
        return error_set(err, ERR_UNSUPPORTED,
                         "%s was written by a newer Lull%s (schema %lld, this one knows %d): start "
                         "the newer version, or choose another state directory",
                         path, writer, (long long)*version, FORM_VERSION);
    }
    return 0;
}

int form_check(const char *path, sqlite3 *db, struct error *err)
{
    int64_t version;
    return check_version(path, db, &version, err);
}

// ---- steps

static int step_run(const char *path, sqlite3 *db, int64_t from, struct error *err)
{
    CLEANUP(cleanup_free)
    char *sql = xasprintf("BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%lld;"
                          "COMMIT",
                          STEPS[from], APPLICATION_ID, (long long)from + 1);
    int rc = sql_run(path, db, sql, err);
    if (rc < 0) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return rc;
}

int form_lost(const char *path, struct error *err)
{
    return error_set(err, ERR_IO,
                     "the database %s is damaged (it is empty, but Lull has kept state here before)"
                     ": " WHAT_TO_DO,
                     path);
}

int form_open(const char *path, sqlite3 *db, bool used, struct error *err)
{
    int64_t tables = 0, version = 0;
    int rc = sql_number(path, db, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc == 0 && tables == 0 && used) {
        return form_lost(path, err);
    }
    if (rc == 0 && tables > 0) {
        rc = check_version(path, db, &version, err);
    }
    if (rc == 0 && version > 0 && version < FORM_VERSION) {
        CLEANUP(cleanup_free) char *copy = xasprintf("%s-schema%lld", path, (long long)version);
        rc = sql_copy(path, db, copy, err);
        LOG_INFO("bringing the database up to date", LOG_INT("from", version),
                 LOG_INT("to", FORM_VERSION), LOG_STR("copy", copy));
    }
    for (; rc == 0 && version < FORM_VERSION; version++) {
        rc = step_run(path, db, version, err);
    }
    return rc < 0 ? rc : sql_meta_set(path, db, "written_by", LULL_VERSION, err);
}
