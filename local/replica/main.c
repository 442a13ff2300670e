// SPDX-License-Identifier: Apache-2.0
//
// lull-replica SPEC-FILE: owns one replica (replica.h).
//
// Happy path: read the specification, listen on the control and readiness sockets, begin the life
// of function and queue-proxy (life.c), and turn what comes on a descriptor into a step of it until
// it has ended. Failure modes:
//   specification or sockets are no good   -> a sentence on stderr, exit 1
//   agent goes away                        -> nothing happens; the next one connects
//   lifeline closes                        -> SIGKILL to all, exit
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "local/replica/life.h"

static void run(struct replica *r)
{
    while (r->phase != PHASE_ENDED) {
        if (poll(r->fds, FD_COUNT, life_timeout(r)) < 0 && errno != EINTR) {
            break;
        }
        if (r->fds[FD_LIFELINE].revents) { // only ever end of file: nobody writes to it
            break;
        }
        if (r->fds[FD_NOTIFY].revents) {
            life_notified(r);
        }
        if (r->fds[FD_OUT].revents) {
            replica_log_copy(&r->log, r->fds[FD_OUT].fd, 1);
        }
        if (r->fds[FD_PROXY_OUT].revents) {
            replica_log_copy(&r->proxy_log, r->fds[FD_PROXY_OUT].fd, 1);
        }
        if (r->fds[FD_SIGNAL].revents) {
            life_reap(r);
        }
        for (int slot = FD_CLIENT; slot < FD_COUNT; slot++) {
            if (r->fds[slot].fd >= 0 && r->fds[slot].revents) {
                control_read(r, slot);
            }
        }
        if (r->fds[FD_CTL].revents) {
            control_accept(r);
        }
        life_due(r);
    }
    life_kill(r);
    replica_log_copy(&r->log, r->fds[FD_OUT].fd, REPLICA_LOG_REST);
    control_tell(r);
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
    life_begin(&r);
    // What they write meanwhile waits in the pipes; making files is not worth their time.
    int rc = replica_log_open(&r.log, r.spec.log_path, r.spec.log_max_bytes);
    rc = rc ? rc : replica_log_open(&r.proxy_log, r.spec.proxy_log_path, r.spec.log_max_bytes);
    if (rc) {
        fail("cannot open the log", strerror(-rc));
    }
    run(&r);
    return 0;
}
