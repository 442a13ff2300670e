// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: remove what is there, then link to a new folder on tmpfs, or make a plain one. Where the
 * former does not work, for whatever reason, the latter is used: it is only slower.
 */
#include "cli/runtime_dir.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

static const char *const BASES[] = {"/run", "/dev/shm"};

/* Only a folder that we made ourselves: BASE/lull-XXXXXX. */
static bool is_ours(const char *target)
{
    struct stat st;
    for (size_t i = 0; i < ARRAY_LEN(BASES); i++) {
        CLEANUP(cleanup_free) char *start = xasprintf("%s/lull-", BASES[i]);
        if (slice_starts_with(slice_str(target), slice_str(start)) &&
            strchr(target + strlen(start), '/') == NULL) {
            return lstat(target, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
        }
    }
    return false;
}

static char *path_of(const char *home)
{
    return xasprintf("%s/run/r", home);
}

void runtime_dir_remove(const char *home)
{
    CLEANUP(cleanup_free) char *path = path_of(home);
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0) {
        (void)!fs_remove_tree(path, NULL); /* no link: the folder itself, if there is one */
        return;
    }
    target[n] = '\0';
    if (is_ours(target)) {
        (void)!fs_remove_tree(target, NULL);
    }
    unlink(path);
}

static bool link_to_memory(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(BASES); i++) {
        struct statfs fs;
        if (statfs(BASES[i], &fs) != 0 || fs.f_type != TMPFS_MAGIC) {
            continue;
        }
        CLEANUP(cleanup_free) char *target = xasprintf("%s/lull-XXXXXX", BASES[i]);
        if (mkdtemp(target) == NULL) { /* mode 0700 */
            continue;
        }
        if (symlink(target, path) == 0) {
            return true;
        }
        rmdir(target);
    }
    return false;
}

int runtime_dir_make(const char *home, struct error *err)
{
    CLEANUP(cleanup_free) char *path = path_of(home);
    runtime_dir_remove(home);
    if (geteuid() == 0 && link_to_memory(path)) {
        return 0;
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_from_errno(err, errno, "cannot make %s", path);
    }
    return 0;
}
