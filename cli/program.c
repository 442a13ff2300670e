// SPDX-License-Identifier: Apache-2.0
//
// Looked for relative to this very file, so that a tree can be moved.
#include "cli/program.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

char *program_find(const char *name, struct error *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *folder = strcmp(name, "lull-replica") == 0 ? "local" : name + strlen("lull-");

    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
    }
    const char *const forms[] = {"%s/%s", "%s/../libexec/lull/%s", "%s/../%s/%s"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char *path = i == 2   ? xasprintf("%s/../%s/%s", self, folder, name)
                     : i == 1 ? xasprintf("%s/../libexec/lull/%s", self, name)
                              : xasprintf("%s/%s", self, name);
        if (access(path, X_OK) == 0) {
            return path;
        }
        free(path);
    }
    error_set(err, ERR_NOT_FOUND, "%s is not beside %s: the installation is not complete", name,
              self);
    return NULL;
}

int program_become(const char *name, const char *const argv[], struct error *err)
{
    CLEANUP(cleanup_free) char *program = program_find(name, err);
    if (!program) {
        return err->code;
    }
    execv(program, (char *const *)(uintptr_t)argv); // which changes nothing of them
    return error_from_errno(err, errno, "cannot execute %s", program);
}

int program_become_keeper(const char *home, const char *task, const char *file, struct error *err)
{
    // Of no matter here, and 0 (any port) is for `lull up` only.
    static const char *const OF_UP[] = {"LULL_PUBLIC_PORT", "LULL_LOCAL_PORT", "LULL_TLS_PORT",
                                        "LULL_MAX_REPLICAS", "LULL_MAX_MEMORY"};
    const char *const args[] = {"lull-local", "--home", home, task, file, NULL};

    for (size_t i = 0; i < ARRAY_LEN(OF_UP); i++) {
        unsetenv(OF_UP[i]);
    }
    return program_become("lull-local", args, err);
}

char *program_in_path(const char *name)
{
    const char *path = getenv("PATH");
    struct slice rest = slice_str(path ? path : "/usr/local/bin:/usr/bin:/bin"), folder;

    while (slice_split(&rest, ':', &folder)) {
        char *file = xasprintf("%.*s/%s", SLICE_FMT(folder), name);
        if (folder.len > 0 && folder.ptr[0] == '/' && access(file, X_OK) == 0) {
            return file;
        }
        free(file);
    }
    return NULL;
}

char *program_self(struct error *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n < 0) {
        error_from_errno(err, errno, "cannot find this program");
        return NULL;
    }
    self[n] = '\0';
    return xstrdup(self);
}
