// SPDX-License-Identifier: Apache-2.0
//
// lull status: the supervisor, its parts, the functions. Exit status 0 when everything is ready.
#include "base/mem.h"
#include "json/jget.h"
#include "cli/cli.h"
#include "cli/home.h"

struct status {
    struct cli_common common;
};
static const struct option_row ROWS[] = {CLI_COMMON_ROWS(struct status)};
static const struct option_table TABLE = {.program = "lull status",
                                          .summary = "what runs on this machine",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS)};

static bool parts_print(const json_t *up, bool text)
{
    size_t i;
    json_t *p;
    bool ready = true;
    json_array_foreach(jpeek_arr(up, "parts"), i, p)
    {
        ready = ready && jpeek_bool(p, "ready");
        if (text) {
            printf("  %-16s %-9s process %-8lld restarts %lld\n", jpeek_cstr(p, "name"),
                   jpeek_bool(p, "ready") ? "ready" : "not ready", (long long)jpeek_i64(p, "pid"),
                   (long long)jpeek_i64(p, "restarts"));
        }
    }
    return ready;
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
    struct status o = {0};
    struct error err;
    json_t *up = NULL, *services = NULL, *pods = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 0) {
        return cli_usage("usage: lull status");
    }
    bool text = o.common.output == CLI_TEXT;
    if (home_read_up(cli->home, &up, &err) < 0) {
        if (!text) {
            puts("{\"running\": false}");
        }
        return cli_fail(&err);
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_list(cli, KIND_SERVICE, NULL, &services, &err);
    rc = rc ? rc : cli_list(cli, KIND_POD, NULL, &pods, &err);
    if (text) {
        printf("Lull runs as process %lld since %s, state in %s\n", (long long)jpeek_i64(up, "pid"),
               jpeek_cstr(up, "startedAt"), cli->home);
    }
    bool ready = parts_print(up, text);
    size_t functions = json_array_size(jpeek_arr(services, "items"));
    size_t replicas = json_array_size(jpeek_arr(pods, "items"));
    if (!text) {
        json_object_set_new(up, "running", json_true());
        json_object_set_new(up, "home", json_string(cli->home));
        json_object_set_new(up, "functions", json_integer((json_int_t)functions));
        json_object_set_new(up, "replicas", json_integer((json_int_t)replicas));
        cli_print_json(up);
    } else if (rc == 0) {
        printf("  %zu functions and %zu replicas in namespace %s\n", functions, replicas, cli->ns);
    }
    json_decref(up);
    json_decref(services);
    json_decref(pods);
    options_fini(&TABLE, &o);
    return rc < 0 ? cli_fail(&err) : ready ? 0 : 1;
}
