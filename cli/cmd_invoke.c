// SPDX-License-Identifier: Apache-2.0
//
// lull invoke NAME: one HTTP request to a function, through its address that needs no DNS, or the
// way into its cluster; the body goes to stdout, what surrounds it to stderr. With --async the call
// is only handed over: its id goes to stdout, and lull result fetches what became of it.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/call.h"
#include "cli/gateway.h"
#include "cli/part_ask.h"

struct invoke {
    struct cli_common common;
    char *method, *path, *data, *header, *callback, *key, *url;
    int64_t timeout_s;
    bool quiet, async;
};
static const struct option_row ROWS[] = {
    CLI_COMMON_ROWS(struct invoke),
    OPTION(struct invoke, method, STRING, NULL, "method", NULL, .optional = true,
           .help = "HTTP method (else GET, or POST with --data)"),
    OPTION(struct invoke, path, STRING, NULL, "path", "/", .help = "path and query"),
    OPTION(struct invoke, data, STRING, NULL, "data", NULL, .optional = true,
           .help = "body; @FILE reads a file"),
    OPTION(struct invoke, header, STRING, NULL, "header", NULL, .optional = true,
           .help = "one `Name: value`"),
    OPTION(struct invoke, async, BOOL, NULL, "async", "false",
           .help = "do not wait for the answer: print the id of the call, for lull result"),
    OPTION(struct invoke, callback, STRING, NULL, "callback", NULL, .optional = true,
           .help = "with --async: post the result to this URL"),
    OPTION(struct invoke, key, STRING, NULL, "idempotency-key", NULL, .optional = true,
           .help = "with --async: the same key again is the same call"),
    OPTION(struct invoke, url, STRING, "LULL_GATEWAY", "url", NULL, .optional = true,
           .help = GATEWAY_HELP),
    OPTION(struct invoke, timeout_s, INT, NULL, "timeout", "300", .min = 1, .max = 86400,
           .help = "seconds to wait for the answer"),
    OPTION(struct invoke, quiet, BOOL, NULL, "quiet", "false", .help = "the body only"),
};
static const struct option_table TABLE = {.program = "lull invoke",
                                          .summary = "calls a function",
                                          .arguments = "NAME",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

static int data_read(const char *text, struct strbuf *out, struct error *err)
{
    if (text[0] == '@') {
        return fs_read_file(text + 1, CALL_BODY_MAX, out, err);
    }
    return strbuf_append_str(out, text);
}

static int request(struct cli *cli, const struct invoke *o, const char *base, struct call *c,
                   struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf data;
    const char *headers[5] = {NULL};
    size_t n = 0;
    strbuf_init(&data, CALL_BODY_MAX);
    CLEANUP(cleanup_free)
    char *url = xasprintf("%s%s%s", base, o->path[0] == '/' ? "" : "/", o->path);
    CLEANUP(cleanup_free)
    char *callback = o->callback ? xasprintf("Lull-Callback: %s", o->callback) : NULL;
    CLEANUP(cleanup_free) char *key = o->key ? xasprintf("Idempotency-Key: %s", o->key) : NULL;

    const char *const wanted[] = {o->header, o->async ? "Prefer: respond-async" : NULL,
                                  o->async ? callback : NULL, o->async ? key : NULL};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (wanted[i]) {
            headers[n++] = wanted[i];
        }
    }
    int rc = o->data ? data_read(o->data, &data, err) : 0;
    struct call_request call = {
        .method = o->method ? o->method
                  : o->data ? "POST"
                            : "GET",
        .url = url,
        .headers = headers,
        .body = strbuf_slice(&data),
        .timeout_ms = (uint64_t)o->timeout_s * 1000,
    };
    return rc ? rc : call_make(cli, &call, c, err);
}

// What became of a call that was handed over.
static int handed_over(const struct invoke *o, const struct call *c)
{
    struct error err;
    CLEANUP(jfree) json_t *answer = NULL;

    if (c->status != 202 ||
        jparse_object(strbuf_slice(&c->body), CALL_BODY_MAX, &answer, &err) < 0 ||
        !jpeek_cstr(answer, "id")[0]) {
        int status = call_print(c, o->common.output == CLI_JSON, o->quiet);
        if (status == 0) {
            fprintf(stderr, "This was an ordinary call: nothing here takes asynchronous ones.\n");
        }
        return status;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(answer);
    } else {
        printf("%s\n", jpeek_cstr(answer, "id"));
        fflush(stdout);
        if (!o->quiet) {
            fprintf(stderr, "The call is kept; its result: lull result %s --wait\n",
                    jpeek_cstr(answer, "id"));
        }
    }
    return 0;
}

// Where the function is called: at its own address, or, from outside a cluster, by its name at the
// way in; where that has no address, at the function's own again, which is good inside the cluster.
static int base_find(struct cli *cli, const struct invoke *o, const char *name, char **out,
                     struct error *err)
{
    CLEANUP(jfree) json_t *service = NULL;
    CLEANUP(cleanup_free) char *gateway = NULL;
    struct error none;

    int rc = cli_get(cli, KIND_SERVICE, name, &service, err);
    const char *base = jpeek_cstr(service, "status.address.url");
    if (rc == 0 && !base[0]) {
        rc = error_set(err, ERR_UNAVAILABLE, "%s has no address yet: `lull describe %s` says why",
                       name, name);
    }
    if (rc < 0) {
        return rc;
    }
    bool own = o->url == NULL && part_is_here(cli);
    if (own || gateway_find(cli, o->url, &gateway, &none) < 0) {
        *out = xstrdup(base);
    } else {
        *out = xasprintf("%s/_lull/%s/%s", gateway, cli->ns, name);
    }
    return 0;
}

int cmd_invoke(struct cli *cli, int argc, char **argv)
{
    struct invoke o = {0};
    struct call c;
    struct error err;
    CLEANUP(cleanup_free) char *base = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 1) {
        return cli_usage("usage: lull invoke NAME [--data TEXT|@FILE] [--path PATH] [--method "
                         "METHOD] [--async]");
    }
    call_init(&c);
    int rc = !o.async && (o.callback || o.key)
                 ? error_set(&err, ERR_INVALID, "%s is for calls with --async",
                             o.callback ? "--callback" : "--idempotency-key")
                 : cli_connect(cli, &o.common, &err);
    rc = rc ? rc : base_find(cli, &o, argv[1], &base, &err);
    rc = rc ? rc : request(cli, &o, base, &c, &err);
    if (rc < 0 && c.status == 0 && base && !o.url && !part_is_here(cli)) {
        rc = error_prefix(&err, rc, "%s (--url says where functions of this cluster are called)",
                          base);
    }
    int status = rc < 0    ? cli_fail(&err)
                 : o.async ? handed_over(&o, &c)
                           : call_print(&c, o.common.output == CLI_JSON, o.quiet);
    call_fini(&c);
    options_fini(&TABLE, &o);
    return status;
}
