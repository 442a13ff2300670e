// SPDX-License-Identifier: Apache-2.0
/*
 * Files. Writing is all or nothing: a temporary file beside the target, fsync, rename, fsync of
 * the folder. A failure on the way removes the temporary file and leaves the target as it was.
 */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define LOCK_WAIT_MS  2000
#define LOCK_RETRY_MS 5

int fs_read_file(const char *path, size_t max, struct strbuf *out, struct error *err)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_from_errno(err, errno, "open %s", path);
    }
    size_t total = 0;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_from_errno(err, errno, "read %s", path);
        }
        if (n == 0) {
            return 0;
        }
        total += (size_t)n;
        if (total > max || strbuf_append(out, chunk, (size_t)n) < 0) {
            return error_set(err, ERR_TOO_BIG, "%s has more than %zu bytes", path, max);
        }
    }
}

static int write_all(int fd, struct slice data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        data = slice_sub(data, (size_t)n, data.len);
    }
    return 0;
}

static int sync_dir_of(const char *path, struct error *err)
{
    ptrdiff_t slash = slice_rfind(slice_str(path), '/');
    CLEANUP(cleanup_free)
    char *dir = slash < 0 ? xstrdup(".") : xstrndup(path, slash == 0 ? 1 : (size_t)slash);
    CLEANUP(cleanup_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0) {
        return error_from_errno(err, errno, "fsync %s", dir);
    }
    return 0;
}

static int write_temp(int fd, struct slice data, mode_t mode)
{
    return fchmod(fd, mode) < 0 || write_all(fd, data) < 0 || fsync(fd) < 0 ? -1 : 0;
}

int fs_write_atomic(const char *path, struct slice data, mode_t mode, struct error *err)
{
    CLEANUP(cleanup_free) char *temp = xasprintf("%s.tmp.XXXXXX", path);
    CLEANUP(cleanup_close) int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        return error_from_errno(err, errno, "create %s", temp);
    }
    if (write_temp(fd, data, mode) < 0 || rename(temp, path) < 0) {
        int errnum = errno;
        unlink(temp);
        return error_from_errno(err, errnum, "write %s", path);
    }
    return sync_dir_of(path, err);
}

int fs_mkdir_p(const char *path, mode_t mode, struct error *err)
{
    CLEANUP(cleanup_free) char *work = xstrdup(path);
    for (char *p = work + 1; *work != '\0'; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        char end = *p;
        *p = '\0';
        if (mkdir(work, mode) < 0 && !(errno == EEXIST && fs_is_dir(work))) {
            return error_from_errno(err, errno, "make folder %s", work);
        }
        *p = end;
        if (end == '\0') {
            break;
        }
    }
    return 0;
}

/* Removes what `name` is in the folder dir_fd; depth bounds the recursion. */
static int remove_at(int dir_fd, const char *name, int depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if ((errno != EISDIR && errno != EPERM) || depth == 0) {
        return -1;
    }
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return -1;
    }
    int rc = 0;
    struct dirent *e;
    while (rc == 0 && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            rc = remove_at(fd, e->d_name, depth - 1);
        }
    }
    int errnum = errno;
    closedir(dir);
    errno = errnum;
    return rc == 0 ? unlinkat(dir_fd, name, AT_REMOVEDIR) : -1;
}

int fs_remove_tree(const char *path, struct error *err)
{
    if (remove_at(AT_FDCWD, path, 128) < 0) {
        return error_from_errno(err, errno, "remove %s", path);
    }
    return 0;
}

bool fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool fs_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *fs_join(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    if (name[0] == '/' || len == 0) {
        return xstrdup(name);
    }
    return xasprintf("%s%s%s", dir, dir[len - 1] == '/' ? "" : "/", name);
}

/* Who holds the lock, as it wrote itself into the file. */
static void read_holder(int fd, char *out, size_t size)
{
    ssize_t n = pread(fd, out, size - 1, 0);
    out[n < 0 ? 0 : n] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/*
 * A holder that was killed while it started a program has left a child between fork and exec, which
 * has the descriptor too, for a moment.
 */
static bool is_gone(const char *holder)
{
    long pid = strtol(holder, NULL, 10);
    return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static int lock_file(int fd, char *holder, size_t size)
{
    for (unsigned waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited_ms += LOCK_RETRY_MS) {
        if (errno != EWOULDBLOCK) {
            return -errno;
        }
        read_holder(fd, holder, size);
        if (!is_gone(holder) || waited_ms >= LOCK_WAIT_MS) {
            return -EWOULDBLOCK;
        }
        (void)poll(NULL, 0, LOCK_RETRY_MS);
    }
    return 0;
}

int fs_lock(const char *path, int *out_fd, struct error *err)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_from_errno(err, errno, "open %s", path);
    }
    char text[32] = "";
    int rc = lock_file(fd, text, sizeof(text));
    if (rc < 0 && rc != -EWOULDBLOCK) {
        return error_from_errno(err, -rc, "lock %s", path);
    }
    if (rc < 0) {
        return error_set(err, ERR_IN_USE, "%s is held by process %s", path,
                         text[0] == '\0' ? "(unknown)" : text);
    }
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || write_all(fd, slice_of(text, (size_t)len)) < 0) {
        return error_from_errno(err, errno, "write %s", path);
    }
    *out_fd = fd;
    fd = -1;
    return 0;
}

static int change_flag(int fd, int get, int set, int flag, bool on, struct error *err)
{
    int flags = fcntl(fd, get);
    if (flags < 0 || fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0) {
        return error_from_errno(err, errno, "fcntl of descriptor %d", fd);
    }
    return 0;
}

int fs_set_cloexec(int fd, bool on, struct error *err)
{
    return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on, err);
}

int fs_set_nonblock(int fd, bool on, struct error *err)
{
    return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on, err);
}
