// SPDX-License-Identifier: Apache-2.0
//
// Happy path: bind the readiness socket, open the log, spawn; READY=1 arrives; the process runs
// until part_stop. It ends by itself: restarted after a back-off that is reset once it has run for
// a while.
#include "cli/part.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "loop/lifeline.h"
#include "loop/notify.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define STABLE_MS      10000
#define LOG_MAX_BYTES  (8 << 20)
#define TAIL_BYTES     600
#define LIFELINE_FD    3

void part_init(struct part *p, const char *name, char *program, struct loop *loop, const char *home,
               int lifeline_fd, part_cb cb, void *data)
{
    *p = (struct part){.name = name,
                       .program = program,
                       .loop = loop,
                       .home = home,
                       .lifeline_fd = lifeline_fd,
                       .cb = cb,
                       .data = data,
                       .notify_fd = -1,
                       .log_fd = -1};
    p->argc = program == NULL ? 0 : 1;
    p->argv[0] = program;
    backoff_init(&p->backoff, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
}

void part_arg(struct part *p, const char *flag, const char *fmt, ...)
{
    va_list ap;
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, 8192);
    va_start(ap, fmt);
    strbuf_vappendf(&text, fmt, ap);
    va_end(ap);
    REQUIRE(p->argc + 2 < PART_MAX_ARGS && strbuf_ok(&text));
    p->argv[p->argc++] = xstrdup(flag);
    p->argv[p->argc++] = strbuf_take(&text, NULL);
}

void part_program(struct part *p, char *program)
{
    while (p->argc > 0) {
        free(p->argv[--p->argc]);
        p->argv[p->argc] = NULL;
    }
    while (p->envc > 0) {
        free(p->env[--p->envc]);
    }
    p->program = program;
    p->argv[p->argc++] = program;
}

bool part_started(const struct part *p)
{
    return p->log_fd >= 0;
}

void part_env(struct part *p, const char *name, const char *fmt, ...)
{
    va_list ap;
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, 8192);
    strbuf_appendf(&text, "%s=", name);
    va_start(ap, fmt);
    strbuf_vappendf(&text, fmt, ap);
    va_end(ap);
    REQUIRE(p->envc < PART_MAX_ENV && strbuf_ok(&text));
    p->env[p->envc++] = strbuf_take(&text, NULL);
}

static char *part_path(const struct part *p, const char *folder, const char *suffix)
{
    bool ours = strncmp(p->name, "lull-", strlen("lull-")) == 0;
    return xasprintf("%s/%s/%s%s", p->home, folder, p->name + (ours ? strlen("lull-") : 0), suffix);
}

static int notify_open(struct part *p, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(cleanup_free) char *path = part_path(p, "run", ".notify.sock");

    if (strlen(path) >= sizeof address.sun_path) {
        return error_set(err, ERR_TOO_BIG,
                         "%s is longer than a unix socket's path may be; set LULL_HOME to a "
                         "shorter folder",
                         path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    p->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->notify_fd < 0 || bind(p->notify_fd, (struct sockaddr *)&address, sizeof address) != 0) {
        return error_from_errno(err, errno, "cannot listen on %s", path);
    }
    return 0;
}

static void on_notify(uv_poll_t *poll, int status, int events)
{
    struct part *p = poll->data;
    char text[ERROR_MSG_MAX + sizeof NOTIFY_STATUS];
    ssize_t n;

    (void)status;
    (void)events;
    while ((n = recv(p->notify_fd, text, sizeof text - 1, 0)) > 0) {
        text[n] = '\0';
        if (strncmp(text, NOTIFY_READY, strlen(NOTIFY_READY)) == 0 && p->running && !p->ready) {
            p->ready = true;
            p->cb(p, PART_READY);
        } else if (strcmp(text, NOTIFY_BROKER) == 0 && p->running) {
            p->cb(p, PART_ASKS);
        } else if (strncmp(text, NOTIFY_STATUS, strlen(NOTIFY_STATUS)) == 0 && p->running) {
            (void)slice_copy(slice_str(text + strlen(NOTIFY_STATUS)), p->status, sizeof p->status);
            p->cb(p, PART_STATUS);
        }
    }
}

static int prepare(struct part *p, struct error *err)
{
    CLEANUP(cleanup_free) char *log = part_path(p, "logs", ".log");

    if (p->notify_fd >= 0) {
        return 0; // a restart
    }
    int rc = notify_open(p, err);
    if (rc < 0) {
        return rc;
    }
    p->log_fd = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (p->log_fd < 0) {
        return error_from_errno(err, errno, "cannot open %s", log);
    }
    rc = uv_poll_init(&p->loop->uv, &p->notify, p->notify_fd);
    p->notify.data = p;
    rc = rc ? rc : uv_poll_start(&p->notify, UV_READABLE, on_notify);
    return rc ? error_from_uv(err, rc, "readiness socket") : 0;
}

// Ours without what would lead the part astray, and with the two variables of ARCHITECTURE.md.
static char **environment_new(const struct part *p)
{
    size_t count = 0, n = 0;

    while (environ[count]) {
        count++;
    }
    char **env = xcalloc(count + 3 + p->envc, sizeof *env);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "KUBECONFIG=", 11) != 0 &&
            strncmp(environ[i], NOTIFY_ENV "=", strlen(NOTIFY_ENV "=")) != 0 &&
            strncmp(environ[i], LIFELINE_ENV "=", strlen(LIFELINE_ENV "=")) != 0 &&
            strncmp(environ[i], "LULL_REDIS", 10) != 0 && strncmp(environ[i], "LULL_UP_", 8) != 0) {
            env[n++] = xstrdup(environ[i]);
        }
    }
    CLEANUP(cleanup_free) char *socket = part_path(p, "run", ".notify.sock");
    env[n++] = xasprintf(NOTIFY_ENV "=%s", socket);
    env[n++] = xasprintf(LIFELINE_ENV "=%d", LIFELINE_FD);
    for (unsigned i = 0; i < p->envc; i++) {
        env[n++] = xstrdup(p->env[i]);
    }
    return env;
}

static void environment_free(char **env)
{
    for (size_t i = 0; env[i]; i++) {
        free(env[i]);
    }
    free(env);
}

static void on_exit_cb(struct process *process, int status, int signum);

static int spawn(struct part *p, struct error *err)
{
    int fds[] = {-1, p->log_fd, p->log_fd, p->lifeline_fd};
    char **env = environment_new(p);
    struct process_options o = {
        .file = p->program, .argv = p->argv, .env = env, .fds = fds, .fd_count = ARRAY_LEN(fds)};

    p->ready = false;
    p->started_ms = loop_now_fresh_ns(p->loop) / 1000000;
    int rc = process_start(&p->process, p->loop, &o, on_exit_cb, p, err);
    p->running = rc == 0;
    p->ready = p->running && p->ready_at_start;
    environment_free(env);
    return rc;
}

static void stopped(struct part *p)
{
    p->cb(p, PART_STOPPED);
}

static void on_process_closed(struct process *process)
{
    struct part *p = process->data;

    if (p->stopping) {
        stopped(p);
        return;
    }
    if (loop_now_ms(p->loop) - p->started_ms > STABLE_MS) {
        backoff_reset(&p->backoff);
    }
    timer_start(&p->restart, backoff_next_ms(&p->backoff));
}

static void on_exit_cb(struct process *process, int status, int signum)
{
    struct part *p = process->data;

    p->running = false;
    p->ready = false;
    snprintf(p->end, sizeof p->end, signum ? "signal %d" : "exit status %d",
             signum ? signum : status);
    process_close(process, on_process_closed);
    if (!p->stopping) {
        p->cb(p, PART_ENDED);
    }
}

static void on_restart(struct timer *timer)
{
    struct part *p = timer->data;
    struct error err;

    if (p->stopping) {
        stopped(p);
        return;
    }
    p->restarts++;
    if (spawn(p, &err) < 0) {
        LOG_ERROR("cannot start a part again", LOG_STR("part", p->name), LOG_ERR(&err));
        process_close(&p->process, on_process_closed);
    } else if (p->ready) { // it will not say so
        p->cb(p, PART_READY);
    }
}

int part_start(struct part *p, struct error *err)
{
    timer_init(&p->restart, p->loop, on_restart, p);
    int rc = prepare(p, err);
    return rc ? rc : spawn(p, err);
}

void part_stop(struct part *p, bool kill)
{
    bool first = !p->stopping;

    p->stopping = true;
    if (p->running) {
        (void)!process_kill(&p->process, kill ? SIGKILL : SIGTERM, false, NULL);
    } else if (first && p->notify_fd < 0) {
        stopped(p); // never started
    } else if (first && timer_active(&p->restart)) {
        timer_start(&p->restart, 0);
    }
}

pid_t part_pid(const struct part *p)
{
    return p->running ? process_pid(&p->process) : 0;
}

char *part_log_tail(const struct part *p)
{
    char text[TAIL_BYTES + 1];
    struct stat st;
    off_t size = fstat(p->log_fd, &st) == 0 ? st.st_size : 0;
    ssize_t n = pread(p->log_fd, text, TAIL_BYTES, size > TAIL_BYTES ? size - TAIL_BYTES : 0);

    text[n > 0 ? n : 0] = '\0';
    for (; n > 0 && text[n - 1] == '\n'; n--) {
        text[n - 1] = '\0';
    }
    char *line = strrchr(text, '\n');
    return xstrdup(line ? line + 1 : text);
}

// The part holds the descriptor, so the file is cut in place after its content went to `.1`.
void part_log_trim(struct part *p)
{
    struct stat st;
    char buf[65536];
    ssize_t n;
    off_t at = 0;

    if (p->log_fd < 0 || fstat(p->log_fd, &st) != 0 || st.st_size < LOG_MAX_BYTES) {
        return;
    }
    CLEANUP(cleanup_free) char *path = part_path(p, "logs", ".log.1");
    CLEANUP(cleanup_close) int old = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (old >= 0 && (n = pread(p->log_fd, buf, sizeof buf, at)) > 0 &&
           write(old, buf, (size_t)n) == n) {
        at += n;
    }
    (void)!ftruncate(p->log_fd, 0);
}
