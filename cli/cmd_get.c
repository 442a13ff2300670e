// SPDX-License-Identifier: Apache-2.0
//
// lull get KIND [NAME…] | KIND/NAME…: objects of every kind, as the server's own table, as names,
// or whole; with --watch also what happens to them from then on.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cli.h"
#include "cli/resource.h"
#include "cli/table.h"

#define TEXT_MAX       (256u << 20)
#define EVENT_MAX      (16u << 20)
#define WATCH_PAUSE_MS 500

enum { FORM_TABLE, FORM_WIDE, FORM_YAML, FORM_JSON, FORM_NAME };

struct get {
    struct cli_common common; /* its output is not used */
    int output;
    bool all_namespaces, watch, no_headers;
    char *selector, *field_selector;
    /* worked out */
    struct cli *cli;
    struct table_style style;
    json_t *items; /* whole objects, to print at the end */
    bool several;  /* kinds */
};

static const struct option_row ROWS[] = {
    OPTION(struct get, output, CHOICE, NULL, "output", "table",
           .choices = "table|wide|yaml|json|name", .help = "form of the answer; -o for short"),
    OPTION(struct get, all_namespaces, BOOL, NULL, "all-namespaces", "false",
           .help = "of every namespace; -A for short"),
    OPTION(struct get, selector, STRING, NULL, "selector", NULL, .optional = true,
           .help = "only those with these labels, as app=x,tier!=y; -l for short"),
    OPTION(struct get, field_selector, STRING, NULL, "field-selector", NULL, .optional = true,
           .help = "only those with these fields, as metadata.name=x"),
    OPTION(struct get, watch, BOOL, NULL, "watch", "false",
           .help = "go on and show every change; -w for short"),
    OPTION(struct get, no_headers, BOOL, NULL, "no-headers", "false", .help = "rows only"),
    CLI_TARGET_ROWS(struct get),
};
static const struct option_table TABLE = {
    .program = "lull get",
    .summary = "shows objects of any kind",
    .arguments = "KIND[,KIND…] [NAME…] | KIND/NAME…",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull get ksvc\n"
                "  lull get revisions,pods -A\n"
                "  lull get ksvc hello -o yaml\n"
                "  lull get configmap/config-autoscaler -n lull-system\n"
                "  lull get pods -l serving.knative.dev/service=hello -o name\n"};

static bool whole(const struct get *g)
{
    return g->output == FORM_YAML || g->output == FORM_JSON;
}

// A list's items lack kind and apiVersion where they stand in a Table; the row knows them.
static void gather(struct get *g, const struct cli_resource *resource, const json_t *object)
{
    json_t *named = json_object();

    json_object_set_new(named, "apiVersion", json_string(kind_api_version(resource->row)));
    json_object_set_new(named, "kind", json_string(resource->row->kind));
    json_object_update(named, (json_t *)(uintptr_t)object);
    (void)json_array_append_new(g->items, named);
}

static void names_print(const struct cli_resource *resource, const json_t *table)
{
    size_t i;
    json_t *row;
    json_array_foreach(jpeek_arr(table, "rows"), i, row)
    {
        CLEANUP(cleanup_free)
        char *name = cli_resource_name(resource, jpeek_cstr(row, "object.metadata.name"));
        puts(name);
    }
}

static void show(struct get *g, const struct cli_resource *resource, const json_t *answer,
                 bool header)
{
    size_t i;
    json_t *item;
    CLEANUP(strbuf_fini) struct strbuf text;

    if (whole(g) && !jpeek_arr(answer, "items")) {
        gather(g, resource, answer);
    } else if (whole(g)) {
        json_array_foreach(jpeek_arr(answer, "items"), i, item)
        {
            gather(g, resource, item);
        }
    } else if (g->output == FORM_NAME) {
        names_print(resource, answer);
    } else {
        CLEANUP(cleanup_free) char *prefix = cli_resource_name(resource, "");
        g->style.prefix = g->several ? prefix : NULL;
        strbuf_init(&text, TEXT_MAX);
        table_put(answer, &g->style, header && !g->no_headers, &text);
        fputs(text.ptr, stdout);
        g->style.prefix = NULL;
    }
}

// One after the other, as they come: while watching there is no end of a list.
static void items_print(struct get *g)
{
    size_t i;
    json_t *one;
    json_array_foreach(g->items, i, one)
    {
        if (g->output == FORM_JSON) {
            cli_print_json(one);
        } else {
            puts("---");
            cli_print_yaml(one);
        }
    }
    json_array_clear(g->items);
    fflush(stdout);
}

static struct kube_call call_of(const struct get *g, const struct cli_resource *resource,
                                const char *name)
{
    return (struct kube_call){.kind = resource->kind,
                              .ns = resource->namespaced && !g->all_namespaces ? g->cli->ns : NULL,
                              .name = name,
                              .label_selector = name ? NULL : g->selector,
                              .field_selector = name ? NULL : g->field_selector,
                              .accept = whole(g) ? NULL : TABLE_ACCEPT};
}

// ---- watching

struct watch {
    struct get *get;
    const struct cli_resource *resource;
    struct strbuf buf;
    char version[64];
    bool done, header, expired;
    struct error err;
};

static void version_keep(struct watch *w, const json_t *object)
{
    const char *version = jpeek_cstr(object, "metadata.resourceVersion");
    if (!version[0]) {
        version = jpeek_cstr(object, "rows[0].object.metadata.resourceVersion");
    }
    if (version[0]) {
        snprintf(w->version, sizeof w->version, "%s", version);
    }
}

static void on_event(struct watch *w, struct slice line)
{
    CLEANUP(jfree) json_t *event = NULL;
    struct error err;

    if (jparse_object(line, EVENT_MAX, &event, &err) < 0) {
        (void)cli_failf("an event that cannot be read: %s", err.msg);
        return;
    }
    json_t *object = json_object_get(event, "object");
    const char *type = jpeek_cstr(event, "type");
    version_keep(w, object);
    if (strcmp(type, "ERROR") == 0) {
        w->expired = jpeek_i64(object, "code") == 410;
        if (!w->expired) {
            (void)cli_failf("%s", jpeek_cstr(object, "message"));
        }
    } else if (strcmp(type, "BOOKMARK") != 0) {
        show(w->get, w->resource, object, w->header);
        w->header = false;
        items_print(w->get);
    }
}

static void on_data(void *arg, struct slice data)
{
    struct watch *w = arg;

    if (strbuf_append_slice(&w->buf, data) < 0) {
        strbuf_clear(&w->buf);
        return;
    }
    char *end;
    while ((end = memchr(w->buf.ptr, '\n', w->buf.len)) != NULL) {
        size_t len = (size_t)(end - w->buf.ptr);
        on_event(w, slice_of(w->buf.ptr, len));
        strbuf_consume(&w->buf, len + 1);
    }
}

static void on_done(void *arg, const struct error *err)
{
    struct watch *w = arg;

    w->done = true;
    if (err) {
        error_copy(&w->err, err);
    }
}

static int watch_once(struct watch *w, const char *name, struct error *err)
{
    struct kube_call call = call_of(w->get, w->resource, NULL);
    CLEANUP(cleanup_free) char *field = name ? xasprintf("metadata.name=%s", name) : NULL;
    call.field_selector = field ? field : call.field_selector;
    CLEANUP(cleanup_free) char *list = kube_path(&call);
    CLEANUP(cleanup_free)
    char *path = xasprintf("%s%cwatch=true&allowWatchBookmarks=true&resourceVersion=%s", list,
                           strchr(list, '?') ? '&' : '?', w->version);
    struct kube_stream_spec spec = {
        .path = path, .accept = call.accept, .on_data = on_data, .on_done = on_done, .arg = w};

    w->done = w->expired = false;
    w->err = (struct error){0};
    strbuf_clear(&w->buf);
    int rc = kube_stream(w->get->cli->client, &spec, NULL, err);
    while (rc == 0 && !w->done) {
        loop_turn(&w->get->cli->loop, true);
    }
    return rc;
}

// Goes on for ever, over ends and restarts of the server; only what cannot get better ends it.
static int watch(struct get *g, const struct cli_resource *resource, const char *name,
                 const json_t *first, struct error *err)
{
    struct watch w = {.get = g, .resource = resource};
    int rc = 0;

    w.header = json_array_size(jpeek_arr(first, "rows")) == 0;
    strbuf_init(&w.buf, EVENT_MAX);
    version_keep(&w, first);
    while (rc == 0) {
        rc = watch_once(&w, name, err);
        if (rc == 0 && w.err.code && !error_retryable(w.err.code) && w.err.code != ERR_GONE) {
            rc = error_copy(err, &w.err);
        }
        if (w.expired || w.err.code == ERR_GONE) {
            w.version[0] = '\0';
        }
        cli_pause(g->cli, w.err.code || w.expired ? WATCH_PAUSE_MS : 1);
    }
    strbuf_fini(&w.buf);
    return rc;
}

// ---- one kind

static int get_one(struct get *g, const struct cli_resource *resource, const char *name,
                   bool header, struct error *err)
{
    struct kube_call call = call_of(g, resource, name);
    CLEANUP(jfree) json_t *answer = NULL;

    int rc = cli_call(g->cli, name ? kube_get : kube_list, &call, &answer, err);
    if (rc < 0) {
        return rc;
    }
    show(g, resource, answer, header);
    bool empty = !name && json_array_size(jpeek_arr(answer, "rows")) == 0 &&
                 json_array_size(jpeek_arr(answer, "items")) == 0;
    if (empty && !whole(g) && g->output != FORM_NAME && !g->watch) {
        fprintf(stderr, "no %s%s%s\n", resource->kind.plural, call.ns ? " in namespace " : "",
                call.ns ? call.ns : "");
    }
    if (!g->watch) {
        return 0;
    }
    items_print(g);
    return watch(g, resource, name, answer, err);
}

static void print_whole(const struct get *g, bool single)
{
    json_t *all = single ? json_incref(json_array_get(g->items, 0))
                         : json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items",
                                     g->items);
    if (g->output == FORM_JSON) {
        cli_print_json(all);
    } else {
        cli_print_yaml(all);
    }
    json_decref(all);
}

// KIND[,KIND…] [NAME…]
static int get_kinds(struct get *g, char *kinds, char **names, int count, struct error *err)
{
    int status = 0;
    char *save = NULL;

    g->several = strchr(kinds, ',') != NULL;
    for (char *word = strtok_r(kinds, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        struct cli_resource resource = {0};
        int rc = cli_resource_of_word(word, &resource, err);
        if (rc < 0) {
            return rc;
        }
        memset(g->style.widths, 0, sizeof g->style.widths);
        g->style.namespaces = g->all_namespaces && resource.namespaced;
        if (count == 0) {
            rc = get_one(g, &resource, NULL, true, err);
        }
        for (int i = 0; i < count; i++) {
            rc = get_one(g, &resource, names[i], i == 0, err);
            if (rc < 0) {
                status = cli_fail(err);
                rc = 0;
            }
        }
        if (rc < 0) {
            return rc;
        }
        if (save && *save && !whole(g) && g->output != FORM_NAME) {
            puts("");
        }
    }
    return status;
}

// KIND/NAME…
static int get_names(struct get *g, char **words, int count, struct error *err)
{
    int status = 0;

    g->several = count > 1;
    for (int i = 0; i < count; i++) {
        struct cli_resource resource = {0};
        char *slash = strchr(words[i], '/');
        if (!slash) {
            return error_set(err, ERR_INVALID, "\"%.60s\" must be KIND/NAME, as the others are",
                             words[i]);
        }
        *slash = '\0';
        int rc = cli_resource_of_word(words[i], &resource, err);
        rc = rc ? rc : get_one(g, &resource, slash + 1, true, err);
        status = rc < 0 ? cli_fail(err) : status;
    }
    return status;
}

int cmd_get(struct cli *cli, int argc, char **argv)
{
    struct get g = {.cli = cli};
    struct error err;
    int count = cli_parse(&TABLE, argc, argv, &g);
    bool named = count > 0 && strchr(argv[1], '/');
    bool single = named ? count == 1 : count == 2;

    if (count < 1 || (g.watch && count > 1 + !named)) {
        return cli_usage(count < 1 ? "usage: lull get KIND [NAME…]; `lull get --help` has examples"
                                   : "--watch takes one kind, and one name at most");
    }
    g.items = json_array();
    g.style.wide = g.output == FORM_WIDE;
    int rc = cli_connect(cli, &g.common, &err);
    if (rc == 0) {
        rc = named ? get_names(&g, argv + 1, count, &err)
                   : get_kinds(&g, argv[1], argv + 2, count - 1, &err);
    }
    if (rc < 0) {
        rc = cli_fail(&err);
    }
    if (whole(&g) && !g.watch && (rc == 0 || json_array_size(g.items) > 0)) {
        print_whole(&g, single && json_array_size(g.items) == 1);
    }
    json_decref(g.items);
    options_fini(&TABLE, &g);
    return rc;
}
