// SPDX-License-Identifier: Apache-2.0
//
// lull why NAME: the autoscaler's own words, on one machine and on a cluster; where it cannot be
// asked, what it wrote down. A function of class hpa is explained by its HorizontalPodAutoscaler.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "cli/cli.h"
#include "cli/part_ask.h"

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
static void recorded_print(const struct cli *cli, const json_t *autoscaler, bool json)
{
    if (json) {
        json_t *answer = json_pack("{s:s, s:s, s:O?}", "namespace", cli->ns, "name",
                                   jpeek_cstr(autoscaler, "metadata.name"), "changes",
                                   jpeek_arr(autoscaler, "status.lullDecisions"));
        cli_print_json(answer);
        json_decref(answer);
    } else {
        changes_print(autoscaler);
    }
}

// One metric of a HorizontalPodAutoscaler: what is used, and what is wanted.
static void metric_print(const json_t *hpa, const json_t *metric)
{
    const char *name = jpeek_cstr(metric, "resource.name");
    const char *wanted = jpeek_cstr(metric, "resource.target.averageValue");
    const json_t *now = NULL;
    size_t i;
    json_t *one;

    json_array_foreach(jpeek_arr(hpa, "status.currentMetrics"), i, one)
    {
        now = strcmp(jpeek_cstr(one, "resource.name"), name) == 0
                  ? jpeek_obj(one, "resource.current")
                  : now;
    }
    if (strcmp(jpeek_cstr(metric, "type"), "Resource") != 0) {
        printf("  a metric of type %s\n", jpeek_cstr(metric, "type"));
    } else if (now == NULL) {
        printf("  %s: not known what is used\n", name);
    } else if (wanted[0] != '\0') {
        printf("  %s: %s used per replica, %s wanted\n", name, jpeek_cstr(now, "averageValue"),
               wanted);
    } else {
        printf("  %s: %lld %% of the request used, %lld %% wanted (%s per replica)\n", name,
               (long long)jpeek_i64(now, "averageUtilization"),
               (long long)jpeek_i64(metric, "resource.target.averageUtilization"),
               jpeek_cstr(now, "averageValue"));
    }
}

static void hpa_text(const json_t *autoscaler, const json_t *scaling, const json_t *hpa)
{
    size_t i;
    json_t *one;

    printf("%s: class hpa, %lld replicas wanted, %lld ready",
           jpeek_cstr(autoscaler, "metadata.name"),
           (long long)jpeek_i64(autoscaler, "status.desiredScale"),
           (long long)jpeek_i64(autoscaler, "status.actualScale"));
    if (hpa == NULL) {
        printf(".\nScalingActive is %s, %s: %s\n", jpeek_cstr(scaling, "status"),
               jpeek_cstr(scaling, "reason"), jpeek_cstr(scaling, "message"));
        return;
    }
    printf(", %lld at least, %lld at most.\n", (long long)jpeek_i64(hpa, "spec.minReplicas"),
           (long long)jpeek_i64(hpa, "spec.maxReplicas"));
    json_array_foreach(jpeek_arr(hpa, "spec.metrics"), i, one)
    {
        metric_print(hpa, one);
    }
    json_array_foreach(jpeek_arr(hpa, "status.conditions"), i, one)
    {
        printf("  %s is %s, %s: %s\n", jpeek_cstr(one, "type"), jpeek_cstr(one, "status"),
               jpeek_cstr(one, "reason"), jpeek_cstr(one, "message"));
    }
    if (jpeek_str(hpa, "status.lastScaleTime").len > 0) {
        printf("  last changed at %s; `lull get events` has the changes\n",
               jpeek_cstr(hpa, "status.lastScaleTime"));
    }
}

// Of class hpa: the HorizontalPodAutoscaler of the revision's name says what is measured and done.
static void hpa_print(struct cli *cli, const json_t *autoscaler, const json_t *scaling, bool json)
{
    struct error err;
    CLEANUP(jfree) json_t *hpa = NULL;
    if (cli_get(cli, KIND_HPA, jpeek_cstr(autoscaler, "metadata.name"), &hpa, &err) < 0) {
        hpa = NULL; // not made yet, or not ours to read: what the PodAutoscaler says must do
    }
    if (!json) {
        hpa_text(autoscaler, scaling, hpa);
        return;
    }
    json_t *answer = json_copy(jpeek_obj(autoscaler, "status"));
    if (hpa != NULL) {
        (void)json_object_set(answer, "horizontalPodAutoscaler", hpa);
    }
    cli_print_json(answer);
    json_decref(answer);
}

// Asks the autoscaler, which knows also the reasons not to scale; they are in no object.
static int ask(struct cli *cli, const char *revision, bool replay, json_t **out, struct error *err)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(cleanup_free)
    char *path = xasprintf("/debug/why?namespace=%s&name=%s%s", cli->ns, revision,
                           replay ? "&replay=1" : "");
    int rc = part_ask(cli, "autoscaler", path, &body, err);
    return rc < 0 ? rc : jparse_object(slice_str(body), 1u << 20, out, err);
}

static int explain(struct cli *cli, const char *revision, bool json, bool replay, struct error *err)
{
    struct error asking;
    CLEANUP(jfree) json_t *autoscaler = NULL;
    CLEANUP(jfree) json_t *answer = NULL;
    int rc = cli_get(cli, KIND_PODAUTOSCALER, revision, &autoscaler, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *scaling = cli_condition(autoscaler, "ScalingActive");
    if (scaling != NULL) {
        hpa_print(cli, autoscaler, scaling, json);
    } else if (ask(cli, revision, replay, &answer, &asking) < 0) {
        fprintf(stderr, "lull: the autoscaler cannot be asked (%s); what it wrote down last:\n",
                asking.msg);
        recorded_print(cli, autoscaler, json);
    } else if (json) {
        cli_print_json(answer);
    } else if (replay) {
        replay_print(answer);
    } else {
        why_print(answer);
    }
    return 0;
}

static int why(struct cli *cli, const char *name, bool json, bool replay, struct error *err)
{
    CLEANUP(jfree) json_t *service = NULL;
    int rc = cli_get(cli, KIND_SERVICE, name, &service, err);
    if (rc < 0) {
        return rc;
    }
    const char *revision = jpeek_cstr(service, "status.latestReadyRevisionName");
    if (!revision[0]) {
        const json_t *ready = cli_condition(service, "Ready");
        return error_set(err, ERR_NOT_FOUND, "%s has no ready revision yet: %s %s", name,
                         jpeek_cstr(ready, "reason"), jpeek_cstr(ready, "message"));
    }
    return explain(cli, revision, json, replay, err);
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
