// SPDX-License-Identifier: Apache-2.0
//
// A launch. On the loop: the Pod's spec is turned into records of lull-replica's specification. On
// a pool thread: bundle, folders, port, control socket, specification file, spawn, connect.
// Whatever fails leaves no process behind; the folder is the caller's to remove.
#include "local/agent/launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "local/agent/bundle.h"
#include "local/agent/env.h"
#include "local/agent/node.h"
#include "local/agent/pod_json.h"
#include "local/agent/volume_write.h"
#include "local/replica/replica.h"

#define SPEC_MAX       (1u << 20)
#define BACKOFF_MS     200
#define BACKOFF_MAX_MS 30000
#define TERM_MAX_MS    10000 // a function that has been drained gets no longer than this
#define FUNCTION_PATH  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct launch {
    struct work work;
    launch_done_cb cb;
    void *arg;
    char *home, *libexec, *id, *image;
    struct spares *spares;
    uint64_t log_max_bytes;
    unsigned first_port;
    uid_t uid;
    int lifeline_fd;
    bool sweep;
    int64_t memory_bytes;
    json_t *command, *args; // of the container; owned
    char *workdir;          // of the container; "": the bundle's
    struct env env, proxy_env;
    struct volume_set volumes;
    // results
    int rc, fd;
    pid_t child;
    const char *reason;
    struct error err;
};

static void launch_free(struct launch *l)
{
    free(l->home);
    free(l->libexec);
    free(l->id);
    free(l->image);
    json_decref(l->command);
    json_decref(l->args);
    free(l->workdir);
    env_fini(&l->env);
    env_fini(&l->proxy_env);
    volumes_fini(&l->volumes);
    free(l);
}

// ---- records

static void record_add(struct strbuf *spec, const char *key, const char *value)
{
    strbuf_append_str(spec, key);
    strbuf_append_char(spec, '=');
    strbuf_append_str(spec, value);
    strbuf_append(spec, "", 1);
}

static void record_number(struct strbuf *spec, const char *key, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    record_add(spec, key, text);
}

static void record_env(struct strbuf *spec, const char *key, const char *name, const char *value)
{
    strbuf_append_str(spec, key);
    strbuf_append_char(spec, '=');
    record_add(spec, name, value);
}

static void env_records(struct strbuf *spec, const char *key, const struct env *env)
{
    for (size_t i = 0; i < env->count; i++) {
        record_env(spec, key, env->rows[i].name, env->rows[i].value);
    }
}

static int spec_of_pod(struct launch *l, const struct launch_options *o, struct error *err)
{
    size_t i;
    json_t *c;
    bool function = false;
    json_array_foreach(jpeek_arr(o->pod, "spec.containers"), i, c)
    {
        bool proxy = slice_eq_str(jpeek_str(c, "name"), POD_PROXY_NAME);
        int rc = env_read(proxy ? &l->proxy_env : &l->env, &o->source, o->pod, c, err);
        if (rc < 0) {
            return rc;
        }
        if (proxy) {
            continue;
        }
        if (function) {
            return error_set(
                err, ERR_INVALID,
                "two function containers: one machine runs one beside the queue-proxy");
        }
        function = true;
        struct slice limit = jpeek_str(c, "resources.limits.memory");
        if (!slice_empty(limit) && num_parse_quantity(limit, &l->memory_bytes, err) < 0) {
            return error_prefix(err, ERR_INVALID, "resources.limits.memory");
        }
        l->image = xstrdup(jpeek_cstr(c, "image"));
        l->command = json_incref(jpeek_arr(c, "command"));
        l->args = json_incref(jpeek_arr(c, "args"));
        l->workdir = xstrdup(jpeek_cstr(c, "workingDir"));
        rc = volumes_read(&l->volumes, &o->source, o->pod, c, err);
        if (rc == 0 && l->volumes.mounts_count > REPLICA_MAX_MOUNTS) {
            rc = error_set(err, ERR_INVALID, "more than %d volumeMounts", REPLICA_MAX_MOUNTS);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return function ? 0 : error_set(err, ERR_INVALID, "the Pod has no function container");
}

// ---- on the pool thread

static int fail(struct launch *l, int rc, const char *reason)
{
    l->reason = reason;
    return rc;
}

// A port that nothing listens on. It is free only until somebody takes it; a function that finds
// it taken exits and is started again by its replica.
static int port_find(struct launch *l, unsigned *out)
{
    for (unsigned port = l->first_port; port < l->first_port + LAUNCH_PORTS; port++) {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        CLEANUP(cleanup_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0) {
            *out = port;
            return 0;
        }
    }
    return error_set(&l->err, ERR_IN_USE, "no free port for the function in %u-%u", l->first_port,
                     l->first_port + LAUNCH_PORTS - 1);
}

// env: $(NAME) in it is one of these variables; NULL: it is taken as it is.
static void list_add(struct strbuf *spec, const json_t *list, const struct env *env)
{
    size_t i;
    json_t *text;
    json_array_foreach(list, i, text)
    {
        const char *arg = json_string_value(text) ?: "";
        CLEANUP(strbuf_fini) struct strbuf expanded;
        strbuf_init(&expanded, SPEC_MAX);
        if (env && strchr(arg, '$')) {
            env_expand(env, arg, &expanded);
            arg = strbuf_ok(&expanded) ? expanded.ptr ?: "" : arg;
        }
        record_add(spec, "arg", arg);
    }
}

static void bundle_add(struct strbuf *spec, const struct launch *l, const struct bundle *b)
{
    const char *key;
    json_t *value;

    if (json_array_size(l->command) > 0) {
        list_add(spec, l->command, &l->env);
    } else {
        list_add(spec, jpeek_arr(b->root, "command"), NULL);
    }
    list_add(spec, l->args, &l->env);
    // Earlier records lose: the bundle, then the Service, may say otherwise.
    CLEANUP(cleanup_free) char *tmp = xasprintf("%s/replicas/%s/tmp", l->home, l->id);
    record_env(spec, "env", "PATH", FUNCTION_PATH);
    record_env(spec, "env", "LANG", "C.UTF-8");
    record_env(spec, "env", "HOME", tmp);
    record_env(spec, "env", "TMPDIR", tmp);
    json_object_foreach(jpeek_obj(b->root, "env"), key, value)
    {
        record_env(spec, "env", key, json_string_value(value) ?: "");
    }
}

// Later records win in an environment: what must be as we say comes last. REPLICA_MARK marks every
// process of the function (sweep.c).
static void own_env_add(struct strbuf *spec, const struct launch *l, unsigned port)
{
    char text[4096];

    snprintf(text, sizeof text, "%u", port);
    record_env(spec, "env", "PORT", text);
    record_env(spec, "env", REPLICA_MARK, l->id);
    record_env(spec, "proxy-env", "USER_PORT", text);
    snprintf(text, sizeof text, "unix:%s/run/r/%s.q", l->home, l->id);
    record_env(spec, "proxy-env", "LULL_QUEUE_LISTEN", text);
    snprintf(text, sizeof text, "unix:%s/run/r/%s.a", l->home, l->id);
    record_env(spec, "proxy-env", "LULL_ADMIN_LISTEN", text);
    snprintf(text, sizeof text, "%s/run/r/%s.n", l->home, l->id);
    record_env(spec, "proxy-env", "NOTIFY_SOCKET", text);
    record_add(spec, "notify", text);
}

// Sources that are made, and paths in the function's view (local/replica/mounts.c).
static int mounts_add(struct strbuf *spec, struct launch *l)
{
    CLEANUP(cleanup_free)
    char *folder = xasprintf("%s/replicas/%s/" VOLUMES_FOLDER, l->home, l->id);

    for (size_t i = 0; i < l->volumes.mounts_count; i++) {
        const struct volume_mount *m = &l->volumes.mounts[i];
        const char *sub = m->sub;
        CLEANUP(cleanup_free)
        char *from = xasprintf("%s/%s", folder, l->volumes.volumes[m->volume].name);
        CLEANUP(strbuf_fini) struct strbuf expanded;
        strbuf_init(&expanded, SPEC_MAX);
        if (m->expand) {
            env_expand(&l->env, m->sub, &expanded);
            sub = strbuf_ok(&expanded) ? expanded.ptr ?: "" : "";
        }
        if (sub && !volume_path_is_inside(sub)) {
            return error_set(&l->err, ERR_INVALID,
                             "subPathExpr \"%.120s\" must be inside the volume", m->sub);
        }
        record_add(spec, m->read_only ? "mount-ro" : "mount-rw", from);
        if (sub) {
            record_add(spec, "mount-sub", sub);
        }
        record_add(spec, "mount-at", m->path);
    }
    if (l->volumes.mounts_count > 0) {
        CLEANUP(cleanup_free) char *root = fs_join(folder, VOLUMES_ROOT);
        record_add(spec, "mount-root", root);
    }
    return 0;
}

static int env_set_up(struct launch *l, unsigned port)
{
    char text[16];

    snprintf(text, sizeof text, "%u", port);
    env_set(&l->env, "PORT", text); // for $(PORT) in its command
    int rc = env_resolve(&l->env, &l->err);
    return rc ? rc : env_resolve(&l->proxy_env, &l->err);
}

static int volumes_make(struct launch *l)
{
    CLEANUP(cleanup_free)
    char *folder = xasprintf("%s/replicas/%s/" VOLUMES_FOLDER, l->home, l->id);
    return l->volumes.mounts_count == 0 ? 0 : volumes_write(folder, &l->volumes, l->uid, &l->err);
}

static int spec_write(struct launch *l, const struct bundle *b, unsigned port)
{
    CLEANUP(strbuf_fini) struct strbuf spec;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/replicas/%s/spec", l->home, l->id);
    CLEANUP(cleanup_free) char *log = xasprintf("%s/replicas/%s/log", l->home, l->id);
    CLEANUP(cleanup_free) char *proxy_log = xasprintf("%s/replicas/%s/proxy.log", l->home, l->id);
    CLEANUP(cleanup_free) char *proxy = xasprintf("%s/lull-queue-proxy", l->libexec);

    CLEANUP(cleanup_free) char *workdir = fs_join(b->workdir, l->workdir);

    strbuf_init(&spec, SPEC_MAX);
    int rc = env_set_up(l, port);
    if (rc < 0) {
        return rc;
    }
    bundle_add(&spec, l, b);
    env_records(&spec, "env", &l->env);
    env_records(&spec, "proxy-env", &l->proxy_env);
    own_env_add(&spec, l, port);
    rc = mounts_add(&spec, l);
    if (rc < 0) {
        return rc;
    }
    record_add(&spec, "cwd", l->workdir[0] ? workdir : b->workdir);
    record_add(&spec, "log", log);
    record_add(&spec, "proxy-log", proxy_log);
    record_add(&spec, "proxy", proxy);
    record_number(&spec, "log-max-bytes", l->log_max_bytes);
    record_number(&spec, "memory-bytes", (uint64_t)l->memory_bytes);
    record_number(&spec, "backoff-ms", BACKOFF_MS);
    record_number(&spec, "backoff-max-ms", BACKOFF_MAX_MS);
    record_number(&spec, "term-ms", TERM_MAX_MS);
    record_number(&spec, "uid", l->uid);
    record_number(&spec, "gid", l->uid);
    if (!strbuf_ok(&spec)) {
        return error_set(&l->err, ERR_TOO_BIG, "command and environment are larger than 1 MiB");
    }
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, spec.ptr, spec.len) != (ssize_t)spec.len) {
        return error_from_errno(&l->err, errno, "cannot write %s", path);
    }
    return 0;
}

static int folders_make(struct launch *l)
{
    char path[4096];

    bool made = spare_take(l->spares, l->home, l->id);
    snprintf(path, sizeof path, "%s/replicas/%s", l->home, l->id);
    if (!made && mkdir(path, 0711) != 0 && errno != EEXIST) {
        return error_from_errno(&l->err, errno, "cannot make %s", path);
    }
    snprintf(path, sizeof path, "%s/replicas/%s/tmp", l->home, l->id);
    if (!made && mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_from_errno(&l->err, errno, "cannot make %s", path);
    }
    if (l->uid != 0 && chown(path, l->uid, l->uid) != 0) {
        return error_from_errno(&l->err, errno, "cannot give %s to user %u", path,
                                (unsigned)l->uid);
    }
    return 0;
}

static void ctl_address(struct sockaddr_un *out, const char *home, const char *id)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof out->sun_path, "%s/run/r/%s.c", home,
             id); // fits: checked at start
}

static int ctl_listen(struct launch *l, int *out_fd)
{
    struct sockaddr_un address;

    ctl_address(&address, l->home, l->id);
    unlink(address.sun_path);
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 8) != 0) {
        return error_from_errno(&l->err, errno, "cannot listen on %s", address.sun_path);
    }
    // Clear of the low numbers that the child's descriptors get.
    *out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 16);
    return *out_fd < 0 ? error_from_errno(&l->err, errno, "cannot duplicate a descriptor") : 0;
}

static int replica_spawn(struct launch *l, int ctl)
{
    CLEANUP(cleanup_free) char *program = xasprintf("%s/lull-replica", l->libexec);
    CLEANUP(cleanup_free) char *spec = xasprintf("%s/replicas/%s/spec", l->home, l->id);
    char *argv[] = {program, spec, NULL};
    char path[] = "PATH=" FUNCTION_PATH, lifeline[] = "LULL_LIFELINE_FD=4";
    char *envp[] = {path, l->lifeline_fd >= 0 ? lifeline : NULL, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    static const int OURS[] = {SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGXFSZ};
    sigset_t none, ignored;

    // Those that we, or who started us, may ignore (one system call each); handlers end with exec.
    sigemptyset(&none);
    sigemptyset(&ignored);
    for (size_t i = 0; i < ARRAY_LEN(OURS); i++) {
        sigaddset(&ignored, OURS[i]);
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ctl, 3);
    if (l->lifeline_fd >= 0) {
        posix_spawn_file_actions_adddup2(&actions, l->lifeline_fd, 4);
    }
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &ignored);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int code = posix_spawn(&l->child, program, &actions, &attr, argv, envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return code ? error_from_errno(&l->err, code, "cannot execute %s", program) : 0;
}

int launch_connect(const char *home, const char *id)
{
    struct sockaddr_un address;

    ctl_address(&address, home, id);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

unsigned launch_port(const char *home, const char *id)
{
    static const char KEY[] = "proxy-env=USER_PORT=";
    CLEANUP(cleanup_free) char *path = xasprintf("%s/replicas/%s/spec", home, id);
    CLEANUP(strbuf_fini) struct strbuf text;
    int64_t port = 0;

    strbuf_init(&text, SPEC_MAX);
    if (fs_read_file(path, SPEC_MAX, &text, NULL) < 0) {
        return 0;
    }
    for (size_t at = 0; at < text.len; at += strlen(text.ptr + at) + 1) {
        if (strncmp(text.ptr + at, KEY, sizeof KEY - 1) == 0) { // the last one counts
            struct slice value = slice_str(text.ptr + at + sizeof KEY - 1);
            port = num_parse_i64(value, 1, 65535, &port, NULL) == 0 ? port : 0;
        }
    }
    return (unsigned)port;
}

static int launch_steps(struct launch *l, struct bundle *b)
{
    unsigned port = 0;
    CLEANUP(cleanup_close) int ctl = -1;

    int rc = bundle_read(l->home, l->image, b, &l->err);
    if (rc < 0) {
        return fail(l, rc, "ErrImagePull");
    }
    if (json_array_size(l->command) == 0 && json_array_size(jpeek_arr(b->root, "command")) == 0) {
        return fail(
            l,
            error_set(&l->err, ERR_INVALID, "neither the bundle nor the container names a command"),
            "CreateContainerError");
    }
    if (l->sweep) {
        sweep_strays(l->id);
    }
    rc = port_find(l, &port);
    rc = rc ? rc : folders_make(l);
    rc = rc ? rc : volumes_make(l);
    rc = rc ? rc : spec_write(l, b, port);
    rc = rc ? rc : ctl_listen(l, &ctl);
    rc = rc ? rc : replica_spawn(l, ctl);
    if (rc < 0) {
        return fail(l, rc, "CreateContainerError");
    }
    l->fd = launch_connect(l->home, l->id);
    if (l->fd < 0) {
        kill(l->child, SIGKILL);
        return fail(l, error_from_errno(&l->err, errno, "cannot reach the new replica"),
                    "RunContainerError");
    }
    return 0;
}

static void launch_run(struct work *work)
{
    struct launch *l = work->data;
    struct bundle b = {0};

    l->rc = launch_steps(l, &b);
    bundle_fini(&b);
}

static void launch_done(struct work *work, int status)
{
    struct launch *l = work->data;

    if (status < 0) {
        l->rc = error_set(&l->err, status, "the start was cancelled");
        l->reason = "CreateContainerError";
    }
    l->cb(l->rc, l->fd, l->reason, &l->err, l->arg);
    launch_free(l);
}

int launch_start(const struct launch_options *o, launch_done_cb cb, void *arg, struct error *err)
{
    struct launch *l = NEW(struct launch);

    l->cb = cb;
    l->arg = arg;
    l->fd = -1;
    l->home = xstrdup(o->home);
    l->libexec = xstrdup(o->libexec);
    l->id = xstrdup(o->id);
    l->spares = o->spares;
    l->log_max_bytes = o->log_max_bytes;
    l->first_port = o->first_port;
    l->uid = o->uid;
    l->lifeline_fd = o->lifeline_fd;
    l->sweep = o->sweep;
    int rc = spec_of_pod(l, o, err);
    rc = rc ? rc : work_start(&l->work, o->loop, launch_run, launch_done, l, err);
    if (rc < 0) {
        launch_free(l);
    }
    return rc;
}
