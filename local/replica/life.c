// SPDX-License-Identifier: Apache-2.0
//
// The two programs of a replica.
//
// Happy path: both are started side by side, the queue-proxy says READY, and they run until a stop:
// DRAINING (SIGTERM to the queue-proxy) -> TERMINATING (SIGTERM to the function) -> ENDED. Failure
// modes:
//   function cannot be executed or exits   -> BACKOFF, restarted after a doubling delay
//   queue-proxy exits                      -> started again after the first delay; with a limit of
//                                             requests the function is too: what the old one let in
//                                             may still run, and the new one cannot know
//   either is not gone in time             -> SIGKILL to all
#include "local/replica/life.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MAX_MS (7u * 86400u * 1000u)
#define STABLE_MS    60000 // a function that ran this long starts again with the first delay

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000u;
}

// How many processes the kernel has killed for want of memory since it started; 0: it does not say.
static uint64_t oom_kills(void)
{
    static const char KEY[] = "\noom_kill ";
    char text[16384];
    int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[n < 0 ? 0 : n] = '\0';
    const char *at = strstr(text, KEY);
    return at == NULL ? 0 : strtoull(at + sizeof KEY - 1, NULL, 10);
}

static void function_failed(struct replica *r)
{
    uint64_t now = now_ms();

    if (now - r->started_ms >= STABLE_MS) {
        r->delay_ms = r->spec.backoff_ms;
    }
    r->phase = PHASE_BACKOFF;
    r->deadline_ms = now + r->delay_ms;
    r->delay_ms =
        r->delay_ms * 2 > r->spec.backoff_max_ms ? r->spec.backoff_max_ms : r->delay_ms * 2;
}

static void function_begin(struct replica *r, struct replica_start *start)
{
    r->phase = PHASE_RUNNING;
    r->deadline_ms = 0;
    r->started_ms = now_ms();
    r->started_wall_ns = clock_ns(CLOCK_REALTIME);
    replica_log_next_run(&r->log);
    replica_start_begin(start, &r->spec, r->spec.argv, r->spec.envp, r->out_write, true);
}

static void function_end(struct replica *r, struct replica_start *start)
{
    pid_t pid = replica_start_end(start);
    if (pid > 0) {
        r->pid = pid;
        r->oom = false;
        r->oom_kills = oom_kills();
        if (r->restarts > 0 && r->proxy_pid > 0) {
            kill(r->proxy_pid, SIGHUP); // probe again, and say READY again
        }
        return;
    }
    r->restarts++;
    r->code = -1;
    r->signal = 0;
    int code = errno;
    if (start->what[0]) {
        memcpy(r->message, start->what, sizeof r->message);
    } else if (access(r->spec.cwd, F_OK) != 0) {
        snprintf(r->message, sizeof r->message, "its folder %.120s is not there: %s", r->spec.cwd,
                 strerror(errno));
    } else {
        snprintf(r->message, sizeof r->message, "cannot execute %.120s: %s", r->spec.argv[0],
                 strerror(code));
    }
    function_failed(r);
}

static void function_start(struct replica *r)
{
    struct replica_start start;
    function_begin(r, &start);
    function_end(r, &start);
}

static void proxy_begin(struct replica *r, struct replica_start *start)
{
    char *argv[] = {r->spec.proxy, NULL};
    r->proxy_retry_ms = 0;
    replica_log_next_run(&r->proxy_log);
    replica_start_begin(start, &r->spec, argv, r->spec.proxy_envp, r->proxy_out_write, false);
}

static void proxy_end(struct replica *r, struct replica_start *start)
{
    pid_t pid = replica_start_end(start);
    if (pid > 0) {
        r->proxy_pid = pid;
        return;
    }
    snprintf(r->message, sizeof r->message, "cannot execute %.120s: %s", r->spec.proxy,
             strerror(errno));
    r->proxy_retry_ms = now_ms() + r->spec.backoff_max_ms;
}

static void proxy_start(struct replica *r)
{
    struct replica_start start;
    proxy_begin(r, &start);
    proxy_end(r, &start);
}

void life_kill(struct replica *r)
{
    if (r->pid > 0) {
        kill(-r->pid, SIGKILL);
    }
    if (r->proxy_pid > 0) {
        kill(-r->proxy_pid, SIGKILL);
    }
    replica_kill_tree(0); // whatever else there is below us
    r->pid = 0;
    r->proxy_pid = 0;
    r->ready = false;
    r->phase = PHASE_ENDED;
}

static void function_terminate(struct replica *r)
{
    r->phase = PHASE_TERMINATING;
    r->deadline_ms = now_ms() + r->spec.term_ms;
    if (r->pid == 0) {
        life_kill(r);
    } else if (kill(-r->pid, SIGTERM) != 0) {
        kill(r->pid, SIGTERM);
    }
}

void life_stop(struct replica *r, uint64_t grace_ms)
{
    grace_ms = grace_ms > GRACE_MAX_MS ? GRACE_MAX_MS : grace_ms;
    if (r->phase >= PHASE_DRAINING) {
        uint64_t by = now_ms() + grace_ms; // a later stop can only shorten
        r->deadline_ms = by < r->deadline_ms ? by : r->deadline_ms;
        return;
    }
    r->ready = false;
    r->phase = PHASE_DRAINING;
    r->deadline_ms = now_ms() + grace_ms;
    if (r->proxy_pid > 0) {
        kill(r->proxy_pid, SIGTERM);
    } else {
        function_terminate(r);
    }
}

// Whether it ended because there was no more memory: the kernel killed it, or it came up to its own
// limit and did not survive that. peak_bytes: the most that it had in use.
static bool out_of_memory(const struct replica *r, uint64_t peak_bytes)
{
    if (r->signal == SIGKILL && !r->orphaned && oom_kills() > r->oom_kills) {
        return true;
    }
    return r->code != 0 && r->spec.memory_bytes > 0 &&
           peak_bytes >= r->spec.memory_bytes - r->spec.memory_bytes / 8;
}

static void function_ended(struct replica *r, int status, uint64_t peak_bytes)
{
    // What it wrote last belongs into the message.
    r->pid = 0;
    replica_log_copy(&r->log, r->fds[FD_OUT].fd, REPLICA_LOG_REST);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    r->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    r->oom = out_of_memory(r, peak_bytes);
    replica_log_end_line(&r->log);
    snprintf(r->message, sizeof r->message, "%s",
             r->orphaned ? "ended with its queue-proxy: its limit of requests is counted there"
                         : r->log.last_line);
    if (r->oom && r->spec.memory_bytes > 0) {
        snprintf(r->message, sizeof r->message,
                 "out of memory: its limit is %" PRIu64 " MiB (resources.limits.memory); %.120s",
                 r->spec.memory_bytes >> 20, r->log.last_line);
    } else if (r->oom) {
        snprintf(r->message, sizeof r->message, "out of memory: this machine had none left; %.120s",
                 r->log.last_line);
    }
    r->orphaned = false;
    if (r->phase == PHASE_TERMINATING) {
        life_kill(r);
    } else if (r->phase == PHASE_RUNNING) {
        replica_kill_tree(r->proxy_pid);
        r->ready = false;
        r->restarts++;
        function_failed(r);
    }
}

static void proxy_ended(struct replica *r)
{
    r->proxy_pid = 0;
    r->ready = false;
    if (r->phase == PHASE_DRAINING) {
        function_terminate(r);
    } else if (r->phase < PHASE_DRAINING) {
        r->proxy_retry_ms = now_ms() + r->spec.backoff_ms;
        if (r->pid > 0 && replica_spec_limited(&r->spec)) {
            r->orphaned = true;
            kill(-r->pid, SIGKILL);
        }
    }
}

void life_reap(struct replica *r)
{
    struct signalfd_siginfo info;
    siginfo_t ended;
    struct rusage used;
    int status;

    while (read(r->fds[FD_SIGNAL].fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM) {
            life_stop(r, r->spec.term_ms);
        }
    }
    for (;;) {
        ended.si_pid = 0;
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) {
            break;
        }
        pid_t pid = ended.si_pid;
        if (pid == r->pid) {
            kill(-pid, SIGKILL); // what it forked goes with it; its number is ours until waitpid
        }
        if (wait4(pid, &status, WNOHANG, &used) != pid) {
            break;
        }
        if (pid == r->pid) {
            function_ended(r, status, (uint64_t)used.ru_maxrss * 1024);
        } else if (pid == r->proxy_pid) {
            proxy_ended(r);
        }
        control_tell(r); // each step, also where the next one is just behind it
    }
    control_tell(r);
}

void life_notified(struct replica *r)
{
    char text[256];
    ssize_t n;

    while ((n = recv(r->fds[FD_NOTIFY].fd, text, sizeof text - 1, MSG_DONTWAIT)) > 0) {
        text[n] = '\0';
        bool ready = strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1") != NULL;
        bool down = strstr(text, "X_READY=0") != NULL || strstr(text, "STOPPING=1") != NULL;
        if (ready && r->phase == PHASE_RUNNING && r->pid > 0) {
            r->ready = true;
            r->ready_wall_ns = clock_ns(CLOCK_REALTIME);
        } else if (down) {
            r->ready = false;
        }
    }
    control_tell(r);
}

void life_due(struct replica *r)
{
    uint64_t now = now_ms();

    if (r->proxy_retry_ms && now >= r->proxy_retry_ms && r->phase < PHASE_DRAINING) {
        proxy_start(r);
        control_tell(r);
    }
    if (r->deadline_ms == 0 || now < r->deadline_ms) {
        return;
    }
    if (r->phase == PHASE_BACKOFF) {
        function_start(r);
    } else if (r->phase == PHASE_DRAINING) {
        function_terminate(r);
    } else if (r->phase == PHASE_TERMINATING) {
        life_kill(r);
    }
    control_tell(r);
}

int life_timeout(const struct replica *r)
{
    uint64_t now = now_ms(), at = r->deadline_ms;

    if (r->proxy_retry_ms && r->phase < PHASE_DRAINING && (at == 0 || r->proxy_retry_ms < at)) {
        at = r->proxy_retry_ms;
    }
    if (at == 0) {
        return -1;
    }
    return at <= now ? 0 : (int)(at - now > 60000 ? 60000 : at - now);
}

void life_begin(struct replica *r)
{
    // The queue-proxy has the longer way to go before it is ready: it goes first.
    struct replica_start proxy, function;
    proxy_begin(r, &proxy);
    function_begin(r, &function);
    proxy_end(r, &proxy);
    function_end(r, &function);
}
