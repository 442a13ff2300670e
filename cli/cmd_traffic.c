// SPDX-License-Identifier: Apache-2.0
//
// lull traffic NAME: shows how a function's requests are shared out, or changes it. lull rollback
// NAME: all of it to an older revision.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/traffic_edit.h"

struct traffic {
    struct cli_common common;
    struct cli_wait wait;
    char *to_help, *tag_help, *untag_help; /* rows for --help; the words stand below */
    struct cli_words to, tag, untag;
    json_t *revisions;
    const char *name;
    const char *pin; /* rollback: to this one */
};

static const struct option_row TRAFFIC_ROWS[] = {
    OPTION(struct traffic, to_help, STRING, NULL, "to", NULL, .optional = true,
           .help =
               "REVISION=PERCENT, also TAG=PERCENT or @latest=PERCENT; given for each share, all "
               "together 100"),
    OPTION(struct traffic, tag_help, STRING, NULL, "tag", NULL, .optional = true,
           .help = "REVISION=TAG: a host name of its own; may be given several times"),
    OPTION(struct traffic, untag_help, STRING, NULL, "untag", NULL, .optional = true,
           .help = "take a tag off; may be given several times"),
    CLI_WAIT_ROWS(struct traffic),
    CLI_COMMON_ROWS(struct traffic),
};
static const struct option_table TRAFFIC = {
    .program = "lull traffic",
    .summary = "shows or changes which revisions get a function's requests",
    .arguments = "NAME",
    .rows = TRAFFIC_ROWS,
    .count = ARRAY_LEN(TRAFFIC_ROWS),
    .examples = "  lull traffic hello\n"
                "  lull traffic hello --to hello-00001=20 --to @latest=80\n"
                "  lull traffic hello --tag hello-00001=v1\n"
                "  lull traffic hello --to v1=100 --untag old\n"};

static const struct option_row ROLLBACK_ROWS[] = {
    OPTION(struct traffic, to_help, STRING, NULL, "to", NULL, .optional = true,
           .help = "the revision; else the newest ready one older than the one that is called now"),
    CLI_WAIT_ROWS(struct traffic),
    CLI_COMMON_ROWS(struct traffic),
};
static const struct option_table ROLLBACK = {
    .program = "lull rollback",
    .summary = "gives all requests of a function to an older revision",
    .arguments = "NAME",
    .rows = ROLLBACK_ROWS,
    .count = ARRAY_LEN(ROLLBACK_ROWS),
    .examples = "  lull rollback hello\n"
                "  lull rollback hello --to hello-00001\n"
                "  lull traffic hello --to @latest=100     # the way forward again\n"};

static bool there(const json_t *revisions, const char *name)
{
    size_t i;
    json_t *r;
    json_array_foreach(jpeek_arr(revisions, "items"), i, r)
    {
        if (strcmp(jpeek_cstr(r, "metadata.name"), name) == 0) {
            return true;
        }
    }
    return false;
}

static int change(void *arg, json_t *service, struct error *err)
{
    struct traffic *t = arg;
    struct traffic_changes changes = {.to = (const char *const *)t->to.items,
                                      .tag = (const char *const *)t->tag.items,
                                      .untag = (const char *const *)t->untag.items};
    size_t i;
    json_t *target;

    int rc = t->pin ? traffic_pin(service, t->pin, err) : traffic_edit(service, &changes, err);
    json_array_foreach(jpeek_arr(service, "spec.traffic"), i, target)
    {
        const char *name = jpeek_cstr(target, "revisionName");
        if (rc == 0 && name[0] && !there(t->revisions, name)) {
            rc = error_set(err, ERR_NOT_FOUND,
                           "%.60s has no revision \"%.60s\"; `lull revisions %.60s` lists them",
                           t->name, name, t->name);
        }
    }
    return rc;
}

static void show(const json_t *service, bool json)
{
    const json_t *list = jpeek_arr(service, "status.traffic");
    size_t i;
    json_t *target;

    if (json) {
        json_t *answer =
            json_pack("{s:s, s:O?}", "name", jpeek_cstr(service, "metadata.name"), "traffic", list);
        cli_print_json(answer);
        json_decref(answer);
        return;
    }
    printf("%-32s %8s  %-12s %s\n", "REVISION", "PERCENT", "TAG", "URL");
    json_array_foreach(list, i, target)
    {
        CLEANUP(cleanup_free)
        char *name = xasprintf("%s%s", jpeek_cstr(target, "revisionName"),
                               jpeek_bool(target, "latestRevision") ? " (latest)" : "");
        printf("%-32s %8lld  %-12s %s\n", name, (long long)jpeek_i64(target, "percent"),
               jpeek_cstr(target, "tag"), jpeek_cstr(target, "url"));
    }
}

static int revisions_of(struct cli *cli, struct traffic *t, struct error *err)
{
    CLEANUP(cleanup_free) char *labels = xasprintf(LABEL_SERVICE "=%s", t->name);
    return cli_list(cli, KIND_REVISION, labels, &t->revisions, err);
}

static int run(struct cli *cli, struct traffic *t, bool changes)
{
    struct error err;
    CLEANUP(jfree) json_t *service = NULL;

    t->wait.progress = t->common.output == CLI_TEXT;
    int rc =
        changes ? revisions_of(cli, t, &err) : cli_get(cli, KIND_SERVICE, t->name, &service, &err);
    if (rc == 0 && changes) {
        rc = cli_change_service(cli, t->name, change, t, &t->wait, &service, &err);
    }
    json_decref(t->revisions);
    if (rc < 0) {
        return cli_fail(&err);
    }
    show(service, t->common.output == CLI_JSON);
    return 0;
}

int cmd_traffic(struct cli *cli, int argc, char **argv)
{
    struct traffic t = {0};
    struct error err;

    if (cli_repeated(&argc, argv, "to", 0, &t.to) || cli_repeated(&argc, argv, "tag", 0, &t.tag) ||
        cli_repeated(&argc, argv, "untag", 0, &t.untag)) {
        return 2;
    }
    if (cli_parse(&TRAFFIC, argc, argv, &t) != 1) {
        return cli_usage("usage: lull traffic NAME [--to REVISION=PERCENT…]");
    }
    t.name = argv[1];
    int status = cli_connect(cli, &t.common, &err) < 0
                     ? cli_fail(&err)
                     : run(cli, &t, t.to.count + t.tag.count + t.untag.count > 0);
    options_fini(&TRAFFIC, &t);
    return status;
}

int cmd_rollback(struct cli *cli, int argc, char **argv)
{
    struct traffic t = {0};
    struct error err;
    CLEANUP(jfree) json_t *service = NULL;
    CLEANUP(cleanup_free) char *pin = NULL;

    if (cli_parse(&ROLLBACK, argc, argv, &t) != 1) {
        return cli_usage("usage: lull rollback NAME [--to REVISION]");
    }
    t.name = argv[1];
    int rc = cli_connect(cli, &t.common, &err);
    rc = rc ? rc : cli_get(cli, KIND_SERVICE, t.name, &service, &err);
    rc = rc ? rc : revisions_of(cli, &t, &err);
    if (rc == 0) {
        const char *to = t.to_help ? t.to_help : traffic_previous(service, t.revisions, &err);
        pin = to ? xstrdup(to) : NULL;
    }
    json_decref(t.revisions);
    t.revisions = NULL;
    int status = 1;
    if (pin) {
        t.pin = pin;
        status = run(cli, &t, true);
    } else {
        (void)cli_fail(&err);
    }
    if (status == 0 && t.common.output == CLI_TEXT) {
        fprintf(stderr,
                "  new revisions get no requests until `lull traffic %s --to @latest=100`\n",
                t.name);
    }
    options_fini(&ROLLBACK, &t);
    return status;
}
