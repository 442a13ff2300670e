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
#include "yaml/ydump.h"

#define ADMIN_TIMEOUT_MS 3000

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

// ---- the API

/* Once each, as kubectl does it. */
static void on_warning(void *arg, const char *text)
{
    struct cli *cli = arg;
    size_t i;

    for (i = 0; i < CLI_WARNINGS_MAX && cli->warned[i] != NULL; i++) {
        if (strcmp(cli->warned[i], text) == 0) {
            return;
        }
    }
    if (i < CLI_WARNINGS_MAX) {
        cli->warned[i] = xstrdup(text);
    }
    fprintf(stderr, "Warning: %s\n", text);
}

int cli_connect(struct cli *cli, const struct cli_common *common, struct error *err)
{
    struct kube_config config = {0};
    struct kube_client_options options = {.on_warning = on_warning, .warning_arg = cli};
    CLEANUP(cleanup_free) char *own = fs_join(cli->home, "kubeconfig");
    const char *path = common->kubeconfig && common->kubeconfig[0] ? common->kubeconfig : own;

    if (path == own && !fs_exists(own)) {
        return error_set(err, ERR_NOT_FOUND,
                         "no Lull on this machine (%s): start it with `lull up`, or name a cluster "
                         "with --kubeconfig",
                         cli->home);
    }
    int rc = kube_config_load(path, &config, err);
    rc = rc ? rc : kube_client_new(&cli->loop, &config, &options, &cli->client, err);
    if (rc == 0) {
        cli->config = xstrdup(path);
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

int cli_call(struct cli *cli, kube_verb_fn verb, const struct kube_call *call, json_t **out,
             struct error *err)
{
    return explain(cli, kube_call_sync(cli->client, verb, call, out, err), err);
}

int cli_list(struct cli *cli, enum kind_id kind, const char *labels, json_t **out,
             struct error *err)
{
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(kind)), .ns = cli->ns, .label_selector = labels};
    return cli_call(cli, kube_list, &call, out, err);
}

int cli_list_in(struct cli *cli, enum kind_id kind, bool all_namespaces, json_t **out,
                struct error *err)
{
    struct kube_call call = {.kind = KUBE_KIND(kind_row(kind)),
                             .ns = all_namespaces ? NULL : cli->ns};
    return cli_call(cli, kube_list, &call, out, err);
}

int cli_get(struct cli *cli, enum kind_id kind, const char *name, json_t **out, struct error *err)
{
    struct kube_call call = {.kind = KUBE_KIND(kind_row(kind)), .ns = cli->ns, .name = name};
    return cli_call(cli, kube_get, &call, out, err);
}

void cli_print_json(const json_t *value)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64u << 20);
    if (jdump_pretty(value, &text, NULL) == 0) {
        puts(text.ptr);
    }
}

void cli_print_yaml(const json_t *value)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64u << 20);
    if (ydump(value, &text, NULL) == 0) {
        fputs(text.ptr, stdout);
    }
}

const json_t *cli_condition(const json_t *object, const char *type)
{
    return jpeek_row(object, "status.conditions", "type", slice_str(type));
}

void cli_conditions_print(const json_t *object)
{
    size_t i;
    json_t *c;

    printf("Conditions\n");
    json_array_foreach(jpeek_arr(object, "status.conditions"), i, c)
    {
        printf("  %-22s %-8s %s%s%s\n", jpeek_cstr(c, "type"), jpeek_cstr(c, "status"),
               jpeek_cstr(c, "reason"), jpeek_cstr(c, "message")[0] ? ": " : "",
               jpeek_cstr(c, "message"));
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

int cli_refused(const char *part, int status, struct slice body, struct error *err)
{
    enum err_code code = status == 404   ? ERR_NOT_FOUND
                         : status == 503 ? ERR_UNAVAILABLE
                                         : ERR_INVALID;

    while (body.len > 0 && strchr(" \t\r\n", body.ptr[body.len - 1])) {
        body.len--;
    }
    body = slice_sub(body, 0, 400);
    return status >= 400 && status < 500 && body.len > 0
               ? error_set(err, code, "%.*s", SLICE_FMT(body))
               : error_set(err, code, "lull-%s answers %d: %.*s", part, status, SLICE_FMT(body));
}

int cli_admin_call(struct cli *cli, const char *method, const char *part, const char *path,
                   char **out, struct error *err)
{
    struct admin_get g = {0};
    struct fetch *f = NULL;
    CLEANUP(cleanup_free) char *socket = xasprintf("%s/run/%s.admin.sock", cli->home, part);
    CLEANUP(cleanup_free) char *url = xasprintf("http://lull%s", path);
    struct fetch_spec spec = {.method = method,
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
    rc = rc < 0 ? error_prefix(err, rc, "asking lull-%s", part) : 0;
    if (rc == 0 && g.status != 200) {
        rc = cli_refused(part, g.status, slice_str(g.body), err);
    }
    if (rc < 0) {
        free(g.body);
        return rc;
    }
    *out = g.body;
    return 0;
}

int cli_admin_get(struct cli *cli, const char *part, const char *path, char **out,
                  struct error *err)
{
    return cli_admin_call(cli, "GET", part, path, out, err);
}
