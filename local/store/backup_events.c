// SPDX-License-Identifier: Apache-2.0
/*
 * Plan of the copy: the manifest names the files; all are opened, and when the manifest is the same
 * afterwards they belong together, whatever redis-server does to the names meanwhile. The base
 * file never changes, the last one only grows, and what of a command is cut off at its end
 * redis-server leaves out when it loads it. So the copy has every event that was acknowledged
 * before it began.
 *
 * Failure: the manifest changes again and again (a rewrite each time): an error after some tries.
 */
#include "local/store/backup_events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "local/store/form.h"

#define MANIFEST     "appendonly.aof.manifest"
#define PREFIX       "appendonly.aof"
#define MANIFEST_MAX (64u << 10)
#define FILES_MAX    64
#define TRIES        20
#define PART_BYTES   (4u << 20)

struct aof {
    struct strbuf manifest;
    size_t n;
    struct {
        char *name;
        int fd;
    } files[FILES_MAX];
};

static void aof_close(struct aof *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->files[i].name);
        (void)close(a->files[i].fd);
    }
    a->n = 0;
    strbuf_fini(&a->manifest);
}

/* "appendonly.aof.1.incr.aof": no folder, nothing hidden. */
static bool is_name(struct slice name)
{
    if (!slice_starts_with(name, SLICE_LIT(PREFIX)) || name.len > 200) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
        if (!fine) {
            return false;
        }
    }
    return true;
}

/* The file of a line "file NAME seq N type b|h|i"; empty: none that is needed (h: history). */
static struct slice file_of(struct slice line)
{
    struct slice words[6];
    size_t n = 0;
    while (n < ARRAY_LEN(words) && slice_split(&line, ' ', &words[n])) {
        n++;
    }
    bool needed = n == ARRAY_LEN(words) && slice_eq_str(words[0], "file") &&
                  (slice_eq_str(words[5], "b") || slice_eq_str(words[5], "i"));
    return needed ? words[1] : SLICE_EMPTY;
}

/* 1: it changed meanwhile, again. */
static int aof_open_once(const char *folder, struct aof *a, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(folder, MANIFEST);
    CLEANUP(strbuf_fini) struct strbuf now;
    struct slice line;
    strbuf_init(&a->manifest, MANIFEST_MAX);
    strbuf_init(&now, MANIFEST_MAX);
    int rc = fs_read_file(path, MANIFEST_MAX, &a->manifest, err);
    struct slice rest = strbuf_slice(&a->manifest);
    while (rc == 0 && slice_split(&rest, '\n', &line)) {
        struct slice name = file_of(line);
        if (slice_empty(name)) {
            continue;
        }
        if (!is_name(name) || a->n == FILES_MAX) {
            return error_set(err, ERR_UNSUPPORTED, "%s: \"%.*s\" is not as redis-server writes it",
                             path, SLICE_FMT(name));
        }
        char *text = slice_dup(name);
        CLEANUP(cleanup_free) char *file = fs_join(folder, text);
        int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
            free(text);
            rc = errno == ENOENT ? 1 : error_from_errno(err, errno, "cannot read %s", file);
            break;
        }
        a->files[a->n].name = text;
        a->files[a->n++].fd = fd;
    }
    rc = rc != 0 ? rc : fs_read_file(path, MANIFEST_MAX, &now, err);
    return rc != 0 ? rc : !slice_eq(strbuf_slice(&now), strbuf_slice(&a->manifest));
}

static int aof_open(const char *folder, struct aof *a, struct error *err)
{
    for (int i = 0; i < TRIES; i++) {
        int rc = aof_open_once(folder, a, err);
        if (rc <= 0) {
            return rc;
        }
        aof_close(a);
    }
    return error_set(err, ERR_IN_USE, "the files of %s change again and again; try it once more",
                     folder);
}

/* --- into the backup ----------------------------------------------------------------------- */

struct packing {
    const char *path;
    sqlite3 *db;
    sqlite3_stmt *insert;
    int64_t *bytes;
};

static int put_part(struct packing *p, const char *name, int part, struct slice data,
                    struct error *err)
{
    (void)sqlite3_bind_text(p->insert, 1, name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int(p->insert, 2, part);
    (void)sqlite3_bind_blob64(p->insert, 3, data.len > 0 ? data.ptr : "", data.len, SQLITE_STATIC);
    int rc = sqlite3_step(p->insert);
    (void)sqlite3_reset(p->insert);
    *p->bytes += (int64_t)data.len;
    return rc == SQLITE_DONE ? 0 : sql_error(p->path, p->db, rc, "cannot write to", err);
}

static int put_file(struct packing *p, const char *name, int fd, struct error *err)
{
    struct stat st;
    CLEANUP(cleanup_free) char *room = xmalloc(PART_BYTES);
    int rc = fstat(fd, &st) == 0 ? 0 : error_from_errno(err, errno, "cannot read %s", name);
    off_t at = 0;
    for (int part = 0; rc == 0 && (at < st.st_size || part == 0); part++) {
        size_t most = (size_t)(st.st_size - at < PART_BYTES ? st.st_size - at : PART_BYTES);
        ssize_t n = most == 0 ? 0 : pread(fd, room, most, at);
        if (n < 0 || (n == 0 && most > 0)) {
            return error_from_errno(err, n < 0 ? errno : EIO, "cannot read %s", name);
        }
        rc = put_part(p, name, part, slice_of(room, (size_t)n), err);
        at += n;
    }
    return rc;
}

/* Without the lines of files that are not in it. */
static int put_manifest(struct packing *p, const struct aof *a, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct slice rest = strbuf_slice(&a->manifest), line;
    strbuf_init(&text, MANIFEST_MAX);
    while (slice_split(&rest, '\n', &line)) {
        if (!slice_empty(file_of(line))) {
            strbuf_append_slice(&text, line);
            strbuf_append_char(&text, '\n');
        }
    }
    return put_part(p, MANIFEST, 0, strbuf_slice(&text), err);
}

int backup_events_add(const char *home, const char *path, sqlite3 *db, int64_t *bytes,
                      struct error *err)
{
    CLEANUP(cleanup_free) char *folder = fs_join(home, "events/appendonlydir");
    CLEANUP(cleanup_free) char *manifest = fs_join(folder, MANIFEST);
    struct packing p = {.path = path, .db = db, .bytes = bytes};
    struct aof a = {0};
    *bytes = 0;
    if (!fs_exists(manifest)) {
        return 0;
    }
    int rc = sql_run(path, db,
                     "CREATE TABLE event_file(name TEXT NOT NULL, part INTEGER NOT NULL,"
                     " data BLOB NOT NULL, PRIMARY KEY(name, part))",
                     err);
    if (rc == 0 && sqlite3_prepare_v2(db, "INSERT INTO event_file VALUES(?,?,?)", -1, &p.insert,
                                      NULL) != SQLITE_OK) {
        rc = sql_error(path, db, sqlite3_errcode(db), "cannot prepare", err);
    }
    rc = rc < 0 ? rc : aof_open(folder, &a, err);
    for (size_t i = 0; rc == 0 && i < a.n; i++) {
        rc = put_file(&p, a.files[i].name, a.files[i].fd, err);
    }
    rc = rc < 0 ? rc : put_manifest(&p, &a, err);
    (void)sqlite3_finalize(p.insert);
    aof_close(&a);
    return rc < 0 ? error_prefix(err, rc, "events") : 0;
}

/* --- out of it ----------------------------------------------------------------------------- */

static int append(const char *folder, const char *name, struct slice data, struct error *err)
{
    CLEANUP(cleanup_free) char *to = fs_join(folder, name);
    CLEANUP(cleanup_close)
    int fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    for (size_t at = 0; fd >= 0 && at < data.len;) {
        ssize_t n = write(fd, data.ptr + at, data.len - at);
        if (n <= 0) {
            return error_from_errno(err, errno, "cannot write %s", to);
        }
        at += (size_t)n;
    }
    return fd < 0 ? error_from_errno(err, errno, "cannot make %s", to) : 0;
}

static int unpack_parts(const char *path, sqlite3 *db, const char *folder, int64_t *bytes,
                        struct error *err)
{
    sqlite3_stmt *read = NULL;
    int code = 0;
    int rc = sqlite3_prepare_v2(db, "SELECT name,data FROM event_file ORDER BY name,part", -1,
                                &read, NULL);
    while (rc == SQLITE_OK && code == 0) {
        int got = sqlite3_step(read);
        if (got != SQLITE_ROW) {
            rc = got;
            break;
        }
        const char *name = (const char *)sqlite3_column_text(read, 0) ?: "";
        const char *data = sqlite3_column_blob(read, 1);
        size_t len = (size_t)sqlite3_column_bytes(read, 1);
        if (!is_name(slice_str(name))) {
            code = error_set(err, ERR_INVALID, "%s is no backup of Lull: it has events in %.120s",
                             path, name);
            break;
        }
        code = append(folder, name, slice_of(data == NULL ? "" : data, len), err);
        *bytes += (int64_t)len;
    }
    if (code == 0 && rc != SQLITE_DONE) {
        code = sql_error(path, db, rc, "cannot read", err);
    }
    (void)sqlite3_finalize(read);
    return code;
}

int backup_events_unpack(const char *home, const char *path, sqlite3 *db, int64_t *bytes,
                         struct error *err)
{
    CLEANUP(cleanup_free) char *fresh = fs_join(home, "events-restoring");
    CLEANUP(cleanup_free) char *folder = fs_join(fresh, "appendonlydir");
    int64_t tables = 0;
    *bytes = 0;
    int rc = fs_remove_tree(fresh, err);
    rc = rc < 0 ? rc
                : sql_number(path, db, "SELECT count(*) FROM sqlite_schema WHERE name='event_file'",
                             &tables, err);
    if (rc < 0 || tables == 0) {
        return rc;
    }
    rc = fs_mkdir_p(folder, 0700, err);
    rc = rc < 0 ? rc : unpack_parts(path, db, folder, bytes, err);
    rc = rc < 0 ? rc : sql_run(path, db, "DROP TABLE event_file", err);
    CLEANUP(cleanup_close) int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && (dir < 0 || syncfs(dir) != 0)) {
        rc = error_from_errno(err, errno, "cannot bring %s to the disk", folder);
    }
    return rc;
}

/* --- the exchange -------------------------------------------------------------------------- */

static int move(const char *from, const char *to, struct error *err)
{
    return rename(from, to) == 0 || errno == ENOENT
               ? 0
               : error_from_errno(err, errno, "cannot rename %s to %s", from, to);
}

int backup_events_exchange(const char *home, bool *moved, struct error *err)
{
    CLEANUP(cleanup_free) char *events = fs_join(home, "events");
    CLEANUP(cleanup_free) char *fresh = fs_join(home, "events-restoring");
    CLEANUP(cleanup_free) char *before = fs_join(home, "events-before-restore");
    CLEANUP(cleanup_free) char *lock = fs_join(events, "lock");
    CLEANUP(cleanup_close) int fd = -1;
    *moved = false;
    int rc = fs_exists(events) ? fs_lock(lock, &fd, err) : 0;
    if (rc < 0) {
        return error_prefix(err, rc, "a redis-server still has the events (`lull down`)");
    }
    if (fs_exists(events)) {
        rc = fs_remove_tree(before, err);
        rc = rc < 0 ? rc : move(events, before, err);
        *moved = rc == 0;
    }
    rc = rc < 0 ? rc : move(fresh, events, err);
    if (rc < 0) {
        backup_events_undo(home, *moved);
    }
    return rc;
}

void backup_events_undo(const char *home, bool moved)
{
    CLEANUP(cleanup_free) char *events = fs_join(home, "events");
    CLEANUP(cleanup_free) char *before = fs_join(home, "events-before-restore");
    struct error err;
    int rc = fs_remove_tree(events, &err);
    if (rc < 0 || (moved && move(before, events, &err) < 0)) {
        LOG_WARN("the events that were here are in events-before-restore", LOG_ERR(&err));
    }
}
