// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Files, the blocking way: for start-up, the CLI and worker threads, never on a serving loop.
 * Errors name the path. Every descriptor opened here is close-on-exec.
 */

#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Appends the whole file to out. ERR_TOO_BIG beyond max bytes, ERR_NOT_FOUND, ERR_DENIED, … */
MUST_CHECK int fs_read_file(const char *path, size_t max, struct strbuf *out, struct error *err);
/* Writes path.tmp.XXXXXX, fsyncs, renames, fsyncs the folder: readers see old or new, whole. */
MUST_CHECK int fs_write_atomic(const char *path, struct slice data, mode_t mode, struct error *err);
/* Creates the folder and its parents; fine when it is there. */
MUST_CHECK int fs_mkdir_p(const char *path, mode_t mode, struct error *err);
/* Removes a file or a folder with all in it; does not follow links; fine when it is absent. */
MUST_CHECK int fs_remove_tree(const char *path, struct error *err);
/* Whether something is there (links followed). */
bool fs_exists(const char *path);
bool fs_is_dir(const char *path);
/* "dir/name" in new memory, with one slash between; name alone when it starts with a slash. */
char *fs_join(const char *dir, const char *name);

/*
 * Takes an exclusive lock on a file (created, mode 0600) and writes our process id into it.
 * ERR_IN_USE with the holder's process id when another process has it; a holder that was killed a
 * moment ago is waited for. Close *out_fd to release.
 */
MUST_CHECK int fs_lock(const char *path, int *out_fd, struct error *err);

MUST_CHECK int fs_set_cloexec(int fd, bool on, struct error *err);
MUST_CHECK int fs_set_nonblock(int fd, bool on, struct error *err);
