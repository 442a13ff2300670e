// SPDX-License-Identifier: Apache-2.0
//
// Start: lock, folders, ports, programs; lull-local; READY; controller, autoscaler, activator;
// READY: up.json is written and the caller told. Failure before that: everything is stopped and the
// reason told. Afterwards a part that ends is started again. Stop: activator (it drains),
// controller and autoscaler, lull-local, then the lifeline is closed, which ends the replicas; the
// last of them is waited for.
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/signals.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "cli/broker_parts.h"
#include "cli/leftovers.h"
#include "cli/part.h"
#include "cli/port.h"
#include "cli/program.h"
#include "cli/runtime_dir.h"

#define START_MS   30000 // until every part is ready
#define STAGE_MS   15000 // for one stage of the stop
#define LAST_MS    3000  // for the replicas, once the lifeline is closed
#define TRIM_MS    10000
#define LEFT_MS    5000 // for what an earlier Lull, that was killed, left running
#define LOCK_TRIES 20

// Those from CORE on are started when somebody needs them (cli/broker_parts.h).
enum { LOCAL, CONTROLLER, AUTOSCALER, ACTIVATOR, CORE, REDIS = CORE, BROKER, PARTS };
static const char *const NAMES[PARTS] = {"lull-local",     "lull-controller", "lull-autoscaler",
                                         "lull-activator", "redis-server",    "lull-broker"};
// Which parts each stage of the stop ends, first to last.
static const unsigned STAGES[] = {1u << BROKER, 1u << ACTIVATOR,
                                  1u << CONTROLLER | 1u << AUTOSCALER | 1u << REDIS, 1u << LOCAL};

struct supervisor {
    struct cli *cli;
    const struct up_options *options;
    int ready_fd, lock_fd;
    int lifeline[2]; // [1] is closed last
    unsigned ports[4];
    char *libexec;
    struct part parts[PARTS];
    struct broker_parts broker;
    struct signals signals;
    uv_signal_t child;
    struct timer deadline, trim;
    int64_t started_ns;
    bool told;  // ready or failed
    int stage;  // -1: running
    bool ended; // all parts have stopped
    int status;
};

// ---- telling

static void tell(struct supervisor *s, const char *text)
{
    if (s->told) {
        return;
    }
    s->told = true;
    if (s->ready_fd >= 0) {
        (void)!write(s->ready_fd, text, strlen(text));
        close(s->ready_fd);
    }
}

static void up_json_write(struct supervisor *s)
{
    char at[CLOCK_RFC3339_MAX];
    struct error err;
    CLEANUP(cleanup_free) char *path = fs_join(s->cli->home, "up.json");
    json_t *parts = json_array();

    for (int i = 0; i < PARTS; i++) {
        const struct part *p = &s->parts[i];
        if (i >= CORE && !part_started(p)) {
            continue;
        }
        json_array_append_new(parts, json_pack("{s:s, s:i, s:b, s:i}", "name", p->name, "pid",
                                               (int)part_pid(p), "ready", p->ready, "restarts",
                                               (int)p->restarts));
    }
    json_t *up = json_pack("{s:i, s:s, s:i, s:i, s:i, s:o}", "pid", (int)getpid(), "startedAt",
                           clock_format_rfc3339(s->started_ns, 0, at, sizeof at), "publicPort",
                           (int)s->ports[0], "localPort", (int)s->ports[1], "apiPort",
                           (int)s->ports[2], "parts", parts);
    if (s->ports[3] != 0) {
        json_object_set_new(up, "tlsPort", json_integer(s->ports[3]));
    }
    CLEANUP(cleanup_free) char *text = jdump_str(up);
    json_decref(up);
    if (fs_write_atomic(path, slice_str(text), 0600, &err) < 0) {
        LOG_WARN("cannot write up.json", LOG_ERR(&err));
    }
}

// ---- stop

static void stage_begin(struct supervisor *s);

static bool stage_over(const struct supervisor *s)
{
    for (int i = 0; i < PARTS; i++) {
        if (STAGES[s->stage] & (1u << i) && s->parts[i].running) {
            return false;
        }
    }
    return true;
}

static void stage_check(struct supervisor *s)
{
    while (s->stage >= 0 && !s->ended && stage_over(s)) {
        if ((size_t)++s->stage == ARRAY_LEN(STAGES)) {
            s->ended = true;
        } else {
            stage_begin(s);
        }
    }
}

static void stage_begin(struct supervisor *s)
{
    unsigned parts = STAGES[s->stage];

    // The last part_stop may begin the next stage, or end it all.
    timer_start(&s->deadline, STAGE_MS);
    for (int i = 0; i < PARTS; i++) {
        if (parts & (1u << i)) {
            part_stop(&s->parts[i], false);
        }
    }
}

static void stop(struct supervisor *s, int status)
{
    if (s->stage >= 0) {
        return;
    }
    s->status = status;
    s->stage = 0;
    stage_begin(s);
    stage_check(s);
}

static void kill_all(struct supervisor *s)
{
    for (int i = 0; i < PARTS; i++) {
        part_stop(&s->parts[i], true);
    }
}

static void start_failed(struct supervisor *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void start_failed(struct supervisor *s, const char *fmt, ...)
{
    va_list ap;
    char text[1024];

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (s->ready_fd < 0) {
        fprintf(stderr, "lull: %s\n", text);
    }
    tell(s, text);
    stop(s, 1);
}

// ---- events

static void on_deadline(struct timer *timer)
{
    struct supervisor *s = timer->data;

    if (s->stage >= 0) {
        LOG_WARN("a part does not end; killing it");
        kill_all(s);
        return;
    }
    for (int i = 0; i < CORE; i++) {
        if (!s->parts[i].ready) {
            CLEANUP(cleanup_free) char *line = part_log_tail(&s->parts[i]);
            start_failed(s, "%s is not ready after %d s: %s", NAMES[i], START_MS / 1000, line);
            return;
        }
    }
}

static bool all_ready(const struct supervisor *s)
{
    for (int i = 0; i < CORE; i++) {
        if (!s->parts[i].ready) {
            return false;
        }
    }
    return true;
}

static void others_start(struct supervisor *s)
{
    struct error err;

    for (int i = CONTROLLER; i < CORE; i++) {
        if (part_start(&s->parts[i], &err) < 0) {
            start_failed(s, "%s", err.msg);
            return;
        }
    }
}

static void on_part(struct part *p, enum part_event event)
{
    struct supervisor *s = p->data;

    if (event == PART_ASKS) {
        if (s->stage < 0) {
            broker_parts_want(&s->broker, p == &s->parts[ACTIVATOR]);
        }
    } else if (event == PART_READY) {
        LOG_INFO("ready", LOG_STR("part", p->name), LOG_INT("pid", part_pid(p)));
        if (p == &s->parts[LOCAL] && s->parts[CONTROLLER].notify_fd < 0 && s->stage < 0) {
            others_start(s);
        }
    } else if (event == PART_ENDED && s->stage < 0) {
        CLEANUP(cleanup_free) char *line = part_log_tail(p);
        LOG_WARN("a part ended", LOG_STR("part", p->name), LOG_STR("how", p->end),
                 LOG_STR("last line", line));
        if (!s->told && p < &s->parts[CORE]) {
            start_failed(s, "%s ended at its start (%s): %s", p->name, p->end, line);
        }
    }
    if (s->stage < 0) {
        if (p >= &s->parts[CORE]) {
            broker_parts_event(&s->broker, p, event);
        }
        up_json_write(s);
    }
    if (!s->told && all_ready(s)) {
        timer_stop(&s->deadline);
        tell(s, "ready\n");
        if (s->stage < 0 && broker_parts_kept(&s->broker)) {
            broker_parts_want(&s->broker, false);
        }
    }
    stage_check(s);
}

static void on_signal(struct signals *signals, int signum)
{
    struct supervisor *s = signals->data;

    (void)signum;
    if (s->stage >= 0) {
        kill_all(s); // asked twice
    }
    tell(s, "it was told to stop");
    stop(s, 0);
}

// Orphans (replicas whose agent died) are ours to reap; the parts are libuv's.
static void on_child(uv_signal_t *handle, int signum)
{
    struct supervisor *s = handle->data;
    siginfo_t info;

    (void)signum;
    for (;;) {
        bool part = false;
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) {
            return;
        }
        for (int i = 0; i < PARTS; i++) {
            part |= part_pid(&s->parts[i]) == info.si_pid;
        }
        if (part) {
            return; // libuv reaps it in this turn; another signal or the end comes for the rest
        }
        waitpid(info.si_pid, NULL, WNOHANG);
    }
}

static void on_trim(struct timer *timer)
{
    struct supervisor *s = timer->data;
    for (int i = 0; i < PARTS; i++) {
        part_log_trim(&s->parts[i]);
    }
}

// ---- set-up

static int folders_make(const char *home, struct error *err)
{
    static const struct {
        const char *name;
        mode_t mode;
    } FOLDERS[] = {{"", 0711}, {"/run", 0700}, {"/logs", 0700}, {"/bundles", 0755}};

    for (size_t i = 0; i < ARRAY_LEN(FOLDERS); i++) {
        CLEANUP(cleanup_free) char *path = xasprintf("%s%s", home, FOLDERS[i].name);
        int rc = fs_mkdir_p(path, FOLDERS[i].mode, err);
        if (rc < 0) {
            return error_prefix(err, rc,
                                "state directory (set LULL_HOME to one that can be written)");
        }
        if (chmod(path, FOLDERS[i].mode) != 0) {
            return error_from_errno(
                err, errno, "state directory %s is not ours (set LULL_HOME to another)", path);
        }
    }
    return 0;
}

static int lock_take(struct supervisor *s, struct error *err)
{
    CLEANUP(cleanup_free) char *path = fs_join(s->cli->home, "up.lock");
    int rc = fs_lock(path, &s->lock_fd, err);

    // One that was just killed, or who only looks whether Lull runs, holds it for a moment.
    for (int again = 0; rc == ERR_IN_USE && again < LOCK_TRIES; again++) {
        cli_pause(s->cli, 10);
        rc = fs_lock(path, &s->lock_fd, err);
    }
    if (rc == ERR_IN_USE) {
        return error_prefix(err, rc, "Lull runs already on %s (`lull status`, `lull down`)",
                            s->cli->home);
    }
    return rc;
}

static int ports_check(struct supervisor *s, struct error *err)
{
    const struct up_options *o = s->options;
    const struct {
        int64_t wanted; /* -1: none */
        const char *flag;
    } rows[] = {{o->port, "--public-port"},
                {o->local_port, "--local-port"},
                {o->api_port, "--api-port"},
                {o->tls_port, "--tls-port"}};
    int held[ARRAY_LEN(rows)] = {-1, -1, -1, -1};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rows); i++) {
        if (rows[i].wanted >= 0) {
            s->ports[i] = (unsigned)rows[i].wanted;
            rc = port_hold(&s->ports[i], rows[i].flag, &held[i], err);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_close(&held[i]);
    }
    return rc;
}

// lull-local looks for its helpers in one folder, wherever they are.
static int libexec_make(struct supervisor *s, struct error *err)
{
    static const char *const HELPERS[] = {"lull-replica", "lull-queue-proxy"};

    s->libexec = fs_join(s->cli->home, "libexec");
    int rc = fs_mkdir_p(s->libexec, 0711, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(HELPERS); i++) {
        CLEANUP(cleanup_free) char *program = program_find(HELPERS[i], err);
        CLEANUP(cleanup_free) char *link = fs_join(s->libexec, HELPERS[i]);
        if (!program) {
            return ERR_NOT_FOUND;
        }
        CLEANUP(cleanup_free) char *real = realpath(program, NULL);
        unlink(link);
        if (!real || symlink(real, link) != 0) {
            rc = error_from_errno(err, errno, "cannot make %s", link);
        }
    }
    return rc;
}

static void args_add(struct supervisor *s)
{
    const char *home = s->cli->home;
    struct part *local = &s->parts[LOCAL], *activator = &s->parts[ACTIVATOR];
    struct part *autoscaler = &s->parts[AUTOSCALER];

    for (int i = 0; i < CORE; i++) {
        part_arg(&s->parts[i], "--admin-listen", "unix:%s/run/%s.admin.sock", home,
                 NAMES[i] + strlen("lull-"));
        if (i != LOCAL) {
            part_arg(&s->parts[i], "--kubeconfig", "%s/kubeconfig", home);
        }
    }
    part_arg(local, "--home", "%s", home);
    part_arg(local, "--libexec", "%s", s->libexec);
    part_arg(local, "--api-listen", "127.0.0.1:%u", s->ports[2]);
    part_arg(local, "--public-port", "%u", s->ports[0]);
    part_arg(local, "--local-port", "%u", s->ports[1]);
    part_arg(local, "--max-replicas", "%lld", (long long)s->options->max_replicas);
    part_arg(local, "--max-memory", "%llu", (unsigned long long)s->options->max_memory);
    part_arg(activator, "--public-listen", "127.0.0.1:%u", s->ports[0]);
    part_arg(activator, "--local-listen", "127.0.0.1:%u", s->ports[1]);
    part_arg(activator, "--autoscaler", "unix:%s/run/autoscaler.sock", home);
    part_arg(activator, "--pod-address", "unix");
    // A new activator speaks for the one before it: the autoscaler need not wait for both.
    part_arg(activator, "--name", "activator");
    if (s->ports[3] != 0) {
        part_arg(local, "--tls-port", "%u", s->ports[3]);
        part_arg(activator, "--tls-listen", "127.0.0.1:%u", s->ports[3]);
        part_arg(&s->parts[CONTROLLER], "--certificate-namespace", SYSTEM_NAMESPACE);
    }
    part_arg(autoscaler, "--link-listen", "unix:%s/run/autoscaler.sock", home);
    part_arg(autoscaler, "--pod-address", "unix");
    part_arg(autoscaler, "--traffic-log", "%s/traffic.log", home);
    part_arg(&s->parts[CONTROLLER], "--broker-state", "%s/run/broker.json", home);
    part_arg(activator, "--broker-state", "%s/run/broker.json", home);
}

static void broker_init(struct supervisor *s)
{
    const struct up_options *o = s->options;
    for (int i = CORE; i < PARTS; i++) {
        part_init(&s->parts[i], NAMES[i], NULL, &s->cli->loop, s->cli->home, s->lifeline[0],
                  on_part, s);
    }
    s->parts[REDIS].ready_at_start = true;
    s->broker = (struct broker_parts){
        .home = s->cli->home,
        .redis = o->redis,
        .store = {.home = s->cli->home,
                  .fsync = o->events_fsync == UP_FSYNC_ALWAYS ? "always" : "everysec",
                  .memory = o->events_memory},
        .port = o->broker_port,
        .local_port = s->ports[1],
        .api_port = s->ports[2],
        .redis_part = &s->parts[REDIS],
        .broker_part = &s->parts[BROKER]};
    broker_parts_init(&s->broker);
}

static int prepare(struct supervisor *s, struct error *err)
{
    int rc = folders_make(s->cli->home, err);
    rc = rc ? rc : lock_take(s, err);
    if (rc == 0) {
        if (!leftovers_wait(s->cli, LEFT_MS)) {
            LOG_WARN("processes of an earlier Lull do not end");
        }
        leftovers_remove(s->cli->home);
    }
    rc = rc ? rc : runtime_dir_make(s->cli->home, err);
    rc = rc ? rc : ports_check(s, err);
    rc = rc ? rc : libexec_make(s, err);
    if (rc == 0 && pipe2(s->lifeline, O_CLOEXEC) != 0) {
        rc = error_from_errno(err, errno, "pipe");
    }
    for (int i = 0; rc == 0 && i < CORE; i++) {
        char *program = program_find(NAMES[i], err);
        if (!program) {
            return ERR_NOT_FOUND;
        }
        part_init(&s->parts[i], NAMES[i], program, &s->cli->loop, s->cli->home, s->lifeline[0],
                  on_part, s);
    }
    if (rc == 0) {
        args_add(s);
        broker_init(s);
    }
    return rc;
}

static void run(struct supervisor *s)
{
    struct loop *loop = &s->cli->loop;
    struct error err;

    s->started_ns = clock_wall_ns();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    timer_init(&s->deadline, loop, on_deadline, s);
    timer_init(&s->trim, loop, on_trim, s);
    timer_start(&s->deadline, START_MS);
    timer_start_every(&s->trim, TRIM_MS);
    int rc = uv_signal_init(&loop->uv, &s->child);
    s->child.data = s;
    REQUIRE(rc == 0 && uv_signal_start(&s->child, on_child, SIGCHLD) == 0);
    rc = signals_start(&s->signals, loop, on_signal, s, &err);
    rc = rc ? rc : part_start(&s->parts[LOCAL], &err);
    if (rc < 0) {
        start_failed(s, "%s", err.msg);
    }
    while (!s->ended) {
        loop_turn(loop, true);
    }
}

// The replicas end with the lifeline; wait for the last of them, then end what is still there: a
// replica that was stopped, a daemon of one that was killed.
static void replicas_end(struct supervisor *s)
{
    uint64_t end = clock_mono_ms() + LAST_MS;
    int status;
    pid_t pid;

    close(s->lifeline[1]);
    while ((pid = waitpid(-1, &status, WNOHANG)) >= 0 && clock_mono_ms() < end) {
        if (pid == 0) {
            cli_pause(s->cli, 5);
        }
    }
    leftovers_kill(s->cli, LAST_MS);
    leftovers_remove(s->cli->home);
    runtime_dir_remove(s->cli->home);
}

int supervisor_run(struct cli *cli, const struct up_options *options, int ready_fd)
{
    struct supervisor s = {.cli = cli,
                           .options = options,
                           .ready_fd = ready_fd,
                           .lock_fd = -1,
                           .lifeline = {-1, -1},
                           .stage = -1};
    struct error err;

    int rc = prepare(&s, &err);
    if (rc < 0) {
        tell(&s, err.msg);
        return ready_fd < 0 ? cli_fail(&err) : 1;
    }
    run(&s);
    replicas_end(&s);
    LOG_INFO("ended");
    return s.status;
}
