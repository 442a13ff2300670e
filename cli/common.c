// SPDX-License-Identifier: Apache-2.0
//
// The helpers of cli.h.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "fetch/fetch.h"
#include "cli/cli.h"

#define ADMIN_TIMEOUT_MS 3000
#define POLL_FIRST_MS    10
#define POLL_MAX_MS      200
#define FAILED_MS        1000 // so long must it look like a failure that will not go away

int cli_fail(const struct error *err)
{
    fprintf(stderr, "lull: %s\n", err->msg);
    return 1;
}

static void say(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static void say(const char *fmt, va_list ap)
{
    fputs("lull: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int cli_failf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return 1;
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return 2;
}

// ---- arguments

// Whether this option takes the next word as its value.
static bool wants_value(const struct option_table *table, const char *word)
{
    size_t len = strcspn(word, "=");
    if (word[len] == '=') {
        return false;
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        if (row->flag && strlen(row->flag) == len - 2 &&
            strncmp(row->flag, word + 2, len - 2) == 0) {
            return row->type != OPTION_BOOL;
        }
    }
    return false;
}

int cli_parse(const struct option_table *table, int argc, char **argv, void *dest)
{
    char **options = xcalloc((size_t)argc + 1, sizeof *options);
    CLEANUP(cleanup_free) char *output = xstrdup("--output");
    CLEANUP(cleanup_free) char *ns = xstrdup("--namespace");
    CLEANUP(cleanup_free) char *follow = xstrdup("--follow");
    int positional = 0, count = 0;

    options[count++] = argv[0];
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char *word = strcmp(argv[i], "-o") == 0   ? output
                     : strcmp(argv[i], "-n") == 0 ? ns
                     : strcmp(argv[i], "-f") == 0 ? follow
                                                  : argv[i];
        if (strncmp(word, "--", 2) != 0) {
            argv[++positional] = word; // never ahead of i
            continue;
        }
        options[count++] = word;
        if (i + 1 < argc && wants_value(table, word)) {
            options[count++] = argv[++i];
        }
    }
    options_main(table, LULL_VERSION, count, options, dest);
    free(options);
    // What follows `--` stays behind the positional arguments, the `--` with it.
    int rest = positional + 1;
    while (i < argc) {
        argv[rest++] = argv[i++];
    }
    argv[rest < argc ? rest : argc] = NULL;
    return positional;
}

// ---- the API

int cli_connect(struct cli *cli, const struct cli_common *common, struct error *err)
{
    struct kube_config config = {0};
    CLEANUP(cleanup_free) char *own = fs_join(cli->home, "kubeconfig");
    const char *path = common->kubeconfig && common->kubeconfig[0] ? common->kubeconfig : own;

    if (path == own && !fs_exists(own)) {
        return error_set(err, ERR_NOT_FOUND,
                         "no Lull on this machine (%s): start it with `lull up`, or name a cluster "
                         "with --kubeconfig",
                         cli->home);
    }
    int rc = kube_config_load(path, &config, err);
    rc = rc ? rc : kube_client_new(&cli->loop, &config, NULL, &cli->client, err);
    if (rc == 0) {
        cli->ns = xstrdup(common->ns && common->ns[0] ? common->ns : config.ns);
    }
    kube_config_fini(&config);
    return rc;
}

static int explain(struct cli *cli, int rc, struct error *err)
{
    if (rc == ERR_REFUSED) {
        return error_prefix(err, rc, "nothing answers (is it running? `lull up`, state in %s)",
                            cli->home);
    }
    return rc;
}

int cli_list(struct cli *cli, enum kind_id kind, const char *labels, json_t **out,
             struct error *err)
{
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(kind)), .ns = cli->ns, .label_selector = labels};
    return explain(cli, kube_call_sync(cli->client, kube_list, &call, out, err), err);
}

int cli_get(struct cli *cli, enum kind_id kind, const char *name, json_t **out, struct error *err)
{
    struct kube_call call = {.kind = KUBE_KIND(kind_row(kind)), .ns = cli->ns, .name = name};
    return explain(cli, kube_call_sync(cli->client, kube_get, &call, out, err), err);
}

void cli_print_json(const json_t *value)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64u << 20);
    if (jdump_pretty(value, &text, NULL) == 0) {
        puts(text.ptr);
    }
}

const json_t *cli_condition(const json_t *object, const char *type)
{
    size_t i;
    json_t *c;
    json_array_foreach(jpeek_arr(object, "status.conditions"), i, c)
    {
        if (slice_eq_str(jpeek_str(c, "type"), type)) {
            return c;
        }
    }
    return NULL;
}

int cli_ready(const json_t *service)
{
    const json_t *ready = cli_condition(service, "Ready");
    struct slice status = jpeek_str(ready, "status");

    if (jpeek_i64(service, "status.observedGeneration") !=
        jpeek_i64(service, "metadata.generation")) {
        return 0;
    }
    return slice_eq_str(status, "True") ? 1 : slice_eq_str(status, "False") ? -1 : 0;
}

// False for good, as far as one look can tell: while the newest revision is still being started,
// the Route may well say that there is none yet.
static bool failed(const json_t *service)
{
    const json_t *configurations = cli_condition(service, "ConfigurationsReady");

    return cli_ready(service) < 0 && !slice_eq_str(jpeek_str(configurations, "status"), "Unknown");
}

int cli_wait_ready(struct cli *cli, const char *name, uint64_t timeout_ms, bool progress,
                   json_t **out, struct error *err)
{
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + timeout_ms;
    uint64_t pause = POLL_FIRST_MS;
    uint64_t failed_at = 0;
    char last[512] = "";

    for (;;) {
        json_t *service = NULL;
        char text[512];
        int rc = cli_get(cli, KIND_SERVICE, name, &service, err);
        if (rc < 0) {
            return rc;
        }
        int ready = cli_ready(service);
        const json_t *c = cli_condition(service, "Ready");
        struct slice reason = jpeek_str(c, "reason"), message = jpeek_str(c, "message");
        snprintf(text, sizeof text, "%.*s%s%.*s", SLICE_FMT(reason),
                 slice_empty(message) ? "" : ": ", SLICE_FMT(message));
        if (progress && text[0] && strcmp(text, last) != 0 && ready == 0) {
            fprintf(stderr, "  %s\n", text);
        }
        memcpy(last, text, sizeof last);
        if (ready > 0) {
            *out = service;
            return 0;
        }
        uint64_t now = loop_now_fresh_ns(&cli->loop) / 1000000;
        failed_at = !failed(service) ? 0 : failed_at ? failed_at : now;
        json_decref(service);
        if (failed_at && now - failed_at >= FAILED_MS) {
            return error_set(err, ERR_INVALID, "%s cannot become ready: %s", name, text);
        }
        if (now > end) {
            return error_set(err, ERR_TIMEOUT, "%s is not ready after %llu s: %s", name,
                             (unsigned long long)(timeout_ms / 1000),
                             text[0] ? text : "no status yet");
        }
        cli_pause(cli, pause);
        pause = pause * 2 > POLL_MAX_MS ? POLL_MAX_MS : pause * 2;
    }
}

// ---- waiting

static void on_timer(struct timer *timer)
{
    *(bool *)timer->data = true;
}

bool cli_run_until(struct cli *cli, const bool *done, uint64_t timeout_ms)
{
    bool late = false, closed = false;
    struct timer timer;

    timer_init(&timer, &cli->loop, on_timer, &late);
    timer_start(&timer, timeout_ms);
    while (!*done && !late) {
        loop_turn(&cli->loop, true);
    }
    timer.data = &closed;
    timer_close(&timer, on_timer);
    while (!closed) {
        loop_turn(&cli->loop, true);
    }
    return *done;
}

void cli_pause(struct cli *cli, uint64_t ms)
{
    bool never = false;
    (void)cli_run_until(cli, &never, ms);
}

// ---- admin sockets

struct admin_get {
    bool done;
    int status;
    char *body;
    struct error err;
    int rc;
};

static void on_admin(void *arg, const struct fetch_result *result, const struct error *err)
{
    struct admin_get *g = arg;

    g->done = true;
    g->status = result->status;
    g->body = slice_dup(result->body);
    if (err) {
        g->rc = error_copy(&g->err, err);
    }
}

int cli_admin_get(struct cli *cli, const char *part, const char *path, char **out,
                  struct error *err)
{
    struct admin_get g = {0};
    struct fetch *f = NULL;
    CLEANUP(cleanup_free) char *socket = xasprintf("%s/run/%s.admin.sock", cli->home, part);
    CLEANUP(cleanup_free) char *url = xasprintf("http://lull%s", path);
    struct fetch_spec spec = {.method = "GET",
                              .url = url,
                              .timeout_ms = ADMIN_TIMEOUT_MS,
                              .on_done = on_admin,
                              .arg = &g};

    int rc = fetch_new(&cli->loop, &(struct fetch_options){.unix_socket = socket}, &f, err);
    rc = rc ? rc : fetch_start(f, &spec, NULL, err);
    if (rc < 0) {
        return rc;
    }
    (void)cli_run_until(cli, &g.done, ADMIN_TIMEOUT_MS * 2);
    fetch_close(f, NULL, NULL);
    rc = g.rc ? error_copy(err, &g.err) : 0;
    if (rc == 0 && g.status != 200) {
        rc = error_set(err, g.status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                       "lull-%s answers %d: %.150s", part, g.status, g.body ? g.body : "");
    }
    if (rc < 0) {
        free(g.body);
        return error_prefix(err, rc, "asking lull-%s", part);
    }
    *out = g.body;
    return 0;
}
