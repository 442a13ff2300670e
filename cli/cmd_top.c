// SPDX-License-Identifier: Apache-2.0
//
// lull top: what every function uses at this moment. Happy path: the PodAutoscalers say which
// functions there are, the autoscaler their requests, and the replicas' memory comes from /proc on
// this machine, from a metrics server or the kubelets on a cluster. Failure modes: what cannot be
// asked is shown as "-", and said once on stderr.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "cli/cli.h"
#include "cli/memory_use.h"
#include "cli/part_ask.h"
#include "cli/top_events.h"

#define WATCH_MS 2000

enum top_sort { SORT_NAME, SORT_REPLICAS, SORT_RPS, SORT_CONCURRENCY, SORT_MEMORY };

struct top {
    struct cli_common common;
    bool all, watch, revisions;
    int sort;
    bool told; // what cannot be asked
    bool events_told;
};
static const struct option_row ROWS[] = {
    OPTION(struct top, all, BOOL, NULL, "all-namespaces", "false",
           .help = "of every namespace; -A for short"),
    OPTION(struct top, revisions, BOOL, NULL, "revisions", "false",
           .help = "a row for each revision instead of each function"),
    OPTION(struct top, sort, CHOICE, NULL, "sort", "name",
           .choices = "name|replicas|rps|concurrency|memory",
           .help = "what the rows are sorted by"),
    OPTION(struct top, watch, BOOL, NULL, "watch", "false",
           .help = "again every two seconds; -w for short"),
    CLI_COMMON_ROWS(struct top),
};
static const struct option_table TABLE = {
    .program = "lull top",
    .summary =
        "shows replicas, requests and memory of every function, and the backlog of Triggers and "
        "sources",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS)};

// What is collected: rows by "namespace/function", and which row a revision counts for.
struct picture {
    json_t *rows;
    json_t *row_of; // "namespace/revision" to a row
    bool requests;  // the autoscaler has answered
    bool memory;    // somebody knows the memory
    bool events;    // lull-broker tells what waits
};

static void add(json_t *row, const char *key, double value)
{
    json_object_set_new(row, key, json_real(json_number_value(json_object_get(row, key)) + value));
}

static void add_count(json_t *row, const char *key, int64_t value)
{
    json_object_set_new(row, key, json_integer((json_int_t)(jpeek_i64(row, key) + value)));
}

static json_t *row_of(const struct picture *p, const char *ns, const char *revision)
{
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", ns, revision);
    return json_object_get(p->row_of, key);
}

static void add_autoscaler(const struct top *o, struct picture *p, const json_t *pa)
{
    const char *ns = jpeek_cstr(pa, "metadata.namespace");
    const char *revision = jpeek_cstr(pa, "metadata.name");
    const char *service = jpeek_cstr(pa, "metadata.labels.`" LABEL_SERVICE "`");
    const char *name = o->revisions || service[0] == '\0' ? revision : service;
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", ns, name);
    CLEANUP(cleanup_free) char *own = xasprintf("%s/%s", ns, revision);
    json_t *row = json_object_get(p->rows, key);
    if (row == NULL) {
        json_object_set_new(p->rows, key, json_pack("{s:s,s:s}", "namespace", ns, "name", name));
        row = json_object_get(p->rows, key);
    }
    add_count(row, "ready", jpeek_i64(pa, "status.actualScale"));
    add_count(row, "wanted", jpeek_i64(pa, "status.desiredScale"));
    // Both are put right by what the autoscaler says now.
    json_object_set_new(p->row_of, own,
                        json_pack("{s:O,s:s,s:I,s:I}", "row", row, "service", service, "ready",
                                  (json_int_t)jpeek_i64(pa, "status.actualScale"), "wanted",
                                  (json_int_t)jpeek_i64(pa, "status.desiredScale")));
}

// What waits for the revision, and for its function. All shares of the traffic wait for the same.
static void add_events(const json_t *page, const json_t *entry, json_t *row, const char *ns,
                       const char *revision)
{
    const json_t *events = json_object_get(page, "events");
    const char *service = jpeek_cstr(entry, "service");
    CLEANUP(cleanup_free) char *all = xasprintf("%s/%s", ns, service);
    CLEANUP(cleanup_free) char *own = xasprintf("%s/%s", all, revision);
    double n = json_number_value(json_object_get(events, all)) +
               json_number_value(json_object_get(events, own));
    if (n >= json_number_value(json_object_get(row, "events"))) {
        json_object_set_new(row, "events", json_integer((json_int_t)n));
    }
}

static void add_requests(struct picture *p, const json_t *page)
{
    size_t i;
    json_t *one;
    p->events = json_object_get(page, "events") != NULL;
    json_array_foreach(jpeek_arr(page, "revisions"), i, one)
    {
        json_t *entry = row_of(p, jpeek_cstr(one, "namespace"), jpeek_cstr(one, "name"));
        json_t *row = json_object_get(entry, "row");
        if (row == NULL) {
            continue;
        }
        if (p->events) {
            add_events(page, entry, row, jpeek_cstr(one, "namespace"), jpeek_cstr(one, "name"));
        }
        add(row, "rps", json_number_value(json_object_get(one, "rps")));
        add(row, "concurrency", json_number_value(json_object_get(one, "concurrency")));
        if (json_object_get(one, "wanted") != NULL) { // class hpa is not the autoscaler's
            add_count(row, "ready", jpeek_i64(one, "ready") - jpeek_i64(entry, "ready"));
            add_count(row, "wanted", jpeek_i64(one, "wanted") - jpeek_i64(entry, "wanted"));
        }
    }
}

static void add_memory(struct picture *p, const json_t *pods, const json_t *used)
{
    size_t i;
    json_t *pod;
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const char *ns = jpeek_cstr(pod, "metadata.namespace");
        CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", ns, jpeek_cstr(pod, "metadata.name"));
        const json_t *entry =
            row_of(p, ns, jpeek_cstr(pod, "metadata.labels.`" LABEL_REVISION "`"));
        json_t *row = json_object_get(entry, "row");
        if (row != NULL && json_object_get(used, key) != NULL) {
            add(row, "memoryBytes", json_number_value(json_object_get(used, key)));
        }
    }
}

static void tell(struct top *o, const char *what, const struct error *err)
{
    if (!o->told) {
        fprintf(stderr, "lull: %s: %s\n", what, err->msg);
    }
}

static int collect(struct cli *cli, struct top *o, struct picture *p, struct error *err)
{
    CLEANUP(jfree) json_t *autoscalers = NULL;
    CLEANUP(jfree) json_t *pods = NULL;
    CLEANUP(jfree) json_t *page = NULL;
    CLEANUP(jfree) json_t *used = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct error trouble;
    size_t i;
    json_t *pa;
    const char *ns = o->all ? NULL : cli->ns;
    struct kube_call of_pas = {.kind = KUBE_KIND(kind_row(KIND_PODAUTOSCALER)), .ns = ns};
    struct kube_call of_pods = {
        .kind = KUBE_KIND(kind_row(KIND_POD)), .ns = ns, .label_selector = LABEL_REVISION};
    int rc = cli_call(cli, kube_list, &of_pas, &autoscalers, err);
    rc = rc ? rc : cli_call(cli, kube_list, &of_pods, &pods, err);
    if (rc < 0) {
        return rc;
    }
    json_array_foreach(jpeek_arr(autoscalers, "items"), i, pa)
    {
        add_autoscaler(o, p, pa);
    }
    rc = part_ask(cli, "autoscaler", "/debug/revisions", &body, &trouble);
    rc = rc ? rc : jparse_object(slice_str(body), 16u << 20, &page, &trouble);
    p->requests = rc == 0;
    if (rc == 0) {
        add_requests(p, page);
    } else {
        tell(o, "the autoscaler cannot be asked for requests", &trouble);
    }
    rc = memory_use(cli, pods, ns, &used, &trouble);
    p->memory = rc == 0;
    if (rc == 0) {
        add_memory(p, pods, used);
    } else {
        tell(o, "nobody can be asked for memory", &trouble);
    }
    o->told = true;
    return 0;
}

// ---- printing

static const char *const SORT_KEYS[] = {NULL, "wanted", "rps", "concurrency", "memoryBytes"};

struct sorted {
    const char *key;
    const json_t *row;
    double by;
};

static int compare(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    return x->by != y->by ? (x->by < y->by ? 1 : -1) : strcmp(x->key, y->key);
}

static json_t *sorted_rows(const struct top *o, const struct picture *p)
{
    size_t count = json_object_size(p->rows), n = 0;
    struct sorted *list = xcalloc(count + 1, sizeof *list);
    json_t *out = json_array();
    const char *key;
    json_t *row;
    json_object_foreach(p->rows, key, row)
    {
        double by =
            o->sort == SORT_NAME ? 0 : json_number_value(json_object_get(row, SORT_KEYS[o->sort]));
        list[n++] = (struct sorted){key, row, by};
    }
    qsort(list, n, sizeof *list, compare);
    for (size_t i = 0; i < n; i++) {
        json_array_append(out, (json_t *)(uintptr_t)list[i].row);
    }
    free(list);
    return out;
}

static void cell(const json_t *row, const char *key, bool known, double unit, const char *suffix)
{
    if (known) {
        printf(" %11.1f%s", json_number_value(json_object_get(row, key)) / unit, suffix);
    } else {
        printf(" %11s%*s", "-", (int)strlen(suffix), "");
    }
}

static void print_rows(const struct top *o, const struct picture *p, const json_t *rows)
{
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) {
        puts("no functions");
        return;
    }
    printf("%s%-30s %9s %11s %11s %15s%s\n", o->all ? "NAMESPACE        " : "", "NAME", "REPLICAS",
           "RPS", "CONCURRENCY", "MEMORY", p->events ? "     EVENTS" : "");
    json_array_foreach(rows, i, row)
    {
        if (o->all) {
            printf("%-16s ", jpeek_cstr(row, "namespace"));
        }
        char replicas[32];
        snprintf(replicas, sizeof replicas, "%lld/%lld", (long long)jpeek_i64(row, "ready"),
                 (long long)jpeek_i64(row, "wanted"));
        printf("%-30s %9s", jpeek_cstr(row, "name"), replicas);
        cell(row, "rps", p->requests, 1, "");
        cell(row, "concurrency", p->requests, 1, "");
        cell(row, "memoryBytes", p->memory, 1048576, " MiB");
        if (p->events) {
            printf(" %10lld", (long long)jpeek_i64(row, "events"));
        }
        puts("");
    }
}

static json_t *collect_events(struct cli *cli, struct top *o)
{
    struct error trouble;
    json_t *events = top_events(cli, o->all, &trouble);
    if (events == NULL && trouble.code != ERR_OK && !o->events_told) {
        fprintf(stderr, "lull: lull-broker cannot be asked for events: %s\n", trouble.msg);
        o->events_told = true;
    }
    return events;
}

static int show(struct cli *cli, struct top *o, struct error *err)
{
    struct picture p = {.rows = json_object(), .row_of = json_object()};
    int rc = collect(cli, o, &p, err);
    if (rc == 0) {
        CLEANUP(jfree) json_t *rows = sorted_rows(o, &p);
        CLEANUP(jfree) json_t *events = collect_events(cli, o);
        if (o->common.output == CLI_JSON) {
            CLEANUP(jfree)
            json_t *answer = json_pack("{s:O, s:O*, s:O*}", "items", rows, "triggers",
                                       json_object_get(events, "triggers"), "sources",
                                       json_object_get(events, "sources"));
            cli_print_json(answer);
        } else {
            print_rows(o, &p, rows);
            top_events_print(events, o->all);
        }
        fflush(stdout);
    }
    json_decref(p.rows);
    json_decref(p.row_of);
    return rc;
}

int cmd_top(struct cli *cli, int argc, char **argv)
{
    struct top o = {0};
    struct error err;

    if (cli_parse(&TABLE, argc, argv, &o) != 0) {
        return cli_usage("usage: lull top");
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : show(cli, &o, &err);
    while (rc == 0 && o.watch) {
        cli_pause(cli, WATCH_MS);
        puts("");
        rc = show(cli, &o, &err);
    }
    options_fini(&TABLE, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
