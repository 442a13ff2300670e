// SPDX-License-Identifier: Apache-2.0
//
// lull describe NAME: one function in detail.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/cli.h"

struct one {
    struct cli_common common;
};
static const struct option_row ROWS[] = {CLI_COMMON_ROWS(struct one)};

#define TABLE(program_name, text, args)                                                  \
    {                                                                                    \
        .program = (program_name), .summary = (text), .arguments = (args), .rows = ROWS, \
        .count = ARRAY_LEN(ROWS)                                                         \
    }
static const struct option_table DESCRIBE =
    TABLE("lull describe", "shows a function in detail", "NAME");
static void pods_print(const json_t *pods)
{
    size_t i, k;
    json_t *pod, *c;
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const json_t *ready = cli_condition(pod, "Ready");
        const json_t *scheduled = cli_condition(pod, "PodScheduled");
        printf("  %s  %s, ready %s\n", jpeek_cstr(pod, "metadata.name"),
               jpeek_cstr(pod, "status.phase"),
               slice_eq_str(jpeek_str(ready, "status"), "True") ? "yes" : "no");
        if (slice_eq_str(jpeek_str(scheduled, "status"), "False")) {
            printf("    %s: %s\n", jpeek_cstr(scheduled, "reason"),
                   jpeek_cstr(scheduled, "message"));
        }
        json_array_foreach(jpeek_arr(pod, "status.containerStatuses"), k, c)
        {
            const char *reason = jpeek_cstr(c, "state.waiting.reason");
            if (reason[0] && !slice_eq_str(jpeek_str(c, "name"), QUEUE_CONTAINER_NAME)) {
                printf("    %s: %s\n", reason, jpeek_cstr(c, "state.waiting.message"));
            }
        }
    }
}

static void revisions_print(const json_t *service, const json_t *revisions)
{
    size_t i;
    json_t *r;
    json_array_foreach(jpeek_arr(service, "status.traffic"), i, r)
    {
        printf("  %3lld %%  %s%s%s\n", (long long)jpeek_i64(r, "percent"),
               jpeek_cstr(r, "revisionName"), jpeek_bool(r, "latestRevision") ? " (latest)" : "",
               jpeek_cstr(r, "tag"));
    }
    printf("Revisions\n");
    json_array_foreach(jpeek_arr(revisions, "items"), i, r)
    {
        const json_t *ready = cli_condition(r, "Ready");
        printf("  %-32s ready %-8s %s\n", jpeek_cstr(r, "metadata.name"),
               jpeek_cstr(ready, "status"), jpeek_cstr(ready, "message"));
    }
}

static int describe(struct cli *cli, const char *name, bool json, struct error *err)
{
    json_t *service = NULL, *revisions = NULL, *pods = NULL;
    CLEANUP(cleanup_free) char *labels = xasprintf(LABEL_SERVICE "=%s", name);

    int rc = cli_get(cli, KIND_SERVICE, name, &service, err);
    rc = rc ? rc : cli_list(cli, KIND_REVISION, labels, &revisions, err);
    rc = rc ? rc : cli_list(cli, KIND_POD, labels, &pods, err);
    if (rc == 0 && json) {
        json_t *all = json_pack("{s:O, s:O, s:O}", "service", service, "revisions",
                                jpeek_arr(revisions, "items"), "pods", jpeek_arr(pods, "items"));
        cli_print_json(all);
        json_decref(all);
    } else if (rc == 0) {
        printf("%s in namespace %s\n", name, cli->ns);
        printf("  URL      %s\n  Address  %s\n", jpeek_cstr(service, "status.url"),
               jpeek_cstr(service, "status.address.url"));
        printf("  Image    %s\n", jpeek_cstr(service, "spec.template.spec.containers[0].image"));
        cli_conditions_print(service);
        printf("Traffic\n");
        revisions_print(service, revisions);
        printf("Replicas: %zu\n", json_array_size(jpeek_arr(pods, "items")));
        pods_print(pods);
    }
    json_decref(service);
    json_decref(revisions);
    json_decref(pods);
    return rc;
}

int cmd_describe(struct cli *cli, int argc, char **argv)
{
    struct one o = {0};
    struct error err;

    if (cli_parse(&DESCRIBE, argc, argv, &o) != 1) {
        return cli_usage("usage: lull describe NAME");
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : describe(cli, argv[1], o.common.output == CLI_JSON, &err);
    options_fini(&DESCRIBE, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
