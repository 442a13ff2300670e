// SPDX-License-Identifier: Apache-2.0
//
// lull source: creates sources of events of the types in source_type.c; lists, shows and deletes
// those of one type or of all. What is created is waited for, as a Broker is.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cli.h"
#include "cli/events_ask.h"
#include "cli/part_ask.h"
#include "cli/sink.h"
#include "cli/source_type.h"

enum { STATE_MAX = 64 << 20 };

static const struct option_row ROWS[] = {
    CLI_COMMON_ROWS(struct source_options),
};
static const struct option_table TABLE = {
    .program = "lull source",
    .summary = "creates, lists, shows and deletes what sends events by itself",
    .arguments = "ping|webhook|redis|file|binding create NAME … | [TYPE] list | [TYPE] describe "
                 "NAME | webhook url NAME | [TYPE] delete NAME…",
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

// ---- list

// "true" where the cluster has no such kind.
static bool no_such_kind(int rc)
{
    return rc == ERR_NOT_FOUND;
}

static void row_print(const struct source_type *type, const json_t *object)
{
    const json_t *ready = cli_condition(object, "Ready");
    CLEANUP(strbuf_fini) struct strbuf sink, about;

    strbuf_init(&sink, 65536);
    strbuf_init(&about, 65536);
    sink_print(jpeek_obj(object, "spec.sink"), &sink);
    type->about(object, &about);
    printf("%-24s %-8s %-36s %-24s %-8s %s\n", jpeek_cstr(object, "metadata.name"), type->word,
           about.ptr, sink.ptr, ready ? jpeek_cstr(ready, "status") : "Unknown",
           jpeek_cstr(ready, "reason"));
}

static int list(struct cli *cli, const struct source_type *only, const struct source_options *o,
                struct error *err)
{
    CLEANUP(jfree) json_t *found = json_array();
    const struct source_type *type;
    size_t k;
    json_t *object;

    if (o->common.output == CLI_TEXT) {
        printf("%-24s %-8s %-36s %-24s %-8s %s\n", "NAME", "TYPE", "WHAT", "SINK", "READY",
               "REASON");
    }
    for (size_t i = 0; (type = source_type_at(i)); i++) {
        CLEANUP(jfree) json_t *all = NULL;
        int rc = only && only != type ? 0 : cli_list(cli, type->kind, NULL, &all, err);
        if (rc < 0 && (only || !no_such_kind(rc))) {
            return rc;
        }
        json_array_foreach(jpeek_arr(all, "items"), k, object)
        {
            if (o->common.output == CLI_TEXT) {
                row_print(type, object);
            }
            json_array_append(found, object);
        }
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(found);
    }
    return 0;
}

// ---- describe, delete

// The source of this name, of any type where only is NULL: the first that there is.
static int find(struct cli *cli, const struct source_type *only, const char *name,
                const struct source_type **out_type, json_t **out, struct error *err)
{
    const struct source_type *type;

    for (size_t i = 0; (type = source_type_at(i)); i++) {
        int rc = only && only != type ? ERR_NOT_FOUND : cli_get(cli, type->kind, name, out, err);
        if (rc == 0) {
            *out_type = type;
            return 0;
        }
        if (rc != ERR_NOT_FOUND) {
            return rc;
        }
    }
    return error_set(err, ERR_NOT_FOUND, "there is no source %s in namespace %s", name, cli->ns);
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
    sink_print(jpeek_obj(object, "spec.sink"), &sink);
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

static bool usage_ok(const struct source_type *type, const struct source_options *o, char **words,
                     int count)
{
    const char *verb = count > 0 ? words[0] : "";

    if (strcmp(verb, "create") == 0) {
        return type && count == 2 && o->sink &&
               (type->kind != KIND_SINKBINDING || o->subject || o->selector);
    }
    if (strcmp(verb, "url") == 0) {
        return type && type->kind == KIND_WEBHOOKSOURCE && count == 2;
    }
    return strcmp(verb, "describe") == 0 ? count == 2
           : strcmp(verb, "list") == 0   ? count == 1
                                         : strcmp(verb, "delete") == 0 && count > 1;
}

static int act(struct cli *cli, const struct source_type *type, const struct source_options *o,
               char **words, int count, struct error *err)
{
    int rc = 0;

    if (strcmp(words[0], "url") == 0) {
        return print_url(cli, type, words[1], err);
    }
    if (strcmp(words[0], "delete") != 0) {
        return strcmp(words[0], "create") == 0 ? create(cli, type, o, words[1], err)
               : strcmp(words[0], "list") == 0 ? list(cli, type, o, err)
                                               : describe(cli, type, o, words[1], err);
    }
    for (int i = 1; rc == 0 && i < count; i++) {
        rc = delete (cli, type, o, words[i], err);
    }
    return rc;
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
        cli_repeated(&argc, argv, "secret", 0, &o.secrets) != 0) {
        return 2;
    }
    int count = cli_parse(table, argc, argv, &o);
    o.wait.progress = o.common.output == CLI_TEXT;
    if (!usage_ok(type, &o, argv + 1, count)) {
        return cli_usage("usage: %s %s", table->program, table->arguments);
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : act(cli, type, &o, argv + 1, count, &err);
    options_fini(table, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
