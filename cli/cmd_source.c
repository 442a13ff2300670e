// SPDX-License-Identifier: Apache-2.0
//
// lull source: creates and changes sources of events of the types in source_type.c; lists, shows
// and deletes those of one type or of all. What is created is waited for, as a Broker is.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/columns.h"
#include "cli/events_ask.h"
#include "cli/part_ask.h"
#include "cli/sink.h"
#include "cli/source_type.h"

enum { STATE_MAX = 64 << 20 };

static const struct option_row ROWS[] = {
    OPTION(struct source_options, all_namespaces, BOOL, NULL, "all-namespaces", "false",
           .help = "with list: of every namespace; -A for short"),
    CLI_COMMON_ROWS(struct source_options),
};
static const struct option_table TABLE = {
    .program = "lull source",
    .summary = "creates, lists, shows and deletes what sends events by itself",
    .arguments =
        "ping|webhook|redis|file|binding create NAME … | ping|binding update NAME … | [TYPE] "
        "list | [TYPE] describe NAME | webhook url NAME | [TYPE] delete NAME…",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull source ping create nightly --schedule \"0 3 * * *\" --sink report\n"
                "  lull source ping --help\n"
                "  lull source list\n"
                "  lull source describe nightly\n"};

// ---- create

static int add_extensions(const struct source_options *o, json_t *spec, struct error *err)
{
    json_t *map = json_object();

    for (int i = 0; i < o->extensions.count; i++) {
        const char *equals = strchr(o->extensions.items[i], '=');
        CLEANUP(cleanup_free)
        char *name = slice_dup(slice_of(o->extensions.items[i],
                                        equals ? (size_t)(equals - o->extensions.items[i]) : 0));
        if (name[0] == '\0' || json_object_set_new(map, name, json_string(equals + 1)) != 0) {
            json_decref(map);
            return error_set(err, ERR_INVALID, "--extension %s: must be NAME=VALUE",
                             o->extensions.items[i]);
        }
    }
    if (json_object_size(map) > 0) {
        json_object_set_new(spec, "ceOverrides", json_pack("{s:O}", "extensions", map));
    }
    json_decref(map);
    return 0;
}

static void tell(const struct source_options *o, const json_t *object, const char *what)
{
    if (o->common.output == CLI_JSON) {
        cli_print_json(object);
        return;
    }
    const char *url = jpeek_cstr(object, "status.sinkUri");
    printf("%s %s %s\n", jpeek_cstr(object, "kind"), jpeek_cstr(object, "metadata.name"), what);
    if (url[0]) {
        printf("  to %s\n", url);
    }
    if (jpeek_cstr(object, "status.url")[0]) {
        printf("  called at %s\n", jpeek_cstr(object, "status.url"));
    }
}

static int create(struct cli *cli, const struct source_type *type, const struct source_options *o,
                  const char *name, struct error *err)
{
    const struct kind *kind = kind_row(type->kind);
    CLEANUP(jfree) json_t *made = NULL;
    CLEANUP(jfree) json_t *body = cli_new_object(cli, kind, name, err);
    const char *how;

    if (!body) {
        return ERR_INVALID;
    }
    json_t *spec = jpeek_obj(body, "spec"), *sink = NULL;
    int rc = sink_parse(o->sink, &sink, err);
    rc = rc ? rc : add_extensions(o, spec, err);
    rc = rc ? rc : type->fill(o, spec, err);
    if (sink) {
        json_object_set_new(spec, "sink", sink);
    }
    rc = rc ? rc : cli_create(cli, kind, kind->kind, body, &o->wait, &made, &how, err);
    if (rc == 0) {
        tell(o, made, how);
    }
    return rc;
}

// ---- update

struct change {
    const struct source_type *type;
    const struct source_options *o;
};

static int change(void *arg, json_t *object, struct error *err)
{
    const struct change *c = arg;
    json_t *spec = jpeek_obj(object, "spec"), *sink = NULL;
    CLEANUP(jfree) json_t *before = json_deep_copy(spec);
    bool data = c->o->data || c->o->data_base64;

    if (data) { // one of both, and its type
        json_object_del(spec, "data");
        json_object_del(spec, "dataBase64");
        json_object_del(spec, "contentType");
    }
    int rc = c->o->sink ? sink_parse(c->o->sink, &sink, err) : 0;
    if (sink) {
        json_object_set_new(spec, "sink", sink);
    }
    rc = rc ? rc : add_extensions(c->o, spec, err);
    bool fills = c->type->kind != KIND_SINKBINDING || c->o->subject || c->o->selector;
    rc = rc || !fills ? rc : c->type->fill(c->o, spec, err);
    return rc ? rc : json_equal(before, spec) ? 1 : 0;
}

static int update(struct cli *cli, const struct source_type *type, const struct source_options *o,
                  const char *name, struct error *err)
{
    const struct kind *kind = kind_row(type->kind);
    struct kube_call target = {.kind = KUBE_KIND(kind), .ns = cli->ns, .name = name};
    struct change c = {.type = type, .o = o};
    CLEANUP(jfree) json_t *now = NULL;

    int rc = cli_change_object(cli, &target, change, &c, &o->wait, &now, err);
    if (rc == 0) {
        tell(o, now, o->wait.none ? "changed" : "changed and ready");
    }
    return rc;
}

// ---- list

// "true" where the cluster has no such kind.
static bool no_such_kind(int rc)
{
    return rc == ERR_NOT_FOUND;
}

static void row_put(const struct source_type *type, const json_t *object, struct columns *rows)
{
    const json_t *ready = cli_condition(object, "Ready");
    CLEANUP(strbuf_fini) struct strbuf sink, about;

    strbuf_init(&sink, 65536);
    strbuf_init(&about, 65536);
    sink_print(object, jpeek_obj(object, "spec.sink"), &sink);
    type->about(object, &about);
    columns_row(rows, object,
                (const char *const[]){jpeek_cstr(object, "metadata.name"), type->word,
                                      about.len > 0 ? about.ptr : "", sink.len > 0 ? sink.ptr : "",
                                      ready ? jpeek_cstr(ready, "status") : "Unknown",
                                      jpeek_cstr(ready, "reason"), NULL});
}

static int list(struct cli *cli, const struct source_type *only, const struct source_options *o,
                struct error *err)
{
    static const char *const NAMES[] = {"NAME", "TYPE", "WHAT", "SINK", "READY", "REASON", NULL};
    CLEANUP(jfree) json_t *found = json_array();
    const struct source_type *type;
    struct columns rows;
    size_t k;
    json_t *object;
    int rc = 0;

    columns_init(&rows, o->all_namespaces, NAMES);
    for (size_t i = 0; rc == 0 && (type = source_type_at(i)); i++) {
        CLEANUP(jfree) json_t *all = NULL;
        if (!only || only == type) {
            rc = cli_list_in(cli, type->kind, o->all_namespaces, &all, err);
            rc = !only && no_such_kind(rc) ? 0 : rc;
        }
        json_array_foreach(jpeek_arr(all, "items"), k, object)
        {
            row_put(type, object, &rows);
            json_array_append(found, object);
        }
    }
    if (rc < 0) {
        json_decref(rows.table);
        return rc;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(found);
        json_decref(rows.table);
        return 0;
    }
    columns_print(&rows, "sources", cli->ns);
    return 0;
}

// ---- describe, delete

// The source of this name, of any type where only is NULL; then there must be only one.
static int find(struct cli *cli, const struct source_type *only, const char *name,
                const struct source_type **out_type, json_t **out, struct error *err)
{
    const struct source_type *type;

    *out = NULL;
    for (size_t i = 0; (type = source_type_at(i)); i++) {
        CLEANUP(jfree) json_t *object = NULL;
        int rc =
            only && only != type ? ERR_NOT_FOUND : cli_get(cli, type->kind, name, &object, err);
        if (rc < 0 && rc != ERR_NOT_FOUND) {
            return rc;
        }
        if (rc == 0 && *out) {
            return error_set(err, ERR_INVALID,
                             "there is more than one source %s: say of which type, as lull source "
                             "%s …, or %s",
                             name, (*out_type)->word, type->word);
        }
        if (rc == 0) {
            *out = json_incref(object);
            *out_type = type;
        }
    }
    return *out ? 0
                : error_set(err, ERR_NOT_FOUND, "there is no %s%ssource %s in namespace %s",
                            only ? only->word : "", only ? " " : "", name, cli->ns);
}

// What the worker that runs it knows; nothing while it does not answer.
static void state_print(struct cli *cli, const struct source_type *type, const char *name,
                        bool *troubled)
{
    CLEANUP(cleanup_free) char *text = NULL;
    CLEANUP(jfree) json_t *state = NULL;
    size_t i;
    json_t *source;

    if (part_ask(cli, "broker", "/state", &text, NULL) < 0 ||
        jparse(slice_str(text), STATE_MAX, &state, NULL) < 0) {
        return;
    }
    json_array_foreach(jpeek_arr(state, "sources"), i, source)
    {
        if (!slice_eq_str(jpeek_str(source, "kind"), kind_row(type->kind)->plural) ||
            !slice_eq_str(jpeek_str(source, "namespace"), cli->ns) ||
            !slice_eq_str(jpeek_str(source, "name"), name)) {
            continue;
        }
        if (jpeek_cstr(source, "last")[0]) {
            printf("  Last run     %s\n", jpeek_cstr(source, "last"));
        }
        if (jpeek_cstr(source, "next")[0]) {
            printf("  Next run     %s\n", jpeek_cstr(source, "next"));
        }
        if (jget(source, "taken")) {
            printf("  Events       %lld taken, %lld %s\n", (long long)jpeek_i64(source, "taken"),
                   (long long)(jget(source, "refused") ? jpeek_i64(source, "refused")
                                                       : jpeek_i64(source, "dead")),
                   jget(source, "refused") ? "refused" : "nobody took");
        }
        if (jpeek_cstr(source, "trouble")[0]) {
            printf("  Trouble      %s\n", jpeek_cstr(source, "trouble"));
            *troubled = true;
        }
    }
}

// What waits and what is dead, of all workers; nothing while none answers.
static void numbers_print(struct cli *cli, const struct source_type *type, const char *name)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    bool troubled = false;

    state_print(cli, type, name, &troubled);
    if (events_numbers(cli, false, &numbers, &(struct error){0}) < 0) {
        return;
    }
    const json_t *entry = events_numbers_source(numbers, cli->ns, type->word, name);
    if (entry) {
        events_numbers_print(entry, !troubled);
    }
    if (jpeek_i64(entry, "dead") > 0) {
        printf("  Dead letters lull dlq list %s/%s\n", type->word, name);
    }
}

static int describe(struct cli *cli, const struct source_type *only, const struct source_options *o,
                    const char *name, struct error *err)
{
    CLEANUP(jfree) json_t *object = NULL;
    const struct source_type *type = NULL;

    int rc = find(cli, only, name, &type, &object, err);
    if (rc < 0) {
        return rc;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(object);
        return 0;
    }
    CLEANUP(strbuf_fini) struct strbuf sink;
    strbuf_init(&sink, 65536);
    sink_print(object, jpeek_obj(object, "spec.sink"), &sink);
    printf("%s %s in namespace %s\n", kind_row(type->kind)->kind, name, cli->ns);
    if (type->show) {
        type->show(object);
    }
    printf("  Sink         %s\n  URL          %s\n", sink.ptr,
           jpeek_cstr(object, "status.sinkUri"));
    numbers_print(cli, type, name);
    cli_conditions_print(object);
    return 0;
}

static int print_url(struct cli *cli, const struct source_type *only, const char *name,
                     struct error *err)
{
    CLEANUP(jfree) json_t *object = NULL;
    const struct source_type *type = NULL;

    int rc = find(cli, only, name, &type, &object, err);
    if (rc == 0) {
        printf("%s\n", jpeek_cstr(object, "status.url"));
    }
    return rc;
}

static int delete (struct cli *cli, const struct source_type *only, const struct source_options *o,
                   const char *name, struct error *err)
{
    CLEANUP(jfree) json_t *object = NULL;
    const struct source_type *type = NULL;

    int rc = find(cli, only, name, &type, &object, err);
    if (rc < 0) {
        return rc;
    }
    struct kube_call call = {.kind = KUBE_KIND(kind_row(type->kind)), .ns = cli->ns, .name = name};
    rc = cli_call(cli, kube_delete, &call, NULL, err);
    if (rc == 0 && o->common.output == CLI_TEXT) {
        printf("%s %s deleted\n", kind_row(type->kind)->kind, name);
    }
    return rc;
}

// ----

static const struct cli_verb VERBS[] = {{"create", 1, 1, "NAME"},   {"update", 1, 1, "NAME"},
                                        {"list", 0, 0, NULL},       {"url", 1, 1, "NAME"},
                                        {"describe", 1, 1, "NAME"}, {"delete", 1, -1, "NAME"},
                                        {NULL, 0, 0, NULL}};

// 0, or the exit status.
static int check_options(const struct option_table *table, const struct source_type *type,
                         const struct source_options *o, const char *verb)
{
    bool create = strcmp(verb, "create") == 0, update = strcmp(verb, "update") == 0;

    if ((create || update) && !type) {
        return cli_verb_needs(table, verb, "the type (ping, webhook, …) before it");
    }
    if (update && type->kind != KIND_PINGSOURCE && type->kind != KIND_SINKBINDING) {
        return cli_usage("%s: there is no \"update\": lull get %s NAME -o yaml, then lull apply",
                         table->program, kind_row(type->kind)->plural);
    }
    if (strcmp(verb, "url") == 0 && (!type || type->kind != KIND_WEBHOOKSOURCE)) {
        return cli_usage(
            "%s: there is no \"url\": a web hook has one (lull source webhook url NAME)",
            table->program);
    }
    return create && !o->sink ? cli_verb_needs(table, verb, "--sink")
           : create && type->kind == KIND_SINKBINDING && !o->subject && !o->selector
               ? cli_verb_needs(table, verb, "--subject (or --selector)")
               : 0;
}

// Each of them, whatever becomes of the others.
static int delete_all(struct cli *cli, const struct source_type *type,
                      const struct source_options *o, char **names, int count)
{
    int status = 0;

    for (int i = 0; i < count; i++) {
        struct error err;
        status = delete (cli, type, o, names[i], &err) < 0 ? cli_fail(&err) : status;
    }
    return status;
}

// A negative code with err, or the exit status.
static int act(struct cli *cli, const struct source_type *type, const struct source_options *o,
               char **words, int count, struct error *err)
{
    const char *verb = words[0];

    return strcmp(verb, "url") == 0      ? print_url(cli, type, words[1], err)
           : strcmp(verb, "create") == 0 ? create(cli, type, o, words[1], err)
           : strcmp(verb, "update") == 0 ? update(cli, type, o, words[1], err)
           : strcmp(verb, "list") == 0   ? list(cli, type, o, err)
           : strcmp(verb, "delete") == 0 ? delete_all(cli, type, o, words + 1, count - 1)
                                         : describe(cli, type, o, words[1], err);
}

int cmd_source(struct cli *cli, int argc, char **argv)
{
    struct source_options o = {.sink = NULL};
    struct error err;
    const struct source_type *type = argc > 1 ? source_type(argv[1]) : NULL;
    const struct option_table *table = type ? type->table : &TABLE;

    if (type) {
        argv++;
        argc--;
    }
    if (cli_repeated(&argc, argv, "extension", 0, &o.extensions) != 0 ||
        cli_repeated(&argc, argv, "ce-override", 0, &o.extensions) != 0 ||
        cli_repeated(&argc, argv, "secret", 0, &o.secrets) != 0) {
        return 2;
    }
    int count = cli_parse(table, argc, argv, &o);
    o.wait.progress = o.common.output == CLI_TEXT;
    const struct cli_verb *verb = cli_verb_find(table, VERBS, argv + 1, count);
    if (!verb || check_options(table, type, &o, verb->name) != 0) {
        return 2;
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : act(cli, type, &o, argv + 1, count, &err);
    options_fini(table, &o);
    return rc < 0 ? cli_fail(&err) : rc;
}
