// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: open takes a lock file, has form.h make, check and update the tables. WAL mode with
 * synchronous=NORMAL: a transaction is in the log, not on the disk; database_sync does fdatasync
 * on a descriptor of its own. Checkpoints are the syncer's; when it cannot keep up, a commit
 * checkpoints the rest itself.
 */

#include "local/store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "local/store/form.h"

#define CHECKPOINT_PAGES 1024
#define OVERGROWN_PAGES  (CHECKPOINT_PAGES * 8)

struct database {
    char *path;
    int lock_fd;
    int wal_fd;
    sqlite3 *db;            /* the writer's, after open */
    sqlite3 *checkpoint_db; /* the syncer's */
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
    sqlite3_stmt *set_version;
    atomic_int wal_pages;
};

static int from_sqlite(const struct database *d, sqlite3 *db, int rc, const char *what,
                       struct error *err)
{
    return sql_error(d->path, db, rc, what, err);
}

static int run_sql(const struct database *d, sqlite3 *db, const char *sql, struct error *err)
{
    return sql_run(d->path, db, sql, err);
}

/* --- open ---------------------------------------------------------------------------------- */

int database_load(struct database *d, database_row_cb cb, void *arg, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(
        d->db, "SELECT id,resource,namespace,name,body FROM object ORDER BY id", -1, &stmt, NULL);
    int code = 0;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW) {
            break;
        }
        struct database_row row = {
            .row = sqlite3_column_int64(stmt, 0),
            .resource = (const char *)sqlite3_column_text(stmt, 1),
            .ns = (const char *)sqlite3_column_text(stmt, 2),
            .name = (const char *)sqlite3_column_text(stmt, 3),
        };
        row.body.ptr = (const char *)sqlite3_column_text(stmt, 4);
        row.body.len = (size_t)sqlite3_column_bytes(stmt, 4);
        code = cb(&row, arg, err);
        if (code < 0) {
            break;
        }
    }
    if (code == 0 && rc != SQLITE_DONE) {
        code = from_sqlite(d, d->db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

static int on_wal_grown(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct database *d = arg;
    atomic_store(&d->wal_pages, pages);
    return SQLITE_OK;
}

static int open_database(struct database *d, sqlite3 **out, struct error *err)
{
    int rc = sqlite3_open_v2(
        d->path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        return from_sqlite(d, *out, rc, "cannot open", err);
    }
    (void)sqlite3_extended_result_codes(*out, 1);
    (void)sqlite3_busy_timeout(*out, 2000);
    return run_sql(d, *out, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;", err);
}

static int prepare(struct database *d, sqlite3_stmt **out, const char *sql, struct error *err)
{
    int rc = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? 0 : from_sqlite(d, d->db, rc, "cannot prepare", err);
}

static int prepare_all(struct database *d, struct error *err)
{
    int rc = prepare(d, &d->put,
                     "INSERT OR REPLACE INTO object(id,resource,namespace,name,version,body)"
                     " VALUES(?,?,?,?,?,?)",
                     err);
    if (rc == 0) {
        rc = prepare(d, &d->remove, "DELETE FROM object WHERE id=?", err);
    }
    if (rc == 0) {
        rc = prepare(d, &d->set_version, "UPDATE state SET version=?", err);
    }
    return rc;
}

/* The folder's entries for the database and its log must survive as well. */
static int sync_folder(const struct database *d, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = xstrdup(d->path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0) {
        int saved = errno;
        cleanup_close(&fd);
        return error_from_errno(err, saved, "cannot sync the folder %s", folder);
    }
    (void)close(fd);
    return 0;
}

static int open_files(struct database *d, struct error *err)
{
    CLEANUP(cleanup_free) char *lock = xasprintf("%s.lock", d->path);
    int rc = fs_lock(lock, &d->lock_fd, err);
    if (rc < 0) {
        return error_prefix(err, rc, "cannot take the database %s", d->path);
    }
    CLEANUP(cleanup_free) char *redo = xasprintf("%s-redo", d->path);
    bool used = fs_exists(d->path) && fs_exists(redo); /* made after the tables */
    struct stat st;
    if (used && stat(d->path, &st) == 0 && st.st_size == 0) {
        return form_lost(d->path, err); /* before SQLite makes something of it */
    }
    int fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite would use 0644 */
    if (fd < 0) {
        return error_from_errno(err, errno, "cannot open the database %s", d->path);
    }
    (void)close(fd); /* before SQLite has it open: closing drops the process's record locks */
    rc = open_database(d, &d->db, err);
    if (rc == 0) {
        rc = form_open(d->path, d->db, used, err);
    }
    if (rc == 0) {
        rc = open_database(d, &d->checkpoint_db, err);
    }
    if (rc == 0) {
        /* A write makes the log file; it stays the same file as long as the database is open. */
        rc = run_sql(d, d->db, "UPDATE state SET version=version", err);
    }
    if (rc < 0) {
        return rc;
    }
    (void)sqlite3_wal_hook(d->db, on_wal_grown, d);
    (void)sqlite3_wal_autocheckpoint(d->checkpoint_db, 0);
    CLEANUP(cleanup_free) char *wal = xasprintf("%s-wal", d->path);
    d->wal_fd = open(wal, O_RDONLY | O_CLOEXEC);
    if (d->wal_fd < 0) {
        return error_from_errno(err, errno, "cannot open %s", wal);
    }
    rc = sync_folder(d, err);
    return rc < 0 ? rc : prepare_all(d, err);
}

static void free_database(struct database *d)
{
    (void)sqlite3_finalize(d->put);
    (void)sqlite3_finalize(d->remove);
    (void)sqlite3_finalize(d->set_version);
    (void)sqlite3_close(d->checkpoint_db);
    (void)sqlite3_close(d->db);
    cleanup_close(&d->wal_fd);
    cleanup_close(&d->lock_fd);
    free(d->path);
    free(d);
}

int database_open(struct database **out, const char *path, struct error *err)
{
    struct database *d = NEW(struct database);
    d->lock_fd = -1;
    d->wal_fd = -1;
    d->path = xstrdup(path);
    int rc = open_files(d, err);
    if (rc < 0) {
        free_database(d);
        return rc;
    }
    *out = d;
    return 0;
}

void database_close(struct database *d)
{
    if (d != NULL) {
        free_database(d);
    }
}

int database_version(struct database *d, uint64_t *out, struct error *err)
{
    int64_t version = 0, newest = 0;
    int rc = sql_number(d->path, d->db, "SELECT version FROM state", &version, err);
    if (rc == 0) {
        rc = sql_number(d->path, d->db, "SELECT ifnull(max(version),0) FROM object", &newest, err);
    }
    *out = (uint64_t)(version > newest ? version : newest);
    return rc;
}

/* --- one transaction ----------------------------------------------------------------------- */

static int step(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int database_begin(struct database *d)
{
    return sqlite3_exec(d->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
}

int database_put(struct database *d, const struct database_row *row)
{
    (void)sqlite3_bind_int64(d->put, 1, row->row);
    (void)sqlite3_bind_text(d->put, 2, row->resource, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(d->put, 3, row->ns, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(d->put, 4, row->name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(d->put, 5, (int64_t)row->version);
    (void)sqlite3_bind_text64(d->put, 6, row->body.ptr, row->body.len, SQLITE_STATIC, SQLITE_UTF8);
    return step(d->put);
}

int database_remove(struct database *d, int64_t row, uint64_t version)
{
    (void)sqlite3_bind_int64(d->remove, 1, row);
    int rc = step(d->remove);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_int64(d->set_version, 1, (int64_t)version);
        rc = step(d->set_version);
    }
    return rc;
}

int database_commit(struct database *d)
{
    int rc = sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK && atomic_load(&d->wal_pages) > OVERGROWN_PAGES) {
        (void)sqlite3_wal_checkpoint_v2(d->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    return rc;
}

int database_fail(struct database *d, int sqlite_code, struct error *err)
{
    int code = from_sqlite(d, d->db, sqlite_code, "cannot write to", err);
    (void)sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* --- to the disk --------------------------------------------------------------------------- */

int database_sync(struct database *d, struct error *err)
{
    if (fdatasync(d->wal_fd) < 0) {
        return error_from_errno(err, errno, "cannot bring %s-wal to the disk", d->path);
    }
    return 0;
}

void database_checkpoint(struct database *d)
{
    (void)sqlite3_wal_checkpoint_v2(d->checkpoint_db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

bool database_has_grown(const struct database *d)
{
    return atomic_load(&d->wal_pages) >= CHECKPOINT_PAGES;
}
