// SPDX-License-Identifier: Apache-2.0
//
// Starting and ending processes of a replica.
//
// Start: fork, set up identity and limits, exec. The exec's error comes back through a
// close-on-exec pipe, so the caller learns "no such file" at once and in words. End: SIGKILL to
// every descendant. This process is a child subreaper, so a program that daemonised is still found
// below it.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "local/replica/replica.h"

#define MAX_PROCESSES 4096 // and threads, of one function

static int limits_set(const struct replica_spec *spec)
{
    struct rlimit core = {0, 0}, processes = {MAX_PROCESSES, MAX_PROCESSES};

    if (setrlimit(RLIMIT_CORE, &core) != 0) {
        return -1;
    }
    // The kernel counts per user, so only where the function has one of its own.
    if (spec->uid != 0 && setrlimit(RLIMIT_NPROC, &processes) != 0) {
        return -1;
    }
    if (spec->memory_bytes > 0) {
        struct rlimit data = {spec->memory_bytes, spec->memory_bytes};
        return setrlimit(RLIMIT_DATA, &data);
    }
    return 0;
}

static int identity_drop(const struct replica_spec *spec)
{
    if (spec->uid != 0) {
        if (setgroups(0, NULL) != 0 || setresgid(spec->gid, spec->gid, spec->gid) != 0 ||
            setresuid(spec->uid, spec->uid, spec->uid) != 0) {
            return -1;
        }
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// What the child says of a failure, in one write.
struct failure {
    int code;
    char what[REPLICA_MESSAGE_MAX];
};

// The working directory is entered before the identity is dropped: its parents may be private.
static int function_set_up(const struct replica_spec *spec, struct failure *failure)
{
    if (spec->mountc > 0 && replica_mounts_make(spec, failure->what, sizeof failure->what) != 0) {
        return -1;
    }
    return chdir(spec->cwd) != 0 || limits_set(spec) != 0 || identity_drop(spec) != 0 ? -1 : 0;
}

static void child_run(const struct replica_spec *spec, char *const argv[], char **envp, int out_fd,
                      bool as_function, pid_t parent, struct failure *failure)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    // A queue-proxy that is just starting must not end by our SIGHUP, which would mean: look again.
    signal(SIGHUP, as_function ? SIG_DFL : SIG_IGN);
    if (setsid() < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0) {
        return;
    }
    if (as_function && function_set_up(spec, failure) != 0) {
        return;
    }
    // After the identity changed: changing it clears the setting.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent) {
        return;
    }
    environ = envp; // its own PATH decides where a bare name is found
    execvp(argv[0], argv);
}

void replica_start_begin(struct replica_start *start, const struct replica_spec *spec,
                         char *const argv[], char **envp, int out_fd, bool as_function)
{
    int failed[2];
    pid_t parent = getpid();

    *start = (struct replica_start){.pid = -1, .failed_fd = -1};
    if (pipe2(failed, O_CLOEXEC) != 0) {
        start->code = errno;
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct failure failure = {0};
        child_run(spec, argv, envp, out_fd, as_function, parent, &failure);
        failure.code = errno ? errno : EINVAL;
        ssize_t n = write(failed[1], &failure, sizeof failure);
        _exit(n > 0 ? 127 : 126);
    }
    start->code = pid < 0 ? errno : 0;
    start->pid = pid;
    start->failed_fd = failed[0];
    close(failed[1]);
}

pid_t replica_start_end(struct replica_start *start)
{
    int code = start->code;

    if (start->pid > 0) {
        struct failure failure = {0};
        ssize_t n;
        do {
            n = read(start->failed_fd, &failure, sizeof failure);
        } while (n < 0 && errno == EINTR);
        code = n == sizeof failure ? failure.code : 0;
        memcpy(start->what, failure.what, sizeof start->what);
    }
    if (start->failed_fd >= 0) {
        close(start->failed_fd);
    }
    if (code != 0) {
        if (start->pid > 0) {
            waitpid(start->pid, NULL, 0);
        }
        errno = code;
        return -1;
    }
    return start->pid;
}

// Calls `visit` for each child but `spare`; returns how many there were.
static int children_each(pid_t spare, void (*visit)(pid_t pid))
{
    char path[64], line[32768];
    int seen = 0;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    line[n > 0 ? n : 0] = '\0';
    for (char *at = line, *end; *at; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at || *end != ' ') { // a number that the buffer cut is no pid
            break;
        }
        if (pid > 1 && pid != spare) {
            visit((pid_t)pid);
            seen++;
        }
    }
    return seen;
}

static void child_kill(pid_t pid)
{
    kill(-pid, SIGKILL); // its group, when it leads one
    kill(pid, SIGKILL);
}

static void child_reap(pid_t pid)
{
    waitpid(pid, NULL, WNOHANG);
}

void replica_kill_tree(pid_t spare)
{
    // Several rounds: the children of a killed process become ours and show up in the next one.
    for (int round = 0; round < 200 && children_each(spare, child_kill) > 0; round++) {
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
        children_each(spare, child_reap);
    }
}
