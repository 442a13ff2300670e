// SPDX-License-Identifier: Apache-2.0
//
// lull result ID: what became of an asynchronous call, as the function answered it; asked of the
// activator, which knows every id whatever the host. Failure modes: nobody says where the activator
// is; there is no such call; no result yet, which is exit status 2.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/call.h"
#include "cli/gateway.h"

enum { PENDING = 2, WAIT_S = 20, ONE_MS = 60000 };

struct result_options {
    struct cli_common common; // namespace: an id needs none
    char *url;
    int64_t timeout_s;
    bool wait, quiet, drop;
};
static const struct option_row ROWS[] = {
    OPTION(struct result_options, wait, BOOL, NULL, "wait", "false",
           .help = "wait until there is a result"),
    OPTION(struct result_options, timeout_s, INT, NULL, "timeout", "300", .min = 1, .max = 86400,
           .help = "with --wait: seconds to wait at most"),
    OPTION(struct result_options, drop, BOOL, NULL, "delete", "false",
           .help = "delete the call or its result instead"),
    OPTION(struct result_options, url, STRING, "LULL_GATEWAY", "url", NULL, .optional = true,
           .help = GATEWAY_HELP),
    OPTION(struct result_options, quiet, BOOL, NULL, "quiet", "false", .help = "the body only"),
    CLI_COMMON_ROWS(struct result_options),
};
static const struct option_table TABLE = {.program = "lull result",
                                          .summary = "fetches the result of an asynchronous call",
                                          .arguments = "ID",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

// The id, or the Location that names it.
static const char *id_of(const char *text)
{
    const char *slash = strrchr(text, '/');
    return slash ? slash + 1 : text;
}

static int ask(struct cli *cli, const struct result_options *o, const char *url, struct call *c,
               struct error *err)
{
    CLEANUP(cleanup_free) char *wait = xasprintf("Prefer: wait=%d", WAIT_S);
    const char *const headers[] = {o->wait && !o->drop ? wait : NULL, NULL};
    struct call_request request = {
        .method = o->drop ? "DELETE" : "GET", .url = url, .headers = headers, .timeout_ms = ONE_MS};
    uint64_t until = loop_now_fresh_ns(&cli->loop) / 1000000 + (uint64_t)o->timeout_s * 1000;
    int rc;
    bool again;
    do {
        call_fini(c);
        call_init(c);
        rc = call_make(cli, &request, c, err);
        bool away = rc == 0 && c->status == 503 && c->async_state[0] == '\0';
        bool pending = rc == 0 && c->status == 202 && strcmp(c->async_state, "done") != 0;
        again = o->wait && !o->drop && (away || pending) &&
                loop_now_fresh_ns(&cli->loop) / 1000000 < until;
        if (again && away) {
            cli_pause(cli, 1000);
        }
    } while (again);
    return rc;
}

int cmd_result(struct cli *cli, int argc, char **argv)
{
    struct result_options o = {0};
    struct call c;
    struct error err;
    CLEANUP(cleanup_free) char *base = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 1) {
        return cli_usage("usage: lull result ID [--wait] [--delete]");
    }
    call_init(&c);
    int rc = o.url ? 0 : cli_connect(cli, &o.common, &err);
    rc = rc ? rc : gateway_find(cli, o.url, &base, &err);
    CLEANUP(cleanup_free)
    char *url = xasprintf("%s/_lull/async/%s", base ? base : "", id_of(argv[1]));
    rc = rc ? rc : ask(cli, &o, url, &c, &err);
    int status;
    if (rc < 0) {
        status = cli_fail(&err);
    } else if (c.status == 202 && strcmp(c.async_state, "done") != 0) {
        fprintf(stderr, "There is no result yet: the call is %s.\n", c.async_state);
        status = PENDING;
    } else {
        status = call_print(&c, o.common.output == CLI_JSON, o.quiet);
    }
    call_fini(&c);
    options_fini(&TABLE, &o);
    return status;
}
