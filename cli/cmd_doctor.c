// SPDX-License-Identifier: Apache-2.0
//
// lull doctor: looks at an installation, on this machine or on a cluster, and says what is wrong
// and what to do about it. Nothing is changed. Exit status 1 when something does not work.
#include <string.h>

#include "json/jget.h"
#include "cli/doctor.h"
#include "cli/part_ask.h"

struct options {
    struct cli_common common;
    bool all;
};
static const struct option_row ROWS[] = {
    OPTION(struct options, all, BOOL, NULL, "all-namespaces", "false",
           .help = "look at the functions of every namespace; -A for short"),
    CLI_COMMON_ROWS(struct options),
};
static const struct option_table TABLE = {
    .program = "lull doctor",
    .summary = "looks for what is wrong with the installation, and says what to do",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS)};

static void print_text(const struct doctor *d)
{
    size_t i;
    json_t *one;
    json_array_foreach(d->findings, i, one)
    {
        const char *level = jpeek_cstr(one, "level");
        const char *advice = jpeek_cstr(one, "advice");
        printf("%-8s %-13s %s\n", strcmp(level, "failed") == 0 ? "FAILED" : level,
               jpeek_cstr(one, "check"), jpeek_cstr(one, "text"));
        if (advice[0] != '\0') {
            printf("%-22s -> %s\n", "", advice);
        }
    }
    printf("%zu checks, %zu failed, %zu warnings\n", json_array_size(d->findings), d->failed,
           d->warned);
}

static int report(const struct doctor *d, const struct options *o)
{
    if (o->common.output == CLI_JSON) {
        json_t *answer = json_pack("{s:O,s:b}", "findings", d->findings, "healthy", d->failed == 0);
        cli_print_json(answer);
        json_decref(answer);
    } else {
        print_text(d);
    }
    return d->failed > 0 ? 1 : 0;
}

int cmd_doctor(struct cli *cli, int argc, char **argv)
{
    struct options o = {0};
    struct error err;

    if (cli_parse(&TABLE, argc, argv, &o) != 0) {
        return cli_usage("usage: lull doctor");
    }
    struct doctor d = {.cli = cli, .findings = json_array()};
    bool named = o.common.kubeconfig != NULL && o.common.kubeconfig[0] != '\0';
    int rc = cli_connect(cli, &o.common, &err);
    if (rc < 0) {
        doctor_fail(&d, "api",
                    named ? "see whether the file is right"
                          : "start Lull here with `lull up`, or "
                            "name a cluster with --kubeconfig",
                    "%s", err.msg);
    } else if (part_is_here(cli) ? doctor_machine(&d) : doctor_cluster(&d)) {
        doctor_objects(&d, o.all);
        doctor_events(&d, o.all);
    }
    int status = report(&d, &o);
    json_decref(d.findings);
    options_fini(&TABLE, &o);
    return status;
}
