// SPDX-License-Identifier: Apache-2.0
//
// Parts are known by up.json and their name, since a process number may be somebody else's by now;
// replicas by who answers on their control socket.
#include "cli/leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"

#define UP_JSON_MAX 65536
#define COMM_MAX    15 // the kernel cuts a process' name there

static bool runs_as(int64_t pid, const char *name)
{
    CLEANUP(cleanup_free) char *path = xasprintf("/proc/%lld/comm", (long long)pid);
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, 64);
    return pid > 1 && fs_read_file(path, 63, &text, NULL) == 0 &&
           strncmp(text.ptr, name, strlen(name) > COMM_MAX ? COMM_MAX : strlen(name)) == 0;
}

static bool parts_run(const char *home)
{
    CLEANUP(cleanup_free) char *path = fs_join(home, "up.json");
    CLEANUP(strbuf_fini) struct strbuf text;
    json_t *up = NULL, *part;
    bool found = false;
    size_t i;

    strbuf_init(&text, UP_JSON_MAX);
    if (fs_read_file(path, UP_JSON_MAX, &text, NULL) < 0 ||
        jparse_object(strbuf_slice(&text), UP_JSON_MAX, &up, NULL) < 0) {
        return false;
    }
    json_array_foreach(jpeek_arr(up, "parts"), i, part)
    {
        found |= runs_as(jpeek_i64(part, "pid"), jpeek_cstr(part, "name"));
    }
    json_decref(up);
    return found;
}

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path) {
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static bool replicas_run(const char *home)
{
    CLEANUP(cleanup_free) char *folder = fs_join(home, "run/r");
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool found = false;

    while (dir && !found && (entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        CLEANUP(cleanup_free) char *path = fs_join(folder, entry->d_name);
        found = dot && strcmp(dot, ".c") == 0 && answers(path);
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

bool leftovers_wait(struct cli *cli, uint64_t ms)
{
    uint64_t end = clock_mono_ms() + ms;

    while (parts_run(cli->home) || replicas_run(cli->home)) {
        if (clock_mono_ms() > end) {
            return false;
        }
        cli_pause(cli, 10);
    }
    return true;
}

void leftovers_remove(const char *home)
{
    CLEANUP(cleanup_free) char *up = fs_join(home, "up.json");
    CLEANUP(cleanup_free) char *folder = fs_join(home, "bundles");
    DIR *dir = opendir(folder);
    struct dirent *entry;

    unlink(up);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, ".new-", 5) == 0) {
            CLEANUP(cleanup_free) char *path = fs_join(folder, entry->d_name);
            (void)!fs_remove_tree(path, NULL);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

// Signals each child, and its group when it leads one.
static void children_kill(void)
{
    char line[65536];
    CLEANUP(cleanup_free) char *path = xasprintf("/proc/self/task/%d/children", (int)getpid());
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof line - 1) : -1;

    line[n > 0 ? n : 0] = '\0';
    for (char *at = line, *end; *at; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at || *end != ' ') { // a number that the buffer cut is no pid
            break;
        }
        kill((pid_t)-pid, SIGKILL);
        kill((pid_t)pid, SIGKILL);
    }
}

void leftovers_kill(struct cli *cli, uint64_t ms)
{
    uint64_t end = clock_mono_ms() + ms;
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && clock_mono_ms() < end) {
        if (pid == 0) {
            children_kill();
            cli_pause(cli, 5);
        }
    }
}
