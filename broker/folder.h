// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a FileSource does in its folder, the blocking way: for pool threads. Only regular files that
 * stand in the folder itself and have one name count: no links, pipes, folders, hidden names.
 */

#include "base/error.h"
#include "base/strbuf.h"

#define FOLDER_FILES_MAX 10000 /* of one look */

/* A file as it was when somebody looked; another one in its place differs. */
struct folder_file {
    char *name; /* owned; any bytes but NUL and '/' */
    uint64_t inode;
    int64_t size;
    int64_t modified_ns; /* wall time */
};

struct folder_list {
    uint64_t device, inode;    /* of the folder itself */
    struct folder_file *items; /* owned */
    size_t n;
    size_t others; /* what does not count */
    bool more;     /* there are more than FOLDER_FILES_MAX */
};

/* pattern NULL: all names. ERR_NOT_FOUND: no such folder. */
MUST_CHECK int folder_look(const char *path, const char *pattern, struct folder_list *out,
                           struct error *err);
void folder_list_fini(struct folder_list *list);

/*
 * Appends what is in the file. data NULL: only looks whether it is still that one. ERR_CONFLICT: it
 * is another one by now, or changed meanwhile; ERR_NOT_FOUND: it is gone.
 */
MUST_CHECK int folder_read(const char *path, const struct folder_file *file, struct strbuf *data,
                           struct error *err);
/*
 * Moves it into the folder `to` inside (made if need be); a name that is taken there gets an end of
 * its own. ERR_NOT_FOUND: it is gone.
 */
MUST_CHECK int folder_move(const char *path, const char *name, const char *to, struct error *err);
