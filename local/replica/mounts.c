// SPDX-License-Identifier: Apache-2.0
//
// A function's view of the file system, with its volumes at their paths: a mount namespace of its
// own, so that nothing of it is seen outside. Runs in the function's child, before its identity is
// dropped; without root in a user namespace in which the user stays who he is.
//
// A path that is there already is covered. One that is not cannot be made in the real folder: the
// nearest folder above it is covered by a small one in memory that shows everything that is in the
// real one, and has room for more; for "/" that means a new root. Failure modes: namespaces are not
// allowed here, or a path is of the wrong type: the function does not start, and its state says
// why.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "local/replica/replica.h"

#define COVERS_MAX    64
#define ENTRIES_MAX   8192 // of a folder that is shown again
#define COVER_OPTIONS "mode=0755,size=16m"
#define OLD_ROOT      "/.lull-old-root"

struct view {
    const struct replica_spec *spec;
    char *what; // the sentence
    size_t what_size;
    bool new_root;
    char covers[COVERS_MAX][REPLICA_PATH_MAX];
    size_t covers_count;
};

static int fail(struct view *v, const char *what, const char *path)
{
    int code = errno ? errno : EINVAL;
    snprintf(v->what, v->what_size, "cannot mount its volumes: %s %s: %s", what, path,
             strerror(code));
    errno = code;
    return -1;
}

// ---- namespaces

static int text_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0) {
        close(fd);
    }
    return n < 0 ? -1 : 0;
}

static int user_namespace_enter(void)
{
    char uid[64], gid[64];

    snprintf(uid, sizeof uid, "%u %u 1", (unsigned)getuid(), (unsigned)getuid());
    snprintf(gid, sizeof gid, "%u %u 1", (unsigned)getgid(), (unsigned)getgid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
                   text_write("/proc/self/setgroups", "deny") != 0 ||
                   text_write("/proc/self/uid_map", uid) != 0 ||
                   text_write("/proc/self/gid_map", gid) != 0
               ? -1
               : 0;
}

static int namespace_enter(struct view *v)
{
    int rc = geteuid() == 0 ? unshare(CLONE_NEWNS) : user_namespace_enter();

    if (rc == 0) {
        rc = mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
    }
    if (rc != 0) {
        int code = errno;
        snprintf(v->what, v->what_size,
                 "cannot mount its volumes: this machine gives %s no mount namespace (%s): run "
                 "Lull as root, or allow user namespaces",
                 geteuid() == 0 ? "us" : "this user", strerror(code));
        errno = code;
    }
    return rc;
}

// ---- sources

static int beneath(int dir, const char *path, int flags)
{
    struct open_how how = {.flags = (unsigned)(O_PATH | O_CLOEXEC | flags),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

// In a folder that the function may have filled with links: step by step, none followed, and what
// is not there is made.
static int writable_sub(int dir, const char *path)
{
    char part[256];
    int at = dup(dir);

    while (at >= 0 && *path) {
        size_t len = strcspn(path, "/");
        if (len >= sizeof part) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, len);
        part[len] = '\0';
        path += len + (path[len] == '/');
        if (len == 0 || strcmp(part, ".") == 0) {
            continue;
        }
        struct stat st;
        if (mkdirat(at, part, 0777) == 0 && fstat(dir, &st) == 0) {
            (void)!fchownat(at, part, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
        }
        int next = openat(at, part, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        close(at);
        at = next;
    }
    return at;
}

// All of them first: what is mounted later may hide their folder.
static int source_open(struct view *v, const struct replica_mount *m)
{
    int fd = open(m->from, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && m->sub) {
        int sub = m->writable ? writable_sub(fd, m->sub) : beneath(fd, m->sub, 0);
        close(fd);
        fd = sub;
    }
    return fd >= 0 ? fd : fail(v, "open", m->sub ? m->sub : m->from);
}

static bool is_folder(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

// ---- a folder shown again

static void fd_path(char out[64], int fd)
{
    snprintf(out, 64, "/proc/self/fd/%d", fd);
}

static int file_make(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : close(fd);
}

static int entry_show(int from, const char *name, const char *to_folder)
{
    char source[REPLICA_PATH_MAX], target[REPLICA_PATH_MAX], link[REPLICA_PATH_MAX];
    struct stat st;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : -1; // it went meanwhile
    }
    if ((size_t)snprintf(source, sizeof source, "/proc/self/fd/%d/%s", from, name) >=
            sizeof source ||
        (size_t)snprintf(target, sizeof target, "%s/%s", to_folder, name) >= sizeof target) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlinkat(from, name, link, sizeof link - 1);
        link[n > 0 ? n : 0] = '\0';
        return n < 0 ? -1 : symlink(link, target);
    }
    if ((S_ISDIR(st.st_mode) ? mkdir(target, 0755) : file_make(target)) != 0) {
        return -1;
    }
    return mount(source, target, NULL, MS_BIND | MS_REC, NULL);
}

// Shows the entries of `from` in the folder `to`; `first` (may be NULL) before all others.
static int entries_show(int from, const char *to, const char *first)
{
    int dup_fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = dup_fd < 0 ? NULL : fdopendir(dup_fd);
    struct dirent *entry;
    int rc = dir ? 0 : -1, count = 0;

    if (rc == 0 && first) {
        rc = entry_show(from, first, to);
    }
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            (first && strcmp(name, first) == 0)) {
            continue;
        }
        if (++count > ENTRIES_MAX) {
            errno = E2BIG;
            rc = -1;
        } else {
            rc = entry_show(from, name, to);
        }
    }
    if (dir) {
        int code = errno;
        closedir(dir);
        errno = code;
    }
    return rc;
}

static bool is_cover(const struct view *v, const char *path)
{
    for (size_t i = 0; i < v->covers_count; i++) {
        if (strcmp(v->covers[i], path) == 0) {
            return true;
        }
    }
    return false;
}

// Covers a folder other than "/".
static int folder_cover(struct view *v, const char *path)
{
    struct stat st;
    int from = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (from < 0 || fstat(from, &st) != 0 || v->covers_count == COVERS_MAX) {
        return fail(v, "show", path);
    }
    int rc = mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, COVER_OPTIONS);
    rc = rc ? rc : entries_show(from, path, NULL);
    if (rc != 0) {
        rc = fail(v, "show", path);
    }
    close(from);
    (void)!chown(path, st.st_uid, st.st_gid); // in a user namespace only our own
    (void)!chmod(path, st.st_mode & 07777);
    snprintf(v->covers[v->covers_count++], REPLICA_PATH_MAX, "%s", path);
    return rc;
}

static int root_enter(struct view *v)
{
    const char *at = v->spec->mount_root;

    if (chdir(at) != 0 || mkdir(&OLD_ROOT[1], 0700) != 0 ||
        syscall(SYS_pivot_root, ".", &OLD_ROOT[1]) != 0 || chdir("/") != 0) {
        return fail(v, "enter the root at", at);
    }
    v->new_root = true;
    return 0;
}

// The new root, at the folder that was made for it. The entry that holds this folder comes first,
// while there is nothing in it: it would be shown within itself.
static int root_make(struct view *v)
{
    const char *at = v->spec->mount_root;
    char first[256];
    int from = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    snprintf(first, sizeof first, "%.*s", (int)strcspn(at + 1, "/"), at + 1);
    int rc = from < 0 ? -1 : mount("tmpfs", at, "tmpfs", MS_NOSUID | MS_NODEV, COVER_OPTIONS);
    rc = rc ? rc : entries_show(from, at, first);
    if (rc != 0) {
        rc = fail(v, "build a root at", at);
    }
    if (from >= 0) {
        close(from);
    }
    return rc ? rc : root_enter(v);
}

// What is mounted from the old root can be mounted again only while that is attached.
static void old_root_leave(void)
{
    if (umount2(OLD_ROOT, MNT_DETACH) == 0) {
        (void)rmdir(OLD_ROOT);
    }
}

// ---- targets

// The length of the longest part of an absolute path that is there; 1: only "/".
static size_t existing_len(const char *path)
{
    char text[REPLICA_PATH_MAX];
    struct stat st;

    for (size_t len = strlen(path); len > 1;) {
        snprintf(text, sizeof text, "%.*s", (int)len, path);
        if (stat(text, &st) == 0) {
            return len;
        }
        while (len > 1 && path[len - 1] != '/') {
            len--;
        }
        while (len > 1 && path[len - 1] == '/') {
            len--;
        }
    }
    return 1;
}

// Makes what is missing of `path` below its first `there` bytes, the last part as the source is.
static int rest_make(struct view *v, const char *path, size_t there, bool folder)
{
    char text[REPLICA_PATH_MAX];
    size_t len = strlen(path);

    for (size_t at = there; at < len;) {
        while (path[at] == '/') {
            at++;
        }
        at += strcspn(path + at, "/");
        size_t next = at + strspn(path + at, "/");
        snprintf(text, sizeof text, "%.*s", (int)at, path);
        int rc = next < len || folder ? mkdir(text, 0755) : file_make(text);
        if (rc != 0 && errno != EEXIST) {
            return fail(v, "make", text);
        }
        at = next;
    }
    return 0;
}

static int target_make(struct view *v, const char *path, bool folder)
{
    char parent[REPLICA_PATH_MAX], real[REPLICA_PATH_MAX];
    size_t there = existing_len(path);

    if (there == strlen(path)) {
        return 0;
    }
    snprintf(parent, sizeof parent, "%.*s", (int)there, path);
    if (!realpath(parent, real)) {
        return fail(v, "find", parent);
    }
    bool in_root = strcmp(real, "/") == 0;
    if (in_root ? !v->new_root && root_make(v) != 0
                : !is_cover(v, real) && folder_cover(v, real) != 0) {
        return -1;
    }
    return rest_make(v, path, there, folder);
}

static unsigned long flags_of(const char *path)
{
    static const struct {
        unsigned long vfs, ms;
    } MAP[] = {{ST_NOSUID, MS_NOSUID},         {ST_NODEV, MS_NODEV},
               {ST_NOEXEC, MS_NOEXEC},         {ST_NOATIME, MS_NOATIME},
               {ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME}};
    struct statvfs st;
    unsigned long flags = 0;

    for (size_t i = 0; statvfs(path, &st) == 0 && i < sizeof MAP / sizeof MAP[0]; i++) {
        flags |= st.f_flag & MAP[i].vfs ? MAP[i].ms : 0;
    }
    return flags;
}

static int volume_mount(struct view *v, const struct replica_mount *m, int source)
{
    char from[64];
    const char *at = m->at;
    bool folder = is_folder(source);

    if (target_make(v, at, folder) != 0) {
        return -1;
    }
    fd_path(from, source);
    if (mount(from, at, NULL, MS_BIND, NULL) != 0) {
        return fail(v, "mount at", at);
    }
    if (!m->writable &&
        mount(NULL, at, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags_of(at), NULL) != 0) {
        return fail(v, "make read-only", at);
    }
    return 0;
}

int replica_mounts_make(const struct replica_spec *spec, char *what, size_t what_size)
{
    struct view v = {.spec = spec, .what = what, .what_size = what_size};
    int sources[REPLICA_MAX_MOUNTS];

    if (namespace_enter(&v) != 0) {
        return -1;
    }
    for (size_t i = 0; i < spec->mountc; i++) {
        sources[i] = source_open(&v, &spec->mounts[i]);
        if (sources[i] < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < spec->mountc; i++) {
        if (volume_mount(&v, &spec->mounts[i], sources[i]) != 0) {
            return -1;
        }
    }
    if (v.new_root) {
        old_root_leave();
    }
    return 0;
}
