// SPDX-License-Identifier: Apache-2.0
//
// lull describe NAME, lull why NAME: one function in detail.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
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
struct why {
    struct cli_common common;
    bool replay;
};
static const struct option_row WHY_ROWS[] = {
    OPTION(struct why, replay, BOOL, NULL, "replay", "false",
           .help = "compute the recorded changes again from what was written down"),
    CLI_COMMON_ROWS(struct why),
};
static const struct option_table WHY = {
    .program = "lull why",
    .summary = "says why a function has the replicas it has",
    .arguments = "NAME",
    .rows = WHY_ROWS,
    .count = ARRAY_LEN(WHY_ROWS),
};

static void conditions_print(const json_t *object)
{
    size_t i;
    json_t *c;
    json_array_foreach(jpeek_arr(object, "status.conditions"), i, c)
    {
        printf("  %-22s %-8s %s%s%s\n", jpeek_cstr(c, "type"), jpeek_cstr(c, "status"),
               jpeek_cstr(c, "reason"), slice_empty(jpeek_str(c, "message")) ? "" : ": ",
               jpeek_cstr(c, "message"));
    }
}

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
        printf("Conditions\n");
        conditions_print(service);
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

static void change_print(const json_t *c)
{
    double stable = 0, panic = 0, target = 0;
    (void)(jget_double(c, "inputs.stable", &stable, NULL) +
           jget_double(c, "inputs.panic", &panic, NULL) +
           jget_double(c, "inputs.target", &target, NULL));
    printf("  %s  %lld -> %lld  %s (stable %.2f, panic %.2f, target %.2f, %lld ready)\n",
           jpeek_cstr(c, "time"), (long long)jpeek_i64(c, "from"), (long long)jpeek_i64(c, "to"),
           jpeek_cstr(c, "rule"), stable, panic, target, (long long)jpeek_i64(c, "inputs.ready"));
}

static void changes_print(const json_t *autoscaler)
{
    const json_t *changes = jpeek_arr(autoscaler, "status.lullDecisions");
    size_t i;
    json_t *c;

    printf("%s: %lld replicas wanted, %lld ready. Its last changes, newest first:\n",
           jpeek_cstr(autoscaler, "metadata.name"),
           (long long)jpeek_i64(autoscaler, "status.desiredScale"),
           (long long)jpeek_i64(autoscaler, "status.actualScale"));
    json_array_foreach(changes, i, c)
    {
        change_print(c);
    }
    if (json_array_size(changes) == 0) {
        puts("  none yet");
    }
}

// The autoscaler's own words, what holds the scale up, and the last changes.
static void why_print(const json_t *answer)
{
    const json_t *holds = jpeek_arr(answer, "holds");
    const json_t *changes = jpeek_arr(answer, "changes");
    size_t i;
    json_t *each;

    puts(jpeek_cstr(answer, "text"));
    if (json_array_size(holds) > 0) {
        puts("What keeps it from going down sooner:");
    }
    json_array_foreach(holds, i, each)
    {
        printf("  %-20s %s\n", jpeek_cstr(each, "reason"), jpeek_cstr(each, "text"));
    }
    if (json_array_size(changes) > 0) {
        puts("Its last changes, newest first:");
    }
    json_array_foreach(changes, i, each)
    {
        change_print(each);
    }
}

// Each recorded change with what the same numbers give now.
static void replay_print(const json_t *answer)
{
    const json_t *changes = jpeek_arr(answer, "replay");
    size_t i;
    json_t *c;

    if (json_array_size(changes) == 0) {
        puts("no change is recorded yet");
    }
    json_array_foreach(changes, i, c)
    {
        change_print(c);
        if (jget(c, "recomputed") == NULL) {
            puts("      too little was written down to compute it again");
        } else {
            printf("      again: %lld  %s%s\n", (long long)jpeek_i64(c, "recomputed.to"),
                   jpeek_cstr(c, "recomputed.rule"),
                   jpeek_bool(c, "same") ? "" : "  (another one: settings have changed since)");
        }
    }
}

// What the autoscaler left in the PodAutoscaler's status: the changes and their inputs.
static int why_recorded(struct cli *cli, const char *revision, bool json, struct error *err)
{
    json_t *autoscaler = NULL;
    int rc = cli_get(cli, KIND_PODAUTOSCALER, revision, &autoscaler, err);
    if (rc == 0 && json) {
        json_t *changes = jpeek_arr(autoscaler, "status.lullDecisions");
        json_t *answer = json_pack("{s:s, s:s, s:O?}", "namespace", cli->ns, "name", revision,
                                   "changes", changes);
        cli_print_json(answer);
        json_decref(answer);
    } else if (rc == 0) {
        changes_print(autoscaler);
    }
    json_decref(autoscaler);
    return rc;
}

// Asks the autoscaler, which knows also the reasons not to scale; they are in no object. It can be
// asked on one machine only; elsewhere the changes must do.
static int why(struct cli *cli, const char *name, bool json, bool replay, struct error *err)
{
    json_t *service = NULL, *answer = NULL;
    char *body = NULL;

    int rc = cli_get(cli, KIND_SERVICE, name, &service, err);
    if (rc < 0) {
        return rc;
    }
    const char *revision = jpeek_cstr(service, "status.latestReadyRevisionName");
    if (!revision[0]) {
        const json_t *ready = cli_condition(service, "Ready");
        rc = error_set(err, ERR_NOT_FOUND, "%s has no ready revision yet: %s %s", name,
                       jpeek_cstr(ready, "reason"), jpeek_cstr(ready, "message"));
    } else {
        CLEANUP(cleanup_free)
        char *path = xasprintf("/debug/why?namespace=%s&name=%s%s", cli->ns, revision,
                               replay ? "&replay=1" : "");
        rc = cli_admin_get(cli, "autoscaler", path, &body, err);
        if (rc < 0) {
            fprintf(stderr, "lull: the autoscaler cannot be asked (%s); what it wrote down last:\n",
                    err->msg);
            rc = why_recorded(cli, revision, json, err);
            json_decref(service);
            return rc;
        }
        rc = jparse_object(slice_str(body), 1u << 20, &answer, err);
    }
    if (rc == 0 && json) {
        cli_print_json(answer);
    } else if (rc == 0 && replay) {
        replay_print(answer);
    } else if (rc == 0) {
        why_print(answer);
    }
    free(body);
    json_decref(answer);
    json_decref(service);
    return rc;
}

int cmd_why(struct cli *cli, int argc, char **argv)
{
    struct why o = {0};
    struct error err;

    if (cli_parse(&WHY, argc, argv, &o) != 1) {
        return cli_usage("usage: lull why NAME");
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : why(cli, argv[1], o.common.output == CLI_JSON, o.replay, &err);
    options_fini(&WHY, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
