// SPDX-License-Identifier: Apache-2.0
//
// lull invoke NAME: one HTTP request to a function, through its address that needs no DNS; the body
// goes to stdout, what surrounds it to stderr.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "fetch/fetch.h"
#include "cli/cli.h"

#define DATA_MAX (64u << 20)

struct invoke {
    struct cli_common common;
    char *method, *path, *data, *header;
    int64_t timeout_s;
    bool quiet;
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
    OPTION(struct invoke, timeout_s, INT, NULL, "timeout", "300", .min = 1, .max = 86400,
           .help = "seconds to wait for the answer"),
    OPTION(struct invoke, quiet, BOOL, NULL, "quiet", "false", .help = "the body only"),
};
static const struct option_table TABLE = {.program = "lull invoke",
                                          .summary = "calls a function",
                                          .arguments = "NAME",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

struct call {
    bool done;
    int status;
    struct strbuf body;
    int rc;
    struct error err;
};

static void on_done(void *arg, const struct fetch_result *result, const struct error *err)
{
    struct call *c = arg;

    c->done = true;
    c->status = result->status;
    strbuf_append_slice(&c->body, result->body);
    if (err) {
        c->rc = error_copy(&c->err, err);
    }
}

static int data_read(const char *text, struct strbuf *out, struct error *err)
{
    if (text[0] == '@') {
        return fs_read_file(text + 1, DATA_MAX, out, err);
    }
    return strbuf_append_str(out, text);
}

static int request(struct cli *cli, const struct invoke *o, const char *base, struct call *c,
                   struct error *err)
{
    struct fetch *f = NULL;
    CLEANUP(strbuf_fini) struct strbuf data;
    const char *headers[] = {o->header, NULL};
    strbuf_init(&data, DATA_MAX);
    CLEANUP(cleanup_free)
    char *url = xasprintf("%s%s%s", base, o->path[0] == '/' ? "" : "/", o->path);

    int rc = o->data ? data_read(o->data, &data, err) : 0;
    struct fetch_spec spec = {
        .method = o->method ? o->method
                  : o->data ? "POST"
                            : "GET",
        .url = url,
        .headers = headers,
        .body = strbuf_slice(&data),
        .timeout_ms = (uint64_t)o->timeout_s * 1000,
        .on_done = on_done,
        .arg = c,
    };
    rc = rc ? rc : fetch_new(&cli->loop, &(struct fetch_options){0}, &f, err);
    rc = rc ? rc : fetch_start(f, &spec, NULL, err);
    if (rc < 0) {
        return rc;
    }
    (void)cli_run_until(cli, &c->done, spec.timeout_ms + 1000);
    if (!c->done) {
        return error_set(err, ERR_TIMEOUT, "no answer in %lld s", (long long)o->timeout_s);
    }
    fetch_close(f, NULL, NULL);
    return c->rc ? error_copy(err, &c->err) : 0;
}

static int answer_print(const struct invoke *o, const struct call *c, uint64_t ms)
{
    if (o->common.output == CLI_JSON) {
        json_t *body = json_stringn(c->body.ptr, c->body.len);
        json_t *answer = json_pack("{s:i, s:I, s:o}", "status", c->status, "milliseconds",
                                   (json_int_t)ms, "body", body ? body : json_string("(not text)"));
        cli_print_json(answer);
        json_decref(answer);
    } else {
        fwrite(c->body.ptr, 1, c->body.len, stdout);
        fflush(stdout);
        if (!o->quiet) {
            fprintf(stderr, "%sHTTP %d in %llu ms\n",
                    c->body.len > 0 && c->body.ptr[c->body.len - 1] != '\n' ? "\n" : "", c->status,
                    (unsigned long long)ms);
        }
    }
    return c->status >= 200 && c->status < 400 ? 0 : 1;
}

int cmd_invoke(struct cli *cli, int argc, char **argv)
{
    struct invoke o = {0};
    struct call c = {0};
    struct error err;
    json_t *service = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 1) {
        return cli_usage(
            "usage: lull invoke NAME [--data TEXT|@FILE] [--path PATH] [--method METHOD]");
    }
    strbuf_init(&c.body, DATA_MAX);
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_get(cli, KIND_SERVICE, argv[1], &service, &err);
    const char *base = jpeek_cstr(service, "status.address.url");
    if (rc == 0 && !base[0]) {
        rc = error_set(&err, ERR_UNAVAILABLE, "%s has no address yet: `lull describe %s` says why",
                       argv[1], argv[1]);
    }
    uint64_t begun = loop_now_fresh_ns(&cli->loop);
    rc = rc ? rc : request(cli, &o, base, &c, &err);
    uint64_t ms = (loop_now_fresh_ns(&cli->loop) - begun) / 1000000;
    int status = rc < 0 ? cli_fail(&err) : answer_print(&o, &c, ms);
    strbuf_fini(&c.body);
    json_decref(service);
    options_fini(&TABLE, &o);
    return status;
}
