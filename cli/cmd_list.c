// SPDX-License-Identifier: Apache-2.0
//
// lull list, lull url, lull version: short answers from the Services.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/cli.h"

struct simple {
    struct cli_common common;
};
static const struct option_row ROWS[] = {CLI_COMMON_ROWS(struct simple)};

static const struct option_table LIST = {
    .program = "lull list", .summary = "lists functions", .rows = ROWS, .count = ARRAY_LEN(ROWS)};
static const struct option_table URL = {.program = "lull url",
                                        .summary = "prints a function's URL",
                                        .arguments = "NAME",
                                        .rows = ROWS,
                                        .count = ARRAY_LEN(ROWS)};

static const struct option_row OUTPUT_ROW[] = {CLI_OUTPUT_ROW(struct simple)};
static const struct option_table VERSION = {.program = "lull version",
                                            .summary = "prints the version",
                                            .rows = OUTPUT_ROW,
                                            .count = ARRAY_LEN(OUTPUT_ROW)};

static int ready_pods(const json_t *pods, const char *service)
{
    size_t i;
    json_t *pod;
    int count = 0;
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const json_t *ready = cli_condition(pod, "Ready");
        count += slice_eq_str(jpeek_str(pod, "metadata.labels.`" LABEL_SERVICE "`"), service) &&
                 !jget(pod, "metadata.deletionTimestamp") &&
                 slice_eq_str(jpeek_str(ready, "status"), "True");
    }
    return count;
}

static void row_print(const json_t *service, const json_t *pods)
{
    const char *name = jpeek_cstr(service, "metadata.name");
    const json_t *ready = cli_condition(service, "Ready");
    const char *status = jpeek_cstr(ready, "status");

    printf("%-24s %-48s %8d  %-8s %s\n", name, jpeek_cstr(service, "status.url"),
           ready_pods(pods, name), status[0] ? status : "Unknown", jpeek_cstr(ready, "reason"));
}

int cmd_list(struct cli *cli, int argc, char **argv)
{
    struct simple o = {0};
    struct error err;
    json_t *services = NULL, *pods = NULL;
    size_t i;
    json_t *service;

    if (cli_parse(&LIST, argc, argv, &o) != 0) {
        return cli_usage("usage: lull list");
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_list(cli, KIND_SERVICE, NULL, &services, &err);
    rc = rc ? rc : cli_list(cli, KIND_POD, LABEL_SERVICE, &pods, &err);
    if (rc < 0) {
        json_decref(services);
        return cli_fail(&err);
    }
    if (o.common.output == CLI_JSON) {
        cli_print_json(services);
    } else if (json_array_size(jpeek_arr(services, "items")) == 0) {
        printf("no functions in namespace %s; `lull deploy NAME --source DIR` makes one\n",
               cli->ns);
    } else {
        printf("%-24s %-48s %8s  %-8s %s\n", "NAME", "URL", "REPLICAS", "READY", "REASON");
        json_array_foreach(jpeek_arr(services, "items"), i, service)
        {
            row_print(service, pods);
        }
    }
    json_decref(services);
    json_decref(pods);
    options_fini(&LIST, &o);
    return 0;
}

int cmd_url(struct cli *cli, int argc, char **argv)
{
    struct simple o = {0};
    struct error err;
    json_t *service = NULL;

    if (cli_parse(&URL, argc, argv, &o) != 1) {
        return cli_usage("usage: lull url NAME");
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_get(cli, KIND_SERVICE, argv[1], &service, &err);
    if (rc < 0) {
        return cli_fail(&err);
    }
    const char *url = jpeek_cstr(service, "status.url");
    const char *address = jpeek_cstr(service, "status.address.url");
    int status = 0;
    if (o.common.output == CLI_JSON) {
        json_t *answer = json_pack("{s:s, s:s}", "url", url, "address", address);
        cli_print_json(answer);
        json_decref(answer);
    } else if (url[0]) {
        puts(url);
    } else {
        status = cli_failf("%s has no URL yet: `lull describe %s` says why", argv[1], argv[1]);
    }
    json_decref(service);
    options_fini(&URL, &o);
    return status;
}

int cmd_version(struct cli *cli, int argc, char **argv)
{
    struct simple o = {0};

    (void)cli;
    if (cli_parse(&VERSION, argc, argv, &o) != 0) {
        return cli_usage("usage: lull version");
    }
    puts(o.common.output == CLI_JSON ? "{\"version\": \"" LULL_VERSION "\"}"
                                     : "lull " LULL_VERSION);
    options_fini(&VERSION, &o);
    return 0;
}
