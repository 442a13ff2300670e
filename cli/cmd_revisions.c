// SPDX-License-Identifier: Apache-2.0
//
// lull revisions NAME: a function's revisions, newest first, with what they get and how they are.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/cli.h"

struct revisions {
    struct cli_common common;
};
static const struct option_row ROWS[] = {CLI_COMMON_ROWS(struct revisions)};
static const struct option_table TABLE = {.program = "lull revisions",
                                          .summary = "lists a function's revisions, newest first",
                                          .arguments = "NAME",
                                          .rows = ROWS,
                                          .count = ARRAY_LEN(ROWS),
                                          .examples = "  lull revisions hello\n"
                                                      "  lull revisions hello -o json\n"};

static int64_t generation_of(const json_t *revision)
{
    return strtoll(jpeek_cstr(revision, "metadata.labels.`" LABEL_CONFIGURATION_GENERATION "`"),
                   NULL, 10);
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = generation_of(*(json_t *const *)a), y = generation_of(*(json_t *const *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

// "5s", "7m", "3h", "12d"; "?" for a time that cannot be read.
static void age_of(const char *created, char *buf, size_t size)
{
    struct tm tm = {0};

    if (!strptime(created, "%Y-%m-%dT%H:%M:%SZ", &tm)) {
        snprintf(buf, size, "?");
        return;
    }
    long long s = (long long)(time(NULL) - timegm(&tm));
    s = s < 0 ? 0 : s;
    long long n = s < 120 ? s : s < 7200 ? s / 60 : s < 172800 ? s / 3600 : s / 86400;
    snprintf(buf, size, "%lld%c", n, s < 120 ? 's' : s < 7200 ? 'm' : s < 172800 ? 'h' : 'd');
}

// Its share in percent, and its tags into buf.
static int64_t share_of(const json_t *service, const char *revision, char *buf, size_t size)
{
    size_t i;
    json_t *t;
    int64_t percent = 0;
    CLEANUP(strbuf_fini) struct strbuf tags;

    strbuf_init(&tags, size - 1);
    json_array_foreach(jpeek_arr(service, "status.traffic"), i, t)
    {
        if (strcmp(jpeek_cstr(t, "revisionName"), revision) != 0) {
            continue;
        }
        percent += jpeek_i64(t, "percent");
        if (jpeek_cstr(t, "tag")[0]) {
            strbuf_appendf(&tags, "%s%s", tags.len ? "," : "", jpeek_cstr(t, "tag"));
        }
    }
    snprintf(buf, size, "%s", tags.ptr);
    return percent;
}

static void row_print(const json_t *service, json_t *revision, json_t *list)
{
    const char *name = jpeek_cstr(revision, "metadata.name");
    const json_t *ready = cli_condition(revision, "Ready");
    const char *status = jpeek_cstr(ready, "status");
    char tags[256], age[32];
    int64_t percent = share_of(service, name, tags, sizeof tags);
    int64_t replicas = jpeek_i64(revision, "status.actualReplicas");

    status = status[0] ? status : "Unknown";
    age_of(jpeek_cstr(revision, "metadata.creationTimestamp"), age, sizeof age);
    if (list) {
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:s}", "name", name, "percent",
                            (json_int_t)percent, "tags", tags, "ready", status, "reason",
                            jpeek_cstr(ready, "reason"), "createdAt",
                            jpeek_cstr(revision, "metadata.creationTimestamp"), "replicas",
                            (json_int_t)replicas, "image",
                            jpeek_cstr(revision, "spec.containers[0].image")));
        return;
    }
    printf("%-32s %7lld  %-16s %8lld  %-6s %-8s %s\n", name, (long long)percent, tags,
           (long long)replicas, age, status, jpeek_cstr(ready, "reason"));
}

static void print_all(const json_t *service, const json_t *items, bool json)
{
    size_t n = json_array_size(items), i;
    json_t **rows = xcalloc(n + 1, sizeof(json_t *)), *r;
    json_t *list = json ? json_array() : NULL;

    json_array_foreach(items, i, r)
    {
        rows[i] = r;
    }
    qsort(rows, n, sizeof(json_t *), newest_first);
    if (!json) {
        printf("%-32s %7s  %-16s %8s  %-6s %-8s %s\n", "REVISION", "PERCENT", "TAGS", "REPLICAS",
               "AGE", "READY", "REASON");
    }
    for (i = 0; i < n; i++) {
        row_print(service, rows[i], list);
    }
    if (json) {
        cli_print_json(list);
    }
    json_decref(list);
    free(rows);
}

int cmd_revisions(struct cli *cli, int argc, char **argv)
{
    struct revisions o = {0};
    struct error err;
    json_t *service = NULL, *revisions = NULL;

    if (cli_parse(&TABLE, argc, argv, &o) != 1) {
        return cli_usage("usage: lull revisions NAME");
    }
    CLEANUP(cleanup_free) char *labels = xasprintf(LABEL_SERVICE "=%s", argv[1]);
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : cli_get(cli, KIND_SERVICE, argv[1], &service, &err);
    rc = rc ? rc : cli_list(cli, KIND_REVISION, labels, &revisions, &err);
    if (rc == 0) {
        print_all(service, jpeek_arr(revisions, "items"), o.common.output == CLI_JSON);
    }
    json_decref(service);
    json_decref(revisions);
    options_fini(&TABLE, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
