// SPDX-License-Identifier: Apache-2.0
#include "cli/home.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jparse.h"

#define UP_JSON_MAX 65536

int home_find(char **out, struct error *err)
{
    char cwd[PATH_MAX];
    const char *home = getenv("LULL_HOME");
    const char *state = getenv("XDG_STATE_HOME");
    const char *user = getenv("HOME");

    if (home && home[0] == '/') {
        *out = xstrdup(home);
    } else if (home && home[0]) {
        if (!getcwd(cwd, sizeof cwd)) {
            return error_set(err, ERR_IO,
                             "LULL_HOME is relative and the working directory is gone");
        }
        *out = fs_join(cwd, home);
    } else if (geteuid() == 0) {
        *out = xstrdup("/var/lib/lull");
    } else if (state && state[0] == '/') {
        *out = fs_join(state, "lull");
    } else if (user && user[0] == '/') {
        *out = fs_join(user, ".local/state/lull");
    } else {
        return error_set(err, ERR_INVALID,
                         "neither LULL_HOME nor HOME says where to keep the state");
    }
    for (size_t len = strlen(*out); len > 1 && (*out)[len - 1] == '/'; len--) {
        (*out)[len - 1] = '\0';
    }
    return 0;
}

int home_supervisor(const char *home)
{
    CLEANUP(cleanup_free) char *path = fs_join(home, "up.lock");
    CLEANUP(cleanup_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    char text[32] = "";

    if (fd < 0) {
        return 0;
    }
    if (flock(fd, LOCK_SH | LOCK_NB) == 0 || read(fd, text, sizeof text - 1) <= 0) {
        return 0; // nobody holds it
    }
    return (int)strtol(text, NULL, 10);
}

int home_read_up(const char *home, json_t **out, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(home, "up.json");
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, UP_JSON_MAX);
    if (home_supervisor(home) == 0) {
        return error_set(err, ERR_NOT_FOUND,
                         "Lull does not run on this machine (%s): start it with `lull up`", home);
    }
    int rc = fs_read_file(path, UP_JSON_MAX, &text, err);
    if (rc == ERR_NOT_FOUND) {
        return error_set(err, rc, "Lull is just starting, or ending, on this machine (%s)", home);
    }
    return rc ? rc : jparse_object(strbuf_slice(&text), UP_JSON_MAX, out, err);
}
