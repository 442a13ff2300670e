// SPDX-License-Identifier: Apache-2.0
//
// A volume of files, step by step: a new folder `..TIME.RANDOM` with all files; `..data_tmp` links
// to it and is renamed to `..data`; names that are new get links, names that went lose theirs; the
// old folder goes last. Whoever reads through `..data` sees the old files or the new ones. A step
// that fails leaves what was there before, and perhaps a folder that the next write removes.
#include "local/agent/volume_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/random.h"

#define DATA     "..data"
#define DATA_NEW "..data_tmp"

static int fail(struct error *err, const char *what, const char *path)
{
    return error_from_errno(err, errno, "cannot %s %s", what, path);
}

static int give(const char *path, uid_t uid, struct error *err)
{
    return uid != 0 && lchown(path, uid, uid) != 0 ? fail(err, "give to its function", path) : 0;
}

// ---- files

// Folders above a file of "a/b/c".
static int parents_make(const char *folder, const char *path, uid_t uid, struct error *err)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        CLEANUP(cleanup_free)
        char *parent = xasprintf("%s/%.*s", folder, (int)(slash - path), path);
        if (mkdir(parent, 0755) != 0 && errno != EEXIST) {
            return fail(err, "make", parent);
        }
        int rc = give(parent, uid, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int file_write(const char *folder, const struct volume_file *file, uid_t uid,
                      struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(folder, file->path);
    int rc = parents_make(folder, file->path, uid, err);
    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, file->data.ptr, file->data.len) != (ssize_t)file->data.len ||
        fchmod(fd, file->mode) != 0) {
        return fail(err, "write", path);
    }
    return give(path, uid, err);
}

static char *payload_name(void)
{
    char at[32], suffix[11];
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    (void)strftime(at, sizeof at, "%Y_%m_%d_%H_%M_%S", &parts);
    return xasprintf("..%s.%s", at, random_hex(suffix, sizeof suffix - 1));
}

static int payload_write(const char *folder, const struct volume *v, uid_t uid, struct error *err)
{
    if (mkdir(folder, 0755) != 0) {
        return fail(err, "make", folder);
    }
    int rc = give(folder, uid, err);
    for (size_t i = 0; i < v->count && rc == 0; i++) {
        rc = file_write(folder, &v->files[i], uid, err);
    }
    return rc;
}

// ---- the switch

static int data_switch(const char *dir, const char *payload, struct error *err)
{
    CLEANUP(cleanup_free) char *now = fs_join(dir, DATA);
    CLEANUP(cleanup_free) char *next = fs_join(dir, DATA_NEW);

    (void)unlink(next);
    if (symlink(payload, next) != 0 || rename(next, now) != 0) {
        return fail(err, "switch", now);
    }
    return 0;
}

static int names_make(const char *dir, const struct volume *v, struct error *err)
{
    for (size_t i = 0; i < v->count; i++) {
        const char *path = v->files[i].path;
        int len = (int)strcspn(path, "/");
        CLEANUP(cleanup_free) char *target = xasprintf(DATA "/%.*s", len, path);
        CLEANUP(cleanup_free) char *name = xasprintf("%s/%.*s", dir, len, path);
        if (symlink(target, name) != 0 && errno != EEXIST) {
            return fail(err, "make", name);
        }
    }
    return 0;
}

static bool has_name(const struct volume *v, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < v->count; i++) {
        const char *path = v->files[i].path;
        if (strncmp(path, name, len) == 0 && (path[len] == '\0' || path[len] == '/')) {
            return true;
        }
    }
    return false;
}

// Names that are no more, and every payload but the newest one.
static void rest_remove(const char *dir, const struct volume *v, const char *payload)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    while (d && (entry = readdir(d)) != NULL) {
        const char *name = entry->d_name;
        bool ours = strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, DATA) == 0 ||
                    strcmp(name, payload) == 0;
        if (!ours && !has_name(v, name)) {
            CLEANUP(cleanup_free) char *path = fs_join(dir, name);
            (void)!fs_remove_tree(path, NULL);
        }
    }
    if (d) {
        closedir(d);
    }
}

static int files_write(const char *dir, const struct volume *v, uid_t uid, struct error *err)
{
    CLEANUP(cleanup_free) char *payload = payload_name();
    CLEANUP(cleanup_free) char *folder = fs_join(dir, payload);

    int rc = payload_write(folder, v, uid, err);
    rc = rc ? rc : data_switch(dir, payload, err);
    if (rc < 0) {
        (void)!fs_remove_tree(folder, NULL);
        return rc;
    }
    rc = names_make(dir, v, err);
    rest_remove(dir, v, payload);
    return rc;
}

static int volume_write(const char *folder, const struct volume *v, uid_t uid, struct error *err)
{
    CLEANUP(cleanup_free) char *dir = fs_join(folder, v->name);

    if (mkdir(dir, 0755) != 0) {
        if (errno != EEXIST) {
            return fail(err, "make", dir);
        }
        return v->writable ? 0 : files_write(dir, v, uid, err);
    }
    if (chmod(dir, v->writable ? 0777 : 0755) != 0) { // whatever our umask is
        return fail(err, "open up", dir);
    }
    int rc = give(dir, uid, err);
    return rc < 0 || v->writable ? rc : files_write(dir, v, uid, err);
}

int volumes_write(const char *folder, const struct volume_set *set, uid_t uid, struct error *err)
{
    CLEANUP(cleanup_free) char *root = fs_join(folder, VOLUMES_ROOT);

    if ((mkdir(folder, 0700) != 0 && errno != EEXIST) ||
        (mkdir(root, 0700) != 0 && errno != EEXIST)) {
        return fail(err, "make folders in", folder);
    }
    for (size_t i = 0; i < set->count; i++) {
        int rc = volume_write(folder, &set->volumes[i], uid, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}
