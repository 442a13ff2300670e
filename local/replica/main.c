// SPDX-License-Identifier: Apache-2.0
//
// lull-replica SPEC-FILE: owns one replica (replica.h).
//
// Happy path: read the specification, listen on the control and readiness sockets, start function
// and queue-proxy, tell READY when the queue-proxy does, wait. "stop": SIGTERM to the queue-proxy,
// which drains; when it is gone SIGTERM to the function; when that is gone, or its time is over,
// SIGKILL to all; ENDED. Failure modes:
//   function cannot be executed or exits   -> BACKOFF, restarted after a doubling delay
//   queue-proxy exits                      -> started again after the first delay; with a limit of
//                                             requests the function is too: what the old one let in
//                                             may still run, and the new one cannot know
//   agent goes away                        -> nothing happens; the next one connects
//   lifeline closes                        -> SIGKILL to all, exit
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "local/replica/replica.h"

// RUNNING <-> BACKOFF until told to stop; then DRAINING -> TERMINATING -> ENDED, never back.
enum phase { PHASE_RUNNING, PHASE_BACKOFF, PHASE_DRAINING, PHASE_TERMINATING, PHASE_ENDED };

static const char *const PHASE_NAMES[] = {"running", "backoff", "draining", "terminating", "ended"};

enum {
    FD_SIGNAL,
    FD_LIFELINE,
    FD_CTL,
    FD_NOTIFY,
    FD_OUT,
    FD_PROXY_OUT,
    FD_CLIENT,
    FD_COUNT = FD_CLIENT + REPLICA_MAX_CLIENTS
};

#define STATE_MAX    1024
#define ORDER_MAX    64
#define GRACE_MAX_MS (7u * 86400u * 1000u)
#define STABLE_MS    60000 // a function that ran this long starts again with the first delay

struct replica {
    struct replica_spec spec;
    struct replica_log log, proxy_log;
    struct pollfd fds[FD_COUNT];
    int out_write, proxy_out_write; // write ends kept open, so that a restart reuses the pipes
    pid_t pid, proxy_pid;           // 0 = not running
    enum phase phase;
    bool ready;
    bool orphaned; // the function is killed because its queue-proxy ended
    uint64_t restarts;
    uint64_t started_wall_ns, ready_wall_ns;
    uint64_t started_ms;  // monotonic, of the function's last start
    uint64_t deadline_ms; // of BACKOFF, DRAINING, TERMINATING; 0 = none
    uint64_t proxy_retry_ms;
    uint64_t delay_ms;  // next restart delay
    bool oom;           // the function's last end was for want of memory
    uint64_t oom_kills; // of the whole machine, at the function's last start
    int code, signal;   // of the function's last end; -1 = could not be executed
    char message[REPLICA_MESSAGE_MAX];
    char told[STATE_MAX]; // the newest state line that was sent
    struct order {
        size_t len;
        char text[ORDER_MAX];
    } orders[REPLICA_MAX_CLIENTS]; // the beginning of a line, per client
};

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

// ---- state to the agent

// Escapes for JSON; bytes that are not printable ASCII become '?', since the text may be any
// program's output.
static void json_text(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
        }
        out[n++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    out[n] = '\0';
}

static void client_close(struct replica *r, int slot)
{
    close(r->fds[slot].fd);
    r->fds[slot].fd = -1;
}

static void state_line(const struct replica *r, char line[STATE_MAX])
{
    char message[2 * REPLICA_MESSAGE_MAX];

    json_text(message, sizeof message, r->message);
    // Its fixed part and all numbers take less than 400 bytes: it always fits.
    (void)snprintf(line, STATE_MAX,
                   "{\"phase\":\"%s\",\"ready\":%s,\"pid\":%d,\"proxyPid\":%d,\"restarts\":%" PRIu64
                   ",\"startedAt\":%" PRIu64 ",\"readyAt\":%" PRIu64
                   ",\"code\":%d,\"signal\":%d,\"oom\":%s,\"message\":\"%s\"}\n",
                   PHASE_NAMES[r->phase], r->ready ? "true" : "false", (int)r->pid,
                   (int)r->proxy_pid, r->restarts, r->started_wall_ns, r->ready_wall_ns, r->code,
                   r->signal, r->oom ? "true" : "false", message);
}

// A client that does not read its few lines is cut off; it connects again and gets the newest
// state.
static void state_send(struct replica *r, int slot)
{
    size_t len = strlen(r->told);

    ssize_t n = send(r->fds[slot].fd, r->told, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n != (ssize_t)len &&
        !(n < 0 && errno == EPIPE)) { // EPIPE: its last order is yet to be read
        client_close(r, slot);
    }
}

// Only what is new: a function can make us look often, by children that end for example.
static void state_tell(struct replica *r)
{
    char line[STATE_MAX];

    state_line(r, line);
    if (strcmp(line, r->told) == 0) {
        return;
    }
    memcpy(r->told, line, sizeof line);
    for (int slot = FD_CLIENT; slot < FD_COUNT; slot++) {
        if (r->fds[slot].fd >= 0) {
            state_send(r, slot);
        }
    }
}

// ---- function and queue-proxy

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

static void all_end(struct replica *r)
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
        all_end(r);
    } else if (kill(-r->pid, SIGTERM) != 0) {
        kill(r->pid, SIGTERM);
    }
}

static void stop(struct replica *r, uint64_t grace_ms)
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

static void output_drain(struct replica *r);

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
    output_drain(r);
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
        all_end(r);
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

static void children_reap(struct replica *r)
{
    struct signalfd_siginfo info;
    siginfo_t ended;
    struct rusage used;
    int status;

    while (read(r->fds[FD_SIGNAL].fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM) {
            stop(r, r->spec.term_ms);
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
        state_tell(r); // each step, also where the next one is just behind it
    }
    state_tell(r);
}

// ---- events

static void output_copy(int fd, struct replica_log *log, int rounds)
{
    char buf[16384];
    ssize_t n;
    while (rounds-- > 0 && (n = read(fd, buf, sizeof buf)) > 0) {
        replica_log_write(log, buf, (size_t)n);
    }
}

static void output_drain(struct replica *r)
{
    output_copy(r->fds[FD_OUT].fd, &r->log, 16);
}

static void notify_read(struct replica *r)
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
    state_tell(r);
}

static void client_accept(struct replica *r)
{
    int fd = accept4(r->fds[FD_CTL].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    int slot = FD_CLIENT;
    while (slot < FD_COUNT - 1 && r->fds[slot].fd >= 0) {
        slot++;
    }
    if (r->fds[slot].fd >= 0) { // nobody else needs so many: the newest one is the agent
        client_close(r, slot);
    }
    r->fds[slot] = (struct pollfd){.fd = fd, .events = POLLIN};
    r->orders[slot - FD_CLIENT].len = 0;
    state_line(r, r->told);
    state_send(r, slot);
}

static void order_run(struct replica *r, const char *line)
{
    if (strcmp(line, "kill") == 0) {
        all_end(r);
    } else if (strncmp(line, "stop ", 5) == 0 && line[5] >= '0' && line[5] <= '9') {
        stop(r, strtoull(line + 5, NULL, 10));
    }
}

static void client_read(struct replica *r, int slot)
{
    struct order *o = &r->orders[slot - FD_CLIENT];
    char *end;
    ssize_t n = recv(r->fds[slot].fd, o->text + o->len, sizeof o->text - o->len, MSG_DONTWAIT);

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            client_close(r, slot);
        }
        return;
    }
    o->len += (size_t)n;
    while ((end = memchr(o->text, '\n', o->len)) != NULL) {
        size_t used = (size_t)(end - o->text) + 1;
        *end = '\0';
        order_run(r, o->text);
        memmove(o->text, o->text + used, o->len - used);
        o->len -= used;
    }
    if (o->len == sizeof o->text) {
        client_close(r, slot); // no order is that long
    }
    state_tell(r);
}

static void deadlines_run(struct replica *r)
{
    uint64_t now = now_ms();

    if (r->proxy_retry_ms && now >= r->proxy_retry_ms && r->phase < PHASE_DRAINING) {
        proxy_start(r);
        state_tell(r);
    }
    if (r->deadline_ms == 0 || now < r->deadline_ms) {
        return;
    }
    if (r->phase == PHASE_BACKOFF) {
        function_start(r);
    } else if (r->phase == PHASE_DRAINING) {
        function_terminate(r);
    } else if (r->phase == PHASE_TERMINATING) {
        all_end(r);
    }
    state_tell(r);
}

static int poll_timeout(const struct replica *r)
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

static void run(struct replica *r)
{
    while (r->phase != PHASE_ENDED) {
        if (poll(r->fds, FD_COUNT, poll_timeout(r)) < 0 && errno != EINTR) {
            break;
        }
        if (r->fds[FD_LIFELINE].revents) { // only ever end of file: nobody writes to it
            break;
        }
        if (r->fds[FD_NOTIFY].revents) {
            notify_read(r);
        }
        if (r->fds[FD_OUT].revents) {
            output_copy(r->fds[FD_OUT].fd, &r->log, 1);
        }
        if (r->fds[FD_PROXY_OUT].revents) {
            output_copy(r->fds[FD_PROXY_OUT].fd, &r->proxy_log, 1);
        }
        if (r->fds[FD_SIGNAL].revents) {
            children_reap(r);
        }
        for (int slot = FD_CLIENT; slot < FD_COUNT; slot++) {
            if (r->fds[slot].fd >= 0 && r->fds[slot].revents) {
                client_read(r, slot);
            }
        }
        if (r->fds[FD_CTL].revents) {
            client_accept(r);
        }
        deadlines_run(r);
    }
    all_end(r);
    output_drain(r);
    state_tell(r);
    unlink(r->spec.notify_path);
}

// ---- set-up

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "lull-replica: %s: %s\n", what, detail);
    exit(1);
}

static int notify_bound(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        fail(path, "longer than a unix socket's path may be");
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    mode_t mask = umask(0177);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail(path, strerror(errno));
    }
    umask(mask);
    return fd;
}

static int ctl_inherited(void)
{
    int listening = 0;
    socklen_t len = sizeof listening;

    if (getsockopt(REPLICA_CTL_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 ||
        !listening) {
        fail("descriptor 3", "is not a listening socket");
    }
    fcntl(REPLICA_CTL_FD, F_SETFD, FD_CLOEXEC);
    fcntl(REPLICA_CTL_FD, F_SETFL, O_NONBLOCK);
    return REPLICA_CTL_FD;
}

static int pipe_made(int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        fail("pipe", strerror(errno));
    }
    fcntl(ends[0], F_SETFL,
          O_NONBLOCK); // the write end stays blocking: it is the function's stdout
    *write_end = ends[1];
    return ends[0];
}

static int signals_fd(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void spec_read(struct replica_spec *spec, const char *path)
{
    static char text[REPLICA_MAX_SPEC];
    size_t len = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && len < sizeof text && (n = read(fd, text + len, sizeof text - len)) > 0) {
        len += (size_t)n;
    }
    if (fd < 0 || n < 0) {
        fail(path, strerror(errno));
    }
    close(fd);
    const char *wrong = len == sizeof text ? "too long" : replica_spec_parse(spec, text, len);
    if (wrong) {
        fail("specification refused", wrong);
    }
}

int main(int argc, char **argv)
{
    static struct replica r;
    const char *lifeline = getenv("LULL_LIFELINE_FD");

    if (argc != 2) {
        fail("usage", "lull-replica SPEC-FILE");
    }
    spec_read(&r.spec, argv[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (int i = 0; i < FD_COUNT; i++) {
        r.fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    r.fds[FD_SIGNAL].fd = signals_fd();
    if (lifeline) {
        r.fds[FD_LIFELINE].fd = (int)strtol(lifeline, NULL, 10);
        fcntl(r.fds[FD_LIFELINE].fd, F_SETFD, FD_CLOEXEC);
    }
    r.fds[FD_OUT].fd = pipe_made(&r.out_write);
    r.fds[FD_PROXY_OUT].fd = pipe_made(&r.proxy_out_write);
    r.fds[FD_NOTIFY].fd = notify_bound(r.spec.notify_path);
    r.delay_ms = r.spec.backoff_ms;
    r.fds[FD_CTL].fd = ctl_inherited();
    // Side by side; the queue-proxy has the longer way to go before it is ready: it goes first.
    struct replica_start proxy, function;
    proxy_begin(&r, &proxy);
    function_begin(&r, &function);
    proxy_end(&r, &proxy);
    function_end(&r, &function);
    // What they write meanwhile waits in the pipes; making files is not worth their time.
    int rc = replica_log_open(&r.log, r.spec.log_path, r.spec.log_max_bytes);
    rc = rc ? rc : replica_log_open(&r.proxy_log, r.spec.proxy_log_path, r.spec.log_max_bytes);
    if (rc) {
        fail("cannot open the log", strerror(-rc));
    }
    run(&r);
    return 0;
}
