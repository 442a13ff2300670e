// SPDX-License-Identifier: Apache-2.0
//
// lull diff -f WHERE…: what apply would change, asked of the server (a dry run), as a unified
// difference of YAML. Values of Secrets are never shown.
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/apply_patch.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/diff_text.h"
#include "cli/manifest.h"
#include "cli/resource.h"
#include "yaml/ydump.h"

#define TEXT_MAX (32u << 20)

struct diff_options {
    struct cli_common common;
    char *filename;
    bool recursive;
    struct cli_words files;
};

static const struct option_row ROWS[] = {
    OPTION(struct diff_options, filename, STRING, NULL, "filename", NULL, .optional = true,
           .help = "file, folder, URL, or - for standard input; -f for short, may be given several "
                   "times"),
    OPTION(struct diff_options, recursive, BOOL, NULL, "recursive", "false",
           .help = "look into folders within folders; -R for short"),
    CLI_COMMON_ROWS(struct diff_options),
};
static const struct option_table TABLE = {
    .program = "lull diff",
    .summary = "shows what apply would change; exit status 0: nothing, 1: something, 2: it failed",
    .arguments = "-f WHERE…",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull diff -f hello.yaml\n"
                "  lull diff -f functions/ -R -o json\n"};

// What the server keeps by itself says nothing about a change.
static void strip(json_t *object)
{
    json_t *meta = jpeek_obj(object, "metadata");
    static const char *const DROPPED[] = {"resourceVersion", "generation", "managedFields", "uid",
                                          "creationTimestamp"};

    for (size_t i = 0; meta && i < ARRAY_LEN(DROPPED); i++) {
        (void)json_object_del(meta, DROPPED[i]);
    }
    json_t *annotations = jpeek_obj(meta, "annotations");
    if (annotations) {
        (void)json_object_del(annotations, ANNOTATION_LAST_APPLIED);
        (void)json_object_del(annotations, ANNOTATION_LAST_MODIFIER);
        if (json_object_size(annotations) == 0) {
            (void)json_object_del(meta, "annotations");
        }
    }
    if (object) {
        (void)json_object_del(object, "status");
    }
}

// Values that are equal stay equal, values that differ stay different.
static void mask(json_t *before, json_t *after)
{
    json_t *old = jpeek_obj(before, "data"), *new = jpeek_obj(after, "data");
    const char *key;
    json_t *item;
    void *next;

    json_object_foreach_safe(new, next, key, item)
    {
        const json_t *was = json_object_get(old, key);
        bool same = was && json_equal(item, was);
        if (was) {
            (void)json_object_set_new(old, key, json_string(same ? "***" : "*** (before)"));
        }
        (void)json_object_set_new(new, key, json_string(same || !was ? "***" : "*** (after)"));
    }
    json_object_foreach_safe(old, next, key, item)
    {
        if (!json_object_get(new, key)) {
            (void)json_object_set_new(old, key, json_string("***"));
        }
    }
}

static int wanted_of(struct cli *cli, const struct cli_resource *resource, json_t *object,
                     json_t **out_live, json_t **out_wanted, struct error *err)
{
    struct kube_call call = {.kind = resource->kind,
                             .ns = resource->namespaced ? jpeek_cstr(object, "metadata.namespace")
                                                        : NULL,
                             .name = jpeek_cstr(object, "metadata.name")};
    bool first = false;

    int rc = cli_call(cli, kube_get, &call, out_live, err);
    call.dry_run = true;
    call.field_validation = "Strict";
    if (rc == ERR_NOT_FOUND) {
        call.name = NULL;
        call.body = object;
        return cli_call(cli, kube_create, &call, out_wanted, err);
    }
    if (rc < 0) {
        return rc;
    }
    call.body = apply_patch(object, *out_live, &first);
    rc = cli_call(cli, kube_patch, &call, out_wanted, err);
    json_decref(call.body);
    return rc;
}

static void dump(json_t *object, struct strbuf *out)
{
    strbuf_init(out, TEXT_MAX);
    if (object && ydump(object, out, NULL) < 0) {
        strbuf_clear(out);
    }
}

// 1: they differ. Prints, or appends to list.
static int compare(const char *name, json_t *live, json_t *wanted, json_t *list)
{
    CLEANUP(strbuf_fini) struct strbuf before;
    CLEANUP(strbuf_fini) struct strbuf after;
    CLEANUP(strbuf_fini) struct strbuf out;

    strip(live);
    strip(wanted);
    if (strcmp(jpeek_cstr(wanted, "kind"), "Secret") == 0) {
        mask(live, wanted);
    }
    dump(live, &before);
    dump(wanted, &after);
    strbuf_init(&out, TEXT_MAX);
    if (!diff_text(strbuf_slice(&before), strbuf_slice(&after), &out)) {
        return 0;
    }
    if (list) {
        (void)json_array_append_new(
            list, json_pack("{s:s, s:O?, s:O}", "name", name, "before", live, "after", wanted));
    } else {
        printf("--- live/%s\n+++ applied/%s\n%s", name, name, out.ptr);
    }
    return 1;
}

static int diff_one(struct cli *cli, const struct diff_options *o, json_t *object, json_t *list,
                    struct error *err)
{
    struct cli_resource resource = {0};
    json_t *live = NULL, *wanted = NULL;

    int rc = cli_resource_of_object(cli, object, &resource, err);
    rc = rc ? rc : cli_manifest_target(cli, &o->common, &resource, object, err);
    rc = rc ? rc : apply_annotate(object, err);
    rc = rc ? rc : wanted_of(cli, &resource, object, &live, &wanted, err);
    if (rc == 0) {
        CLEANUP(cleanup_free)
        char *name = cli_resource_name(&resource, jpeek_cstr(object, "metadata.name"));
        rc = compare(name, live, wanted, list);
    }
    json_decref(live);
    json_decref(wanted);
    cli_resource_fini(&resource);
    return rc;
}

static int run(struct cli *cli, const struct diff_options *o)
{
    struct manifests all = {0};
    struct error err;
    json_t *list = o->common.output == CLI_JSON ? json_array() : NULL;
    int status = 0;

    int rc = cli_connect(cli, &o->common, &err);
    rc = rc ? rc : manifests_read(cli, &o->files, o->recursive, &all, &err);
    if (rc < 0) {
        (void)cli_fail(&err);
        status = 2;
    }
    for (size_t i = 0; rc == 0 && i < all.count; i++) {
        int one = diff_one(cli, o, all.items[i].object, list, &err);
        if (one < 0) {
            (void)cli_failf("%s: %s", all.items[i].origin, err.msg);
            status = 2;
        } else if (one > 0 && status == 0) {
            status = 1;
        }
    }
    if (list) {
        cli_print_json(list);
        json_decref(list);
    }
    manifests_fini(&all);
    return status;
}

int cmd_diff(struct cli *cli, int argc, char **argv)
{
    struct diff_options o = {0};

    if (cli_repeated(&argc, argv, "filename", 'f', &o.files) != 0) {
        return 2;
    }
    if (cli_parse(&TABLE, argc, argv, &o) != 0 || o.files.count == 0) {
        return cli_usage("usage: lull diff -f FILE|FOLDER|URL|-");
    }
    int status = run(cli, &o);
    options_fini(&TABLE, &o);
    return status;
}
