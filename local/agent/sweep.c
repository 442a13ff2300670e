// SPDX-License-Identifier: Apache-2.0
//
// After the violent end of a lull-replica. Its direct children die with it (PR_SET_PDEATHSIG), what
// they started is in their process groups; a program that made a session of its own is found by its
// environment, which has the replica's id.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "local/agent/node.h"

#define ROUNDS          20
#define ENVIRONMENT_MAX (256u << 10)

void sweep_groups(const struct replica_state *state)
{
    // After a clean end both are 0.
    if (state->pid > 1) {
        kill(-state->pid, SIGKILL);
    }
    if (state->proxy_pid > 1) {
        kill(-state->proxy_pid, SIGKILL);
    }
}

static bool environment_has(const char *pid, const char *mark, char *buf)
{
    char path[64];
    size_t len = 0;
    ssize_t n = 0;

    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && len < ENVIRONMENT_MAX &&
           (n = read(fd, buf + len, ENVIRONMENT_MAX - len)) > 0) {
        len += (size_t)n;
    }
    return memmem(buf, len, mark, strlen(mark)) != NULL;
}

// One look at every process; how many were killed.
static int round_run(const char *mark, char *buf)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int killed = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        int64_t pid = 0;
        if (num_parse_i64(slice_str(entry->d_name), 2, INT32_MAX, &pid, NULL) == 0 &&
            pid != getpid() && environment_has(entry->d_name, mark, buf)) {
            killed += kill((pid_t)pid, SIGKILL) == 0;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return killed;
}

void sweep_strays(const char *id)
{
    CLEANUP(cleanup_free) char *mark = xasprintf(REPLICA_MARK "=%s", id);
    CLEANUP(cleanup_free) char *buf = xmalloc(ENVIRONMENT_MAX);

    // Again, until nothing is found: it may be forking just now.
    for (int round = 0; round < ROUNDS && round_run(mark, buf) > 0; round++) {
        LOG_WARN("ended what a killed replica left behind", LOG_STR("id", id));
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
}
