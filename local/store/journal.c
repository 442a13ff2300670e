// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: open takes a lock file, checks that the database is ours and of our version, and reads
 * every row (which reads every page: damage shows here). A batch on the writer's thread is one
 * transaction with synchronous=NORMAL: in the log, not on the disk. The syncer's thread makes the
 * log durable with fdatasync on its own descriptor, and checkpoints when the log has grown; when
 * that cannot keep up, the writer checkpoints the rest itself.
 * Failures: a full disk or an I/O error fails the batch and all behind it (see the header).
 */

#include "local/store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#define APPLICATION_ID   0x4c756c6c /* "Lull" */
#define SCHEMA_VERSION   1
#define CHECKPOINT_PAGES 1024
#define OVERGROWN_PAGES  (CHECKPOINT_PAGES * 8)

struct journal {
    struct loop *loop;
    char *path;
    int lock_fd;
    int wal_fd;
    sqlite3 *db;            /* the writer's, after open */
    sqlite3 *checkpoint_db; /* the syncer's */
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
    sqlite3_stmt *set_version;
    atomic_bool broken;
    atomic_int wal_pages;
    struct worker writer;
    struct worker syncer;
    bool writer_on, syncer_on;
    bool checkpointing; /* the job below is under way */
    struct worker_job checkpoint;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- errors -------------------------------------------------------------------------------- */

static int from_sqlite(const struct journal *j, sqlite3 *db, int rc, const char *what,
                       struct error *err)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(err, ERR_IO,
                         "the database %s is damaged (%s): stop Lull, move it and its -wal and "
                         "-shm files away, and start again with an empty state or a copy",
                         j->path, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(err, ERR_DENIED,
                         "%s %s: %s: its folder must exist and be writable for this user", what,
                         j->path, sqlite3_errstr(rc));
    case SQLITE_FULL:
        return error_set(err, ERR_UNAVAILABLE, "%s %s: the disk is full", what, j->path);
    default:
        return error_set(err, ERR_UNAVAILABLE, "%s %s: %s", what, j->path,
                         db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    }
}

static int run_sql(const struct journal *j, sqlite3 *db, const char *sql, struct error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : from_sqlite(j, db, rc, "cannot prepare", err);
}

/* --- open ---------------------------------------------------------------------------------- */

static int read_number(const struct journal *j, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(j->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    int code = 0;
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(stmt, 0);
    } else {
        code = from_sqlite(j, j->db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

static int check_schema(struct journal *j, struct error *err)
{
    int64_t tables = 0, application = 0, version = 0;
    int rc = read_number(j, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc == 0) {
        rc = read_number(j, "PRAGMA application_id", &application, err);
    }
    if (rc == 0) {
        rc = read_number(j, "PRAGMA user_version", &version, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (tables == 0) {
        char sql[512];
        (void)snprintf(sql, sizeof(sql),
                       "BEGIN;"
                       "CREATE TABLE object(id INTEGER PRIMARY KEY, resource TEXT NOT NULL,"
                       " namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,"
                       " body TEXT NOT NULL);"
                       "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one=1),"
                       " version INTEGER NOT NULL);"
                       "INSERT INTO state VALUES(1,0);"
                       "PRAGMA application_id=%d; PRAGMA user_version=%d;"
                       "COMMIT",
                       APPLICATION_ID, SCHEMA_VERSION);
        return run_sql(j, j->db, sql, err);
    }
    if (application != APPLICATION_ID) {
        return error_set(err, ERR_INVALID,
                         "%s is a database of another program: choose another state directory",
                         j->path);
    }
    if (version > SCHEMA_VERSION) {
        return error_set(err, ERR_UNSUPPORTED,
                         "%s was written by a newer Lull (schema %lld, this one knows %d): start "
                         "the newer version, or choose another state directory",
                         j->path, (long long)version, SCHEMA_VERSION);
    }
    return 0;
}

static int load_rows(struct journal *j, journal_load_cb load, void *arg, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(
        j->db, "SELECT id,resource,namespace,name,body FROM object ORDER BY id", -1, &stmt, NULL);
    int code = 0;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW) {
            break;
        }
        struct journal_row row = {
            .row = sqlite3_column_int64(stmt, 0),
            .resource = (const char *)sqlite3_column_text(stmt, 1),
            .ns = (const char *)sqlite3_column_text(stmt, 2),
            .name = (const char *)sqlite3_column_text(stmt, 3),
        };
        row.body.ptr = (const char *)sqlite3_column_text(stmt, 4);
        row.body.len = (size_t)sqlite3_column_bytes(stmt, 4);
        code = load(&row, arg, err);
        if (code < 0) {
            break;
        }
    }
    if (code == 0 && rc != SQLITE_DONE) {
        code = from_sqlite(j, j->db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

static int on_wal_grown(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct journal *j = arg;
    atomic_store(&j->wal_pages, pages);
    return SQLITE_OK;
}

static int open_database(struct journal *j, sqlite3 **out, struct error *err)
{
    int rc = sqlite3_open_v2(
        j->path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        return from_sqlite(j, *out, rc, "cannot open", err);
    }
    (void)sqlite3_extended_result_codes(*out, 1);
    (void)sqlite3_busy_timeout(*out, 2000);
    return run_sql(j, *out, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;", err);
}

static int prepare(struct journal *j, sqlite3_stmt **out, const char *sql, struct error *err)
{
    int rc = sqlite3_prepare_v3(j->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? 0 : from_sqlite(j, j->db, rc, "cannot prepare", err);
}

static int prepare_all(struct journal *j, struct error *err)
{
    int rc = prepare(j, &j->put,
                     "INSERT OR REPLACE INTO object(id,resource,namespace,name,version,body)"
                     " VALUES(?,?,?,?,?,?)",
                     err);
    if (rc == 0) {
        rc = prepare(j, &j->remove, "DELETE FROM object WHERE id=?", err);
    }
    if (rc == 0) {
        rc = prepare(j, &j->set_version, "UPDATE state SET version=?", err);
    }
    return rc;
}

/* The folder's entries for the database and its log must survive as well. */
static int sync_folder(const struct journal *j, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = xstrdup(j->path);
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

static int open_files(struct journal *j, struct error *err)
{
    CLEANUP(cleanup_free) char *lock = xasprintf("%s.lock", j->path);
    int rc = fs_lock(lock, &j->lock_fd, err);
    if (rc < 0) {
        return error_prefix(err, rc, "cannot take the database %s", j->path);
    }
    int fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite would use 0644 */
    if (fd < 0) {
        return error_from_errno(err, errno, "cannot open the database %s", j->path);
    }
    (void)close(fd); /* before SQLite has it open: closing drops the process's record locks */
    rc = open_database(j, &j->db, err);
    if (rc == 0) {
        rc = check_schema(j, err);
    }
    if (rc == 0) {
        rc = open_database(j, &j->checkpoint_db, err);
    }
    if (rc == 0) {
        /* A write makes the log file; it stays the same file as long as the database is open. */
        rc = run_sql(j, j->db, "UPDATE state SET version=version", err);
    }
    if (rc < 0) {
        return rc;
    }
    (void)sqlite3_wal_hook(j->db, on_wal_grown, j);
    (void)sqlite3_wal_autocheckpoint(j->checkpoint_db, 0);
    CLEANUP(cleanup_free) char *wal = xasprintf("%s-wal", j->path);
    j->wal_fd = open(wal, O_RDONLY | O_CLOEXEC);
    if (j->wal_fd < 0) {
        return error_from_errno(err, errno, "cannot open %s", wal);
    }
    rc = sync_folder(j, err);
    return rc < 0 ? rc : prepare_all(j, err);
}

/* --- the writer's thread ------------------------------------------------------------------- */

static int step(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int put_row(struct journal *j, const struct journal_write *w)
{
    (void)sqlite3_bind_int64(j->put, 1, w->row);
    (void)sqlite3_bind_text(j->put, 2, w->resource, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(j->put, 3, w->ns, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(j->put, 4, w->name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->put, 5, (int64_t)w->version);
    (void)sqlite3_bind_text64(j->put, 6, w->body.ptr, w->body.len, SQLITE_STATIC, SQLITE_UTF8);
    return step(j->put);
}

static int remove_row(struct journal *j, const struct journal_write *w)
{
    (void)sqlite3_bind_int64(j->remove, 1, w->row);
    int rc = step(j->remove);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_int64(j->set_version, 1, (int64_t)w->version);
        rc = step(j->set_version);
    }
    return rc;
}

static int write_all(struct journal *j, struct list *batch)
{
    int rc = sqlite3_exec(j->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    list_foreach (node, batch) {
        struct journal_write *w = LIST_ENTRY(node, struct journal_write, job.link);
        if (rc == SQLITE_OK && w->op == JOURNAL_PUT) {
            rc = put_row(j, w);
        } else if (rc == SQLITE_OK && w->op == JOURNAL_DELETE) {
            rc = remove_row(j, w);
        }
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(j->db, "COMMIT", NULL, NULL, NULL);
    }
    return rc;
}

static void write_batch(struct worker *worker, struct list *batch, size_t count)
{
    struct journal *j = worker->data;
    bool any = false;
    list_foreach (node, batch) {
        struct journal_write *w = LIST_ENTRY(node, struct journal_write, job.link);
        w->job.status = 0;
        any = any || w->op != JOURNAL_NOTHING;
    }
    struct error err = {0};
    int code = 0;
    if (atomic_load(&j->broken)) {
        code = error_set(&err, ERR_UNAVAILABLE, "a write before this one failed; try again");
    } else if (any && j->db != NULL) {
        int rc = write_all(j, batch);
        if (rc != SQLITE_OK) {
            code = from_sqlite(j, j->db, rc, "cannot write to", &err);
            (void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
            atomic_store(&j->broken, true);
        } else if (atomic_load(&j->wal_pages) > OVERGROWN_PAGES) {
            (void)sqlite3_wal_checkpoint_v2(j->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        }
    }
    list_foreach (node, batch) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        job->status = code;
        if (code < 0) {
            error_copy(&job->err, &err);
        }
    }
}

/* --- the syncer's thread ------------------------------------------------------------------- */

static void sync_batch(struct worker *worker, struct list *batch, size_t count)
{
    struct journal *j = worker->data;
    struct error err = {0};
    int code = 0;
    bool sync = false, checkpoint = false;
    list_foreach (node, batch) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        checkpoint = checkpoint || job == &j->checkpoint;
        sync = sync || job != &j->checkpoint;
    }
    if (sync && j->wal_fd >= 0 && fdatasync(j->wal_fd) < 0) {
        code = error_from_errno(&err, errno, "cannot bring %s-wal to the disk", j->path);
    }
    if (checkpoint && j->checkpoint_db != NULL) {
        (void)sqlite3_wal_checkpoint_v2(j->checkpoint_db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                        NULL);
    }
    list_foreach (node, batch) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        job->status = code;
        if (code < 0) {
            error_copy(&job->err, &err);
        }
    }
}

/* --- the loop's side ----------------------------------------------------------------------- */

static void free_journal(struct journal *j)
{
    (void)sqlite3_finalize(j->put);
    (void)sqlite3_finalize(j->remove);
    (void)sqlite3_finalize(j->set_version);
    (void)sqlite3_close(j->checkpoint_db);
    (void)sqlite3_close(j->db);
    cleanup_close(&j->wal_fd);
    cleanup_close(&j->lock_fd);
    free(j->path);
    free(j);
}

int journal_open(struct journal **out, struct loop *loop, const char *path, size_t pending_max,
                 journal_load_cb load, void *arg, uint64_t *out_version, struct error *err)
{
    struct journal *j = NEW(struct journal);
    j->loop = loop;
    j->lock_fd = -1;
    j->wal_fd = -1;
    j->path = path == NULL ? NULL : xstrdup(path);
    *out_version = 0;
    int rc = 0;
    if (path != NULL) {
        int64_t version = 0, newest = 0;
        rc = open_files(j, err);
        if (rc == 0) {
            rc = load_rows(j, load, arg, err);
        }
        if (rc == 0) {
            rc = read_number(j, "SELECT version FROM state", &version, err);
        }
        if (rc == 0) {
            rc = read_number(j, "SELECT ifnull(max(version),0) FROM object", &newest, err);
        }
        *out_version = (uint64_t)(version > newest ? version : newest);
    }
    if (rc < 0) {
        free_journal(j);
        return rc;
    }
    /* A thread that cannot be started at start-up leaves nothing to go on with. */
    rc = worker_start(&j->writer, loop, "store-writer", write_batch, j, pending_max, 256, err);
    REQUIRE(rc == 0);
    rc = worker_start(&j->syncer, loop, "store-syncer", sync_batch, j, pending_max + 1, 0, err);
    REQUIRE(rc == 0);
    *out = j;
    return 0;
}

static void on_checkpoint_done(struct worker_job *job)
{
    struct journal *j = job->data;
    j->checkpointing = false;
}

static void maybe_checkpoint(struct journal *j)
{
    if (j->checkpointing || atomic_load(&j->wal_pages) < CHECKPOINT_PAGES) {
        return;
    }
    j->checkpointing = worker_submit(&j->syncer, &j->checkpoint, on_checkpoint_done, j, NULL) == 0;
}

static void on_written(struct worker_job *job)
{
    struct journal_write *w = CONTAINER_OF(job, struct journal_write, job);
    maybe_checkpoint(job->data);
    w->written(w);
}

int journal_write(struct journal *j, struct journal_write *w, journal_cb written, struct error *err)
{
    w->written = written;
    return worker_submit(&j->writer, &w->job, on_written, j, err);
}

static void on_synced(struct worker_job *job)
{
    struct journal_write *w = CONTAINER_OF(job, struct journal_write, job);
    w->synced(w);
}

int journal_sync(struct journal *j, struct journal_write *w, journal_cb synced, struct error *err)
{
    w->synced = synced;
    return worker_submit(&j->syncer, &w->job, on_synced, j, err);
}

bool journal_is_broken(const struct journal *j)
{
    return atomic_load(&j->broken);
}

void journal_repair(struct journal *j)
{
    REQUIRE(worker_waiting(&j->writer) == 0);
    atomic_store(&j->broken, false);
}

static void on_syncer_closed(struct worker *worker)
{
    struct journal *j = worker->data;
    void (*cb)(void *) = j->close_cb;
    void *arg = j->close_arg;
    free_journal(j);
    cb(arg);
}

static void on_writer_closed(struct worker *worker)
{
    struct journal *j = worker->data;
    worker_close(&j->syncer, on_syncer_closed);
}

void journal_close(struct journal *j, void (*cb)(void *arg), void *arg)
{
    j->close_cb = cb;
    j->close_arg = arg;
    worker_close(&j->writer, on_writer_closed);
}
