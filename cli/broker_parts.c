// SPDX-License-Identifier: Apache-2.0
//
// Happy path: programs found, port chosen, redis-server and lull-broker started, READY=1 of the
// latter: the file says ready. Failure modes: a program is not installed, a port is taken, a part
// ends again and again: the file says what and what to do; asked again, it is tried again.
#include "cli/broker_parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "cli/guard.h"
#include "cli/port.h"
#include "cli/program.h"

#define USUAL_PORT 8085

static void say(const struct broker_parts *b, const char *state, const char *message)
{
    struct error err;
    CLEANUP(cleanup_free) char *path = fs_join(b->home, "run/broker.json");
    CLEANUP(cleanup_free) char *url = xasprintf("http://127.0.0.1:%u", b->chosen);
    CLEANUP(jfree)
    json_t *file = json_pack("{s:s,s:s,s:s}", "state", state, "url", b->chosen == 0 ? "" : url,
                             "message", message);
    CLEANUP(cleanup_free) char *text = jdump_str(file);

    if (fs_write_atomic(path, slice_str(text), 0600, &err) < 0) {
        LOG_WARN("cannot write broker.json", LOG_ERR(&err));
    }
}

static int choose_port(struct broker_parts *b, struct error *err)
{
    unsigned port = b->chosen != 0 ? b->chosen : b->port < 0 ? USUAL_PORT : (unsigned)b->port;
    int rc = port_check(&port, "--broker-port", err);

    if (rc < 0 && b->port < 0) {
        port = 0;
        rc = port_check(&port, "--broker-port", err);
    }
    if (rc == 0) {
        b->chosen = port;
    }
    return rc;
}

static int start_redis(struct broker_parts *b, struct error *err)
{
    struct part *p = b->redis_part;
    CLEANUP(cleanup_free) char *server = program_in_path("redis-server");
    CLEANUP(cleanup_free) char *folder = fs_join(b->home, "events");
    CLEANUP(cleanup_free) char *conf = fs_join(b->home, "run/redis.conf");

    if (b->redis[0] != '\0' || part_started(p)) {
        return 0; // somebody else's; or it runs, or is being started again
    }
    if (!server) {
        return error_set(
            err, ERR_NOT_FOUND,
            "Events need redis-server (7 or newer), which is not installed here: apt "
            "install redis-server, or stop Lull and start it with lull up --redis URL");
    }
    int rc = fs_mkdir_p(folder, 0700, err);
    rc = rc ? rc : events_store_configure(&b->store, conf, err);
    char *self = rc < 0 ? NULL : program_self(err);
    if (!self) {
        return err->code;
    }
    part_program(p, self);
    part_arg(p, GUARD_FLAG, "%s/lock", folder);
    part_arg(p, server, "%s", conf);
    return part_start(p, err);
}

// How somebody else's Redis is reached; our own needs nothing of it.
static void pass_environment(struct part *p)
{
    static const char *const names[] = {
        "LULL_REDIS_USER_FILE",   "LULL_REDIS_PASSWORD_FILE", "LULL_REDIS_SENTINEL_PASSWORD_FILE",
        "LULL_REDIS_CA",          "LULL_REDIS_CERT",          "LULL_REDIS_KEY",
        "LULL_REDIS_SERVER_NAME", "LULL_REDIS_WAIT",          "LULL_REDIS_TIMEOUT",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value) {
            part_env(p, names[i], "%s", value);
        }
    }
}

static void broker_args(struct broker_parts *b, char *program)
{
    struct part *p = b->broker_part;

    part_program(p, program);
    part_arg(p, "--listen", "127.0.0.1:%u", b->chosen);
    part_arg(p, "--admin-listen", "unix:%s/run/broker.admin.sock", b->home);
    part_arg(p, "--kubeconfig", "%s/kubeconfig", b->home);
    part_arg(p, "--local-gateway", "127.0.0.1:%u", b->local_port);
    part_arg(p, "--autoscaler", "unix:%s/run/autoscaler.sock", b->home);
    part_arg(p, "--refuse-ports", "%u", b->api_port);
    part_arg(p, "--name", "local");
    if (b->redis[0] == '\0') {
        part_env(p, "LULL_REDIS", "unix:%s/run/redis.sock", b->home);
    } else {
        part_env(p, "LULL_REDIS", "%s", b->redis);
        pass_environment(p);
    }
}

static int start_broker(struct broker_parts *b, struct error *err)
{
    char *program = program_find(b->broker_part->name, err);
    if (!program) {
        return ERR_NOT_FOUND;
    }
    broker_args(b, program);
    return part_start(b->broker_part, err);
}

// Somebody may have taken the port in the meantime; where any will do, the next start has another.
static void port_again(struct broker_parts *b)
{
    unsigned port = b->chosen;

    if (b->port <= 0 && port_check(&port, "--broker-port", NULL) < 0) {
        b->chosen = 0;
        if (choose_port(b, NULL) == 0) {
            broker_args(b, xstrdup(b->broker_part->program));
        }
    }
}

void broker_parts_init(struct broker_parts *b)
{
    CLEANUP(cleanup_free) char *path = fs_join(b->home, "run/broker.json");

    unlink(path); // of an earlier run
}

static char *kept_path(const struct broker_parts *b)
{
    return fs_join(b->home, "events/kept");
}

bool broker_parts_kept(const struct broker_parts *b)
{
    CLEANUP(cleanup_free) char *path = kept_path(b);
    return access(path, F_OK) == 0;
}

static int keep(const struct broker_parts *b, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = fs_join(b->home, "events");
    CLEANUP(cleanup_free) char *path = kept_path(b);
    if (broker_parts_kept(b)) {
        return 0;
    }
    int rc = fs_mkdir_p(folder, 0700, err);
    return rc ? rc : fs_write_atomic(path, SLICE_EMPTY, 0600, err);
}

void broker_parts_want(struct broker_parts *b, bool kept)
{
    struct error err;

    if (kept && keep(b, &err) < 0) {
        LOG_WARN("asynchronous calls will wait after the next start", LOG_ERR(&err));
    }

    if (part_started(b->broker_part)) {
        return;
    }
    int rc = choose_port(b, &err);
    rc = rc ? rc : start_redis(b, &err);
    rc = rc ? rc : start_broker(b, &err);
    say(b, rc < 0 ? "failed" : "starting", rc < 0 ? err.msg : "");
    if (rc < 0 && strcmp(err.msg, b->trouble) != 0) { // tried again and again, told once
        LOG_WARN("events cannot be taken", LOG_ERR(&err));
        (void)slice_copy(slice_str(err.msg), b->trouble, sizeof b->trouble);
    }
}

void broker_parts_event(struct broker_parts *b, const struct part *part, enum part_event event)
{
    if (event == PART_READY && part == b->broker_part) {
        say(b, "ready", "");
    } else if (event == PART_STATUS && part == b->broker_part && !part->ready) {
        say(b, "failed", part->status);
    } else if (event == PART_ENDED && !part->stopping) {
        CLEANUP(cleanup_free) char *line = part_log_tail(part);
        char *known = part == b->redis_part ? events_store_trouble(&b->store, line) : NULL;
        CLEANUP(cleanup_free)
        char *message = known ? known
                              : xasprintf("%s ended (%s) and is started again: %s", part->name,
                                          part->end, line);
        if (part == b->broker_part) {
            port_again(b);
        }
        if (part == b->broker_part || !b->broker_part->ready) {
            say(b, "failed", message);
        }
    }
}
