// SPDX-License-Identifier: Apache-2.0
//
// Writing: VACUUM INTO a file beside the target (SQLite takes a snapshot, also under a writer), the
// bundles into it, fsync, rename. Restoring: the lock; a copy of the file beside the database,
// checked and brought up to date; the bundles, each a new folder that is renamed; new
// resourceVersions in one transaction; the old database closed (which empties its log), and the two
// files exchanged in one step. Failure modes: whatever fails before that leaves the state as it
// was, but for bundles that nobody uses.
#include "local/store/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "local/store/backup_events.h"
#include "local/store/form.h"
#include "local/store/object.h"

#define FILE_MAX        (512u << 20) /* of one file of a bundle */
#define DEPTH_MAX       70
#define BUNDLE_NAME_LEN 71 /* "sha256-HEX" */
#define LINK_TEXT_MAX   4096
/* No Lull gives so many resourceVersions in a second. */
#define VERSIONS_PER_S   1000000u
#define CLOCK_IS_WRONG_S (366ll * 86400)

static int open_sqlite(const char *path, int flags, sqlite3 **out, struct error *err)
{
    int rc = sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        return sql_error(path, *out, rc, "cannot open", err);
    }
    (void)sqlite3_busy_timeout(*out, 5000);
    return sql_run(path, *out, "PRAGMA trusted_schema=OFF", err);
}

static int sync_path(const char *path, int flags, struct error *err)
{
    CLEANUP(cleanup_close) int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 || fsync(fd) != 0
               ? error_from_errno(err, errno, "cannot bring %s to the disk", path)
               : 0;
}

static int sync_parent(const char *path, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = xstrdup(path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    return sync_path(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY, err);
}

/* --- bundles into the file ----------------------------------------------------------------- */

struct packing {
    const char *path; /* of the database */
    sqlite3 *db;
    sqlite3_stmt *insert;
    struct strbuf data;
};

static int row_add(struct packing *p, const char *rel, unsigned mode, struct slice data,
                   struct error *err)
{
    (void)sqlite3_bind_text(p->insert, 1, rel, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(p->insert, 2, mode);
    (void)sqlite3_bind_blob64(p->insert, 3, data.len > 0 ? data.ptr : "", data.len, SQLITE_STATIC);
    int rc = sqlite3_step(p->insert);
    (void)sqlite3_reset(p->insert);
    return rc == SQLITE_DONE ? 0 : sql_error(p->path, p->db, rc, "cannot write to", err);
}

static int pack(struct packing *p, const char *full, const char *rel, int depth, struct error *err);

static int pack_folder(struct packing *p, const char *full, const char *rel, int depth,
                       struct error *err)
{
    DIR *dir = opendir(full);
    int rc = dir != NULL ? 0 : error_from_errno(err, errno, "cannot read %s", full);
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        CLEANUP(cleanup_free) char *child = fs_join(full, entry->d_name);
        CLEANUP(cleanup_free) char *child_rel = fs_join(rel, entry->d_name);
        rc = pack(p, child, child_rel, depth + 1, err);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return rc;
}

static int pack(struct packing *p, const char *full, const char *rel, int depth, struct error *err)
{
    struct stat st;
    char link[LINK_TEXT_MAX];
    if (depth > DEPTH_MAX || lstat(full, &st) != 0) {
        return error_from_errno(err, depth > DEPTH_MAX ? ELOOP : errno, "cannot read %s", full);
    }
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(full, link, sizeof(link));
        return n < 0 ? error_from_errno(err, errno, "cannot read %s", full)
                     : row_add(p, rel, st.st_mode, slice_of(link, (size_t)n), err);
    }
    if (S_ISDIR(st.st_mode)) {
        int rc = row_add(p, rel, st.st_mode, SLICE_EMPTY, err);
        return rc < 0 ? rc : pack_folder(p, full, rel, depth, err);
    }
    strbuf_clear(&p->data);
    int rc = fs_read_file(full, FILE_MAX, &p->data, err);
    return rc < 0 ? rc : row_add(p, rel, st.st_mode, strbuf_slice(&p->data), err);
}

/* A bundle that goes while it is read was used by nobody. */
static int pack_bundles(struct packing *p, const char *bundles, int64_t *count, struct error *err)
{
    DIR *dir = opendir(bundles);
    struct dirent *entry;
    int rc = 0;
    while (rc == 0 && dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, "sha256-", 7) != 0) {
            continue;
        }
        CLEANUP(cleanup_free) char *full = fs_join(bundles, entry->d_name);
        rc = pack(p, full, entry->d_name, 0, err);
        if (rc < 0 && !fs_exists(full)) {
            CLEANUP(cleanup_free)
            char *forget = xasprintf("DELETE FROM bundle_file WHERE path='%s' OR path GLOB '%s/*'",
                                     entry->d_name, entry->d_name);
            rc = sql_run(p->path, p->db, forget, err);
            continue;
        }
        *count += rc == 0;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return rc;
}

static int add_bundles(const char *home, const char *path, sqlite3 *db, int64_t *count,
                       struct error *err)
{
    CLEANUP(cleanup_free) char *bundles = fs_join(home, "bundles");
    struct packing p = {.path = path, .db = db};
    strbuf_init(&p.data, FILE_MAX);
    int rc = sql_run(path, db,
                     "CREATE TABLE bundle_file(path TEXT PRIMARY KEY, mode INTEGER NOT NULL,"
                     " data BLOB NOT NULL)",
                     err);
    if (rc == 0 && sqlite3_prepare_v2(db, "INSERT INTO bundle_file VALUES(?,?,?)", -1, &p.insert,
                                      NULL) != SQLITE_OK) {
        rc = sql_error(path, db, sqlite3_errcode(db), "cannot prepare", err);
    }
    rc = rc < 0 ? rc : pack_bundles(&p, bundles, count, err);
    (void)sqlite3_finalize(p.insert);
    strbuf_fini(&p.data);
    return rc;
}

static int fill_copy(const char *home, const char *path, struct backup_report *out,
                     struct error *err)
{
    char taken[32];
    sqlite3 *db = NULL;
    out->taken_s = (int64_t)time(NULL);
    (void)snprintf(taken, sizeof(taken), "%" PRId64, out->taken_s);
    int rc = open_sqlite(path, SQLITE_OPEN_READWRITE, &db, err);
    rc = rc < 0 ? rc : form_open(path, db, false, err); /* a stopped Lull's may be older */
    rc = rc < 0 ? rc : sql_run(path, db, "BEGIN", err);
    rc = rc < 0 ? rc : sql_meta_set(path, db, "backup_taken", taken, err);
    rc = rc < 0 ? rc : add_bundles(home, path, db, &out->bundles, err);
    rc = rc < 0 ? rc : backup_events_add(home, path, db, &out->event_bytes, err);
    rc = rc < 0 ? rc : sql_run(path, db, "COMMIT", err);
    rc = rc < 0 ? rc : sql_number(path, db, "SELECT count(*) FROM object", &out->objects, err);
    rc = rc < 0 ? rc
                : sql_number(path, db, "SELECT count(*) FROM object WHERE resource LIKE 'brokers%'",
                             &out->brokers, err);
    (void)sqlite3_close(db);
    return rc < 0 ? rc : sync_path(path, O_RDONLY, err);
}

int backup_write(const char *home, const char *file, struct backup_report *out, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(home, "lull.db");
    CLEANUP(cleanup_free) char *partial = xasprintf("%s.partial", file);
    sqlite3 *db = NULL;

    *out = (struct backup_report){0};
    if (!fs_exists(path)) {
        return error_set(err, ERR_NOT_FOUND, "there is no state in %s (LULL_HOME)", home);
    }
    int rc = open_sqlite(path, SQLITE_OPEN_READWRITE, &db, err);
    rc = rc < 0 ? rc : form_check(path, db, err);
    rc = rc < 0 ? rc : sql_copy(path, db, partial, err);
    (void)sqlite3_close(db);
    rc = rc < 0 ? rc : fill_copy(home, partial, out, err);
    if (rc == 0 && rename(partial, file) != 0) {
        rc = error_from_errno(err, errno, "cannot write %s", file);
    }
    if (rc < 0) {
        (void)unlink(partial);
        return rc;
    }
    return sync_parent(file, err);
}

/* --- bundles out of the file --------------------------------------------------------------- */

/* "sha256-HEX" or below it, and nothing that leads elsewhere. */
static bool is_bundle_path(const char *path)
{
    struct slice rest = slice_str(path), part;
    if (rest.len < BUNDLE_NAME_LEN || !slice_starts_with(rest, SLICE_LIT("sha256-")) ||
        (rest.len > BUNDLE_NAME_LEN && rest.ptr[BUNDLE_NAME_LEN] != '/')) {
        return false;
    }
    for (size_t i = 7; i < BUNDLE_NAME_LEN; i++) {
        if (memchr("0123456789abcdef", rest.ptr[i], 16) == NULL) {
            return false;
        }
    }
    while (slice_split(&rest, '/', &part)) {
        if (slice_empty(part) || slice_eq_str(part, ".") || slice_eq_str(part, "..")) {
            return false;
        }
    }
    return true;
}

static int unpack_row(const char *to, unsigned mode, struct slice data, struct error *err)
{
    if (S_ISDIR(mode)) {
        return mkdir(to, 0755) == 0 ? 0 : error_from_errno(err, errno, "cannot make %s", to);
    }
    if (S_ISLNK(mode)) {
        CLEANUP(cleanup_free) char *target = slice_dup(data);
        return symlink(target, to) == 0 ? 0 : error_from_errno(err, errno, "cannot make %s", to);
    }
    CLEANUP(cleanup_close)
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    for (size_t at = 0; fd >= 0 && at < data.len;) {
        ssize_t n = write(fd, data.ptr + at, data.len - at);
        if (n <= 0) {
            return error_from_errno(err, errno, "cannot write %s", to);
        }
        at += (size_t)n;
    }
    return fd < 0 || fchmod(fd, mode & 0777) != 0
               ? error_from_errno(err, errno, "cannot make %s", to)
               : 0;
}

/* Folders and files in order, links last: nothing is written through one. */
static int unpack_rows(const char *path, sqlite3 *db, const char *name, const char *folder,
                       struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = 0;
    int rc = sqlite3_prepare_v2(db,
                                "SELECT path,mode,data FROM bundle_file WHERE path=?1 OR path GLOB "
                                "?1||'/*' ORDER BY (mode&61440)=40960, path",
                                -1, &stmt, NULL);
    (void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && code == 0) {
        int got = sqlite3_step(stmt);
        if (got != SQLITE_ROW) {
            rc = got;
            break;
        }
        const char *rel = (const char *)sqlite3_column_text(stmt, 0);
        const char *data = sqlite3_column_blob(stmt, 2);
        if (rel == NULL || !is_bundle_path(rel)) {
            code = error_set(err, ERR_INVALID, "%s is no backup of Lull: it has a file %.120s",
                             path, rel == NULL ? "" : rel);
            break;
        }
        CLEANUP(cleanup_free) char *to = xasprintf("%s%s", folder, rel + BUNDLE_NAME_LEN);
        code = unpack_row(to, (unsigned)sqlite3_column_int64(stmt, 1),
                          slice_of(data == NULL ? "" : data, (size_t)sqlite3_column_bytes(stmt, 2)),
                          err);
    }
    if (code == 0 && rc != SQLITE_DONE) {
        code = sql_error(path, db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

static int unpack_bundle(const char *path, sqlite3 *db, const char *bundles, const char *name,
                         struct error *err)
{
    CLEANUP(cleanup_free) char *to = fs_join(bundles, name);
    CLEANUP(cleanup_free) char *temp = fs_join(bundles, ".new-restore");
    if (!is_bundle_path(name) || strlen(name) != BUNDLE_NAME_LEN) {
        return error_set(err, ERR_INVALID, "%s is no backup of Lull: it has a bundle %.120s", path,
                         name);
    }
    if (fs_exists(to)) {
        return 0;
    }
    int rc = fs_remove_tree(temp, err);
    rc = rc < 0 ? rc : unpack_rows(path, db, name, temp, err);
    if (rc == 0 && rename(temp, to) != 0) {
        rc = error_from_errno(err, errno, "cannot store the bundle %s", to);
    }
    return rc;
}

static int unpack_bundles(const char *home, const char *path, sqlite3 *db, int64_t *count,
                          struct error *err)
{
    CLEANUP(cleanup_free) char *bundles = fs_join(home, "bundles");
    sqlite3_stmt *stmt = NULL;
    int64_t tables = 0;
    int code = fs_mkdir_p(bundles, 0755, err);
    code = code < 0
               ? code
               : sql_number(path, db, "SELECT count(*) FROM sqlite_schema WHERE name='bundle_file'",
                            &tables, err);
    if (code < 0 || tables == 0) {
        return code; /* a database as it is: without the bundles, but with every object */
    }
    int rc = sqlite3_prepare_v2(db, "SELECT path FROM bundle_file WHERE path NOT GLOB '*/*'", -1,
                                &stmt, NULL);
    while (rc == SQLITE_OK && code == 0) {
        int got = sqlite3_step(stmt);
        if (got != SQLITE_ROW) {
            rc = got;
            break;
        }
        code =
            unpack_bundle(path, db, bundles, (const char *)sqlite3_column_text(stmt, 0) ?: "", err);
        *count += code == 0;
    }
    if (code == 0 && rc != SQLITE_DONE) {
        code = sql_error(path, db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(stmt);
    CLEANUP(cleanup_close) int dir = open(bundles, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (code == 0 && (dir < 0 || syncfs(dir) != 0)) {
        code = error_from_errno(err, errno, "cannot bring %s to the disk", bundles);
    }
    return code;
}

/* --- resourceVersions ---------------------------------------------------------------------- */

struct renumbering {
    const struct store_kind *kinds;
    size_t kinds_count;
    uint64_t next;
};

static const struct store_kind *kind_of(const struct renumbering *r, const char *resource)
{
    for (size_t i = 0; i < r->kinds_count; i++) {
        if (strcmp(r->kinds[i].resource, resource) == 0) {
            return &r->kinds[i];
        }
    }
    return NULL;
}

static int renumber_row(struct renumbering *r, sqlite3_stmt *read, sqlite3_stmt *write,
                        struct error *err)
{
    const char *resource = (const char *)sqlite3_column_text(read, 1) ?: "";
    const struct store_kind *kind = kind_of(r, resource);
    struct slice body = slice_of((const char *)sqlite3_column_text(read, 2) ?: "",
                                 (size_t)sqlite3_column_bytes(read, 2));
    struct object *o = NULL;
    CLEANUP(object_room_fini) struct object_room room = {0};
    struct slice parts[3];
    if (kind == NULL) {
        return error_set(err, ERR_UNSUPPORTED,
                         "the backup holds %.80s, a kind that this version does not know",
                         resource);
    }
    int rc = object_load(kind, body, &o, err);
    if (rc < 0) {
        return error_prefix(err, rc, "the backup is damaged (an object of %.80s)", resource);
    }
    object_json_at(o, r->next, &room, parts);
    CLEANUP(cleanup_free)
    char *text =
        xasprintf("%.*s%.*s%.*s", SLICE_FMT(parts[0]), SLICE_FMT(parts[1]), SLICE_FMT(parts[2]));
    object_unref(o);
    (void)sqlite3_bind_int64(write, 1, (int64_t)r->next);
    (void)sqlite3_bind_text(write, 2, text, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(write, 3, sqlite3_column_int64(read, 0));
    rc = sqlite3_step(write);
    (void)sqlite3_reset(write);
    r->next++;
    return rc == SQLITE_DONE ? 0 : error_set(err, ERR_UNAVAILABLE, "%s", sqlite3_errstr(rc));
}

/* In the order in which they were written. */
static int renumber(const char *path, sqlite3 *db, struct renumbering *r, int64_t *count,
                    struct error *err)
{
    sqlite3_stmt *read = NULL, *write = NULL;
    int code = 0;
    /* Sorted into a table of its own: the rows must not move while they are read. */
    int rc =
        sqlite3_exec(db, "BEGIN; CREATE TEMP TABLE old AS SELECT id FROM object ORDER BY version",
                     NULL, NULL, NULL);
    rc = rc != SQLITE_OK ? rc
                         : sqlite3_prepare_v2(db,
                                              "SELECT object.id,resource,body FROM old JOIN object "
                                              "ON object.id=old.id ORDER BY old.rowid",
                                              -1, &read, NULL);
    rc = rc != SQLITE_OK ? rc
                         : sqlite3_prepare_v2(db, "UPDATE object SET version=?,body=? WHERE id=?",
                                              -1, &write, NULL);
    while (rc == SQLITE_OK && code == 0) {
        int got = sqlite3_step(read);
        if (got != SQLITE_ROW) {
            rc = got == SQLITE_DONE ? SQLITE_OK : got;
            break;
        }
        code = renumber_row(r, read, write, err);
        ++*count;
    }
    (void)sqlite3_finalize(read);
    (void)sqlite3_finalize(write);
    if (code < 0 || rc != SQLITE_OK) {
        return code < 0 ? code : sql_error(path, db, rc, "cannot read", err);
    }
    CLEANUP(cleanup_free)
    char *last = xasprintf("UPDATE state SET version=%" PRIu64 "; COMMIT; DROP TABLE old", r->next);
    return sql_run(path, db, last, err);
}

/* The newest version in a database, or 0. */
static uint64_t newest_version(const char *path, sqlite3 *db)
{
    int64_t version = 0;
    struct error err;
    if (sql_number(path, db,
                   "SELECT max((SELECT version FROM state),(SELECT ifnull(max(version),0) FROM "
                   "object))",
                   &version, &err) < 0) {
        LOG_WARN("cannot read the newest resourceVersion", LOG_ERR(&err));
    }
    return version > 0 ? (uint64_t)version : 0;
}

static int64_t read_taken(const char *path, sqlite3 *db)
{
    int64_t taken = 0;
    struct error err;
    return sql_number(path, db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key='backup_taken'",
                      &taken, &err) == 0
               ? taken
               : 0;
}

/* Beyond the copy's and the present database's, and what may have been given since the copy. */
static uint64_t first_version(uint64_t copy, uint64_t present, int64_t taken_s)
{
    int64_t since = (int64_t)time(NULL) - taken_s;
    since = taken_s <= 0 || since < 0 || since > CLOCK_IS_WRONG_S ? CLOCK_IS_WRONG_S : since;
    uint64_t newest = copy > present ? copy : present;
    return newest + ((uint64_t)since + 60) * VERSIONS_PER_S;
}

/* --- restore ------------------------------------------------------------------------------- */

/* The present database's newest version; closing it empties its log. It may be damaged, or absent.
 */
static uint64_t present_version(const char *path)
{
    sqlite3 *db = NULL;
    struct error err;
    uint64_t version = 0;
    if (fs_exists(path) && open_sqlite(path, SQLITE_OPEN_READWRITE, &db, &err) == 0) {
        version = newest_version(path, db);
        (void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    (void)sqlite3_close(db);
    return version;
}

static int prepare_copy(const char *home, const char *file, const char *copy, struct renumbering *r,
                        uint64_t present, struct backup_report *out, struct error *err)
{
    sqlite3 *db = NULL;
    int rc = open_sqlite(file, SQLITE_OPEN_READONLY, &db, err);
    rc = rc < 0 ? rc : form_check(file, db, err);
    rc = rc < 0 ? rc : sql_copy(file, db, copy, err);
    (void)sqlite3_close(db);
    if (rc < 0) {
        return error_prefix(err, rc, "nothing was restored");
    }
    db = NULL;
    rc = open_sqlite(copy, SQLITE_OPEN_READWRITE, &db, err);
    rc = rc < 0 ? rc : form_open(copy, db, false, err);
    rc = rc < 0 ? rc : unpack_bundles(home, copy, db, &out->bundles, err);
    rc = rc < 0 ? rc : backup_events_unpack(home, copy, db, &out->event_bytes, err);
    /* Pods are of the machine and the folder where they ran: the node agent makes new ones. */
    rc = rc < 0 ? rc : sql_run(copy, db, "DELETE FROM object WHERE resource='pods'", err);
    out->taken_s = rc < 0 ? 0 : read_taken(copy, db);
    r->next = rc < 0 ? 0 : first_version(newest_version(copy, db), present, out->taken_s);
    rc = rc < 0 ? rc : renumber(copy, db, r, &out->objects, err);
    rc = rc < 0 ? rc
                : sql_run(copy, db,
                          "DROP TABLE IF EXISTS bundle_file; DELETE FROM meta WHERE "
                          "key='backup_taken'; VACUUM",
                          err);
    (void)sqlite3_close(db);
    return rc < 0 ? error_prefix(err, rc, "nothing was restored") : sync_path(copy, O_RDONLY, err);
}

static void unlink_beside(const char *path, const char *suffix)
{
    CLEANUP(cleanup_free) char *beside = xasprintf("%s%s", path, suffix);
    (void)unlink(beside);
}

static int exchange(const char *path, const char *copy, struct error *err)
{
    CLEANUP(cleanup_free) char *before = xasprintf("%s-before-restore", path);
    bool first = !fs_exists(path);
    unlink_beside(path, "-wal"); /* empty, or of a damaged database */
    unlink_beside(path, "-shm");
    unlink_beside(path, "-redo");
    int rc =
        first ? rename(copy, path) : renameat2(AT_FDCWD, copy, AT_FDCWD, path, RENAME_EXCHANGE);
    if (rc == 0 && !first) {
        rc = rename(copy, before);
    }
    return rc != 0 ? error_from_errno(err, errno, "cannot put the restored database at %s", path)
                   : sync_parent(path, err);
}

int backup_restore(const char *home, const char *file, const struct store_kind *kinds,
                   size_t kinds_count, struct backup_report *out, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(home, "lull.db");
    CLEANUP(cleanup_free) char *lock = xasprintf("%s.lock", path);
    CLEANUP(cleanup_free) char *copy = xasprintf("%s-restoring", path);
    CLEANUP(cleanup_close) int lock_fd = -1;
    struct renumbering r = {.kinds = kinds, .kinds_count = kinds_count};

    *out = (struct backup_report){0};
    int rc = fs_lock(lock, &lock_fd, err);
    if (rc < 0) {
        return error_prefix(err, rc, "Lull must not run while its state is restored (`lull down`)");
    }
    rc = prepare_copy(home, file, copy, &r, present_version(path), out, err);
    bool events = false;
    rc = rc < 0 ? rc : backup_events_exchange(home, &events, err);
    if (rc == 0) {
        rc = exchange(path, copy, err);
        if (rc < 0) {
            backup_events_undo(home, events);
        }
    }
    if (rc < 0) {
        (void)unlink(copy);
        unlink_beside(copy, "-journal");
    }
    return rc;
}
