// SPDX-License-Identifier: Apache-2.0
//
// lull up: the supervisor in the foreground, or, with --detach, the same command started again in a
// session of its own; its readiness, or the reason against it, comes back through a pipe.
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "cli/cli.h"
#include "cli/home.h"
#include "cli/supervisor.h"

#define READY_FD_ENV "LULL_UP_READY_FD"

static const struct option_row ROWS[] = {
    OPTION(struct up_options, port, INT, "LULL_PUBLIC_PORT", "public-port", "8080", .min = 0,
           .max = 65535, .help = "public port on 127.0.0.1; 0: any free one"),
    OPTION(struct up_options, local_port, INT, "LULL_LOCAL_PORT", "local-port", "8081", .min = 0,
           .max = 65535, .help = "cluster-local port on 127.0.0.1; 0: any free one"),
    OPTION(struct up_options, api_port, INT, "LULL_API_PORT", "api-port", "8070", .min = 0,
           .max = 65535, .help = "port of the API on 127.0.0.1; 0: any free one"),
    OPTION(struct up_options, tls_port, INT, "LULL_TLS_PORT", "tls-port", "-1", .min = -1,
           .max = 65535,
           .help = "public port on 127.0.0.1 that speaks TLS; 0: any free one, -1: none"),
    OPTION(struct up_options, max_replicas, INT, "LULL_MAX_REPLICAS", "max-replicas", "1000",
           .min = 1, .max = 2500, .help = "replicas that run at once; more wait as Pending"),
    OPTION(struct up_options, max_memory, BYTES, "LULL_MAX_MEMORY", "max-memory", "0",
           .help = "sum of the replicas' memory requests; 0: no bound"),
    OPTION(struct up_options, broker_port, INT, "LULL_BROKER_PORT", "broker-port", "-1", .min = -1,
           .max = 65535,
           .help = "port on 127.0.0.1 that takes events, once a Broker, a source or an "
                   "asynchronous call needs it; 0: any free one, -1: 8085 if that is free"),
    OPTION(struct up_options, redis, STRING, "LULL_REDIS", "redis", "", .secret = true,
           .help = "URL of the Redis that keeps events; empty: a redis-server of its own in the "
                   "state directory"),
    OPTION(struct up_options, events_fsync, CHOICE, "LULL_EVENTS_FSYNC", "events-fsync", "always",
           .choices = "always|everysec",
           .help = "when its own redis-server brings events to the disk: before it takes them, or "
                   "once a second (a power failure may then lose the last second)"),
    OPTION(struct up_options, events_memory, BYTES, "LULL_EVENTS_MEMORY", "events-memory", "0",
           .help = "memory of its own redis-server, beyond which events are answered 429; 0: a "
                   "quarter of the machine's or cgroup's"),
    OPTION(struct up_options, detach, BOOL, NULL, "detach", "false",
           .help = "go to the background once everything is ready"),
    CLI_OUTPUT_ROW(struct up_options),
};
static const struct option_table TABLE = {.program = "lull up",
                                          .summary = "starts Lull on this machine",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

static void banner(struct cli *cli, bool json)
{
    json_t *up = NULL;

    if (home_read_up(cli->home, &up, NULL) < 0) {
        return;
    }
    if (json) {
        cli_print_json(up);
        json_decref(up);
        return;
    }
    printf("Lull is up (process %lld, state in %s)\n", (long long)jpeek_i64(up, "pid"), cli->home);
    printf("  functions  http://NAME.NAMESPACE.localhost:%lld\n",
           (long long)jpeek_i64(up, "publicPort"));
    if (jpeek_i64(up, "tlsPort") > 0) {
        printf("             https://NAME.default.localhost:%lld (authority: %s/pki/ca.crt)\n",
               (long long)jpeek_i64(up, "tlsPort"), cli->home);
    }
    printf("  API        https://127.0.0.1:%lld (kubeconfig: %s/kubeconfig)\n",
           (long long)jpeek_i64(up, "apiPort"), cli->home);
    printf("Next: lull deploy NAME --source DIR; stop with lull down\n");
    json_decref(up);
}

// The text that comes through the pipe until its end.
static void answer_read(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len + 1 < size && (n = read(fd, text + len, size - 1 - len)) != 0) {
        if (n < 0 && errno != EINTR) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    text[len] = '\0';
}

static int detach(struct cli *cli, bool json, char **argv)
{
    int ready[2];
    char text[1024];
    pid_t pid;
    struct error err;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    CLEANUP(cleanup_free) char *logs = fs_join(cli->home, "logs");
    CLEANUP(cleanup_free) char *log = fs_join(logs, "up.log");

    int running = home_supervisor(cli->home);
    for (int again = 0; running != 0 && again < 20; again++) {
        cli_pause(cli, 10); // it may be ending just now
        running = home_supervisor(cli->home);
    }
    if (running != 0) { // also keeps its log
        return cli_failf("Lull runs already on %s as process %d (`lull status`, `lull down`)",
                         cli->home, running);
    }
    if (fs_mkdir_p(logs, 0700, &err) < 0) {
        error_prefix(&err, err.code, "state directory (set LULL_HOME to one that can be written)");
        return cli_fail(&err);
    }
    if (pipe2(ready, O_CLOEXEC) != 0) {
        return cli_failf("pipe: %s", strerror(errno));
    }
    setenv(READY_FD_ENV, "3", 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawn_file_actions_adddup2(&actions, ready[1], 3);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    int code = posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv, environ);
    close(ready[1]);
    if (code != 0) {
        return cli_failf("cannot start the supervisor: %s", strerror(code));
    }
    answer_read(ready[0], text, sizeof text);
    if (strcmp(text, "ready\n") != 0) {
        waitpid(pid, NULL, 0); // until what it had started is gone, and its lock
        return cli_failf(
            "%s", text[0] ? text : "the supervisor ended at its start; its log is logs/up.log");
    }
    banner(cli, json);
    return 0;
}

int cmd_up(struct cli *cli, int argc, char **argv)
{
    struct up_options o = {0};
    const char *ready = getenv(READY_FD_ENV);
    CLEANUP(cleanup_free) char **again = xcalloc((size_t)argc + 2, sizeof *again);
    CLEANUP(cleanup_free) char *program = xstrdup("lull");

    again[0] = program;
    memcpy(again + 1, argv, (size_t)argc * sizeof *argv);
    if (cli_parse(&TABLE, argc, argv, &o) != 0) {
        return cli_usage(
            "usage: lull up [--detach] [--public-port N]; `lull up --help` lists the options");
    }
    if (ready || !o.detach) {
        unsetenv("LULL_TLS_PORT"); // -1 is for us only; the parts are told by flags
    }
    if (ready) {
        int fd = (int)strtol(ready, NULL, 10);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        unsetenv(READY_FD_ENV);
        return supervisor_run(cli, &o, fd);
    }
    if (o.detach) {
        return detach(cli, o.common.output == CLI_JSON, again);
    }
    return supervisor_run(cli, &o, -1);
}
