// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: every step begins at the folder's descriptor and follows no link, so that whoever may write
 * there cannot make us read or move what is elsewhere. A file with a second name is passed over:
 * its other name may stand where the one who dropped it may not read.
 */
#include "broker/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"

#define READ_SIZE  (64u << 10)
#define MOVE_TRIES 4
#define END_HEX    8
#define FOLDER_MAX 255 /* bytes of a name */

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static int open_folder(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : error_from_errno(err, errno, "folder %s", path);
}

static bool counts(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_nlink == 1;
}

static int64_t modified_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static bool is_same(const struct stat *st, const struct folder_file *file)
{
    return counts(st) && (uint64_t)st->st_ino == file->inode && st->st_size == file->size &&
           modified_ns(st) == file->modified_ns;
}

/* --- looking ------------------------------------------------------------------------------- */

static void look_at(int dir, const char *name, struct folder_list *out)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return; /* it has just gone */
    }
    if (!counts(&st)) {
        out->others += !S_ISDIR(st.st_mode);
        return;
    }
    out->items[out->n++] = (struct folder_file){xstrdup(name), (uint64_t)st.st_ino,
                                                (int64_t)st.st_size, modified_ns(&st)};
}

int folder_look(const char *path, const char *pattern, struct folder_list *out, struct error *err)
{
    size_t cap = 0;
    struct dirent *entry;
    *out = (struct folder_list){.items = NULL};
    int fd = open_folder(path, err);
    if (fd < 0) {
        return fd;
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int rc = error_from_errno(err, errno, "folder %s", path);
        close(fd);
        return rc;
    }
    struct stat st;
    if (fstat(fd, &st) == 0) {
        out->device = (uint64_t)st.st_dev;
        out->inode = (uint64_t)st.st_ino;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' ||
            (pattern != NULL && fnmatch(pattern, entry->d_name, FNM_PERIOD) != 0)) {
            continue;
        }
        if (out->n == FOLDER_FILES_MAX) {
            out->more = true;
            break;
        }
        if (out->n == cap) {
            cap = cap == 0 ? 64 : 2 * cap;
            out->items = xrealloc(out->items, cap * sizeof(*out->items));
        }
        look_at(fd, entry->d_name, out);
    }
    closedir(dir);
    return 0;
}

void folder_list_fini(struct folder_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i].name);
    }
    free(list->items);
    *list = (struct folder_list){.items = NULL};
}

/* --- reading ------------------------------------------------------------------------------- */

static int changed(const struct folder_file *file, struct error *err)
{
    return error_set(err, ERR_CONFLICT, "%.255s has changed", file->name);
}

static int read_all(int fd, const struct folder_file *file, struct strbuf *data, struct error *err)
{
    for (;;) {
        char *room = strbuf_reserve(data, READ_SIZE);
        if (room == NULL) {
            return changed(file,
                           err); /* the buffer is as large as the file was, and one part more */
        }
        ssize_t n = read(fd, room, READ_SIZE);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_from_errno(err, errno, "%.255s", file->name);
        }
        if (n == 0) {
            return (int64_t)data->len == file->size ? 0 : changed(file, err);
        }
        strbuf_commit(data, (size_t)n);
    }
}

int folder_read(const char *path, const struct folder_file *file, struct strbuf *data,
                struct error *err)
{
    CLEANUP(close_fd) int dir = open_folder(path, err);
    if (dir < 0) {
        return dir;
    }
    struct stat st;
    CLEANUP(close_fd)
    int fd = openat(dir, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ELOOP ? changed(file, err)
                              : error_from_errno(err, errno, "%.255s", file->name);
    }
    if (fstat(fd, &st) != 0 || !is_same(&st, file)) {
        return changed(file, err);
    }
    if (data == NULL) {
        return 0;
    }
    strbuf_init(data, (size_t)file->size + READ_SIZE);
    int rc = read_all(fd, file, data, err);
    if (rc == 0 && (fstat(fd, &st) != 0 || !is_same(&st, file))) {
        rc = changed(file, err);
    }
    return rc;
}

/* --- moving -------------------------------------------------------------------------------- */

/* Over networks there are file systems that cannot do it in one step. */
static int rename_new(int dir, const char *name, int into, const char *as)
{
    struct stat st;
    int rc = renameat2(dir, name, into, as, RENAME_NOREPLACE);
    if (rc == 0 || errno != EINVAL) {
        return rc;
    }
    if (fstatat(into, as, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return renameat(dir, name, into, as);
}

int folder_move(const char *path, const char *name, const char *to, struct error *err)
{
    char taken[FOLDER_MAX + END_HEX + 2];
    char end[END_HEX + 1];
    CLEANUP(close_fd) int dir = open_folder(path, err);
    if (dir < 0) {
        return dir;
    }
    if (mkdirat(dir, to, 0755) != 0 && errno != EEXIST) {
        return error_from_errno(err, errno, "folder %s/%s", path, to);
    }
    CLEANUP(close_fd)
    int into = openat(dir, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (into < 0) {
        return error_from_errno(err, errno, "folder %s/%s", path, to);
    }
    const char *as = name;
    for (int i = 0; i < MOVE_TRIES; i++) {
        if (rename_new(dir, name, into, as) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            break;
        }
        /* A name that is as long as names may be loses its own end. */
        snprintf(taken, sizeof(taken), "%.*s.%s", FOLDER_MAX - END_HEX - 1, name,
                 random_hex(end, END_HEX));
        as = taken;
    }
    return error_from_errno(err, errno, "moving %.255s into %s", name, to);
}
