// SPDX-License-Identifier: Apache-2.0
//
// lull apply -f WHERE…: makes each object what its manifest says. One that cannot be applied does
// not keep the others from it; the exit status tells.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/defaults.h"
#include "serving/names.h"
#include "serving/schema_check.h"
#include "serving/schema_prune.h"
#include "cli/apply_patch.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/manifest.h"
#include "cli/resource.h"
#include "eventing/admit.h"

#define CONFLICT_TRIES 5

enum { FORM_TEXT, FORM_NAME, FORM_JSON, FORM_YAML };
enum { DRY_NONE, DRY_CLIENT, DRY_SERVER };

struct apply {
    struct cli_common common; /* its output is not used */
    int output, dry_run;
    char *filename;
    bool recursive, wait;
    int64_t timeout_s;
    struct cli_words files;
    json_t *results; /* the objects as they are then */
};

static const struct option_row ROWS[] = {
    OPTION(struct apply, filename, STRING, NULL, "filename", NULL, .optional = true,
           .help = "file, folder, URL, or - for standard input; -f for short, may be given several "
                   "times"),
    OPTION(struct apply, recursive, BOOL, NULL, "recursive", "false",
           .help = "look into folders within folders; -R for short"),
    OPTION(struct apply, dry_run, CHOICE, NULL, "dry-run", "none", .choices = "none|client|server",
           .help = "change nothing: client checks here, without a server; server asks it"),
    OPTION(struct apply, wait, BOOL, NULL, "wait", "false",
           .help = "wait until everything that can be ready is"),
    OPTION(struct apply, timeout_s, INT, NULL, "timeout", "120", .min = 1, .max = 3600,
           .help = "seconds to wait, with --wait"),
    OPTION(struct apply, output, CHOICE, NULL, "output", "text", .choices = "text|name|json|yaml",
           .help = "form of the answer; json and yaml show the objects; -o for short"),
    CLI_TARGET_ROWS(struct apply),
};
static const struct option_table TABLE = {
    .program = "lull apply",
    .summary = "creates or changes objects from manifests (YAML or JSON)",
    .arguments = "-f WHERE…",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull apply -f hello.yaml\n"
                "  lull apply -f functions/ -R --wait\n"
                "  cat hello.yaml | lull apply -f - --dry-run=client -o yaml\n"};

static const char *const DRY_WORDS[] = {"", " (dry run)", " (server dry run)"};

static void tell(struct apply *a, const struct cli_resource *resource, json_t *object,
                 const char *what)
{
    CLEANUP(cleanup_free)
    char *name = cli_resource_name(resource, jpeek_cstr(object, "metadata.name"));

    if (a->output == FORM_TEXT) {
        printf("%s %s%s\n", name, what, DRY_WORDS[a->dry_run]);
    } else if (a->output == FORM_NAME) {
        puts(name);
    }
    (void)json_array_append(a->results, object);
}

// Unknown fields and wrong types, as a server answers with fieldValidation=Strict.
static int check_fields(const struct kind *row, json_t *object, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf why;
    CLEANUP(jfree) json_t *unknown = json_array();
    CLEANUP(jfree) json_t *causes = NULL;
    size_t i;
    json_t *name;

    strbuf_init(&why, 64u << 10);
    if (!schema_decodes(row, object, &why)) {
        return error_set(err, ERR_INVALID, "%s", why.ptr);
    }
    schema_prune(row, object, unknown);
    json_array_foreach(unknown, i, name)
    {
        (void)strbuf_appendf(&why, "%sunknown field \"%s\"", i > 0 ? ", " : "",
                             json_string_value(name));
    }
    if (json_array_size(unknown) == 0 && kind_is_custom(row)) {
        causes = schema_check(row, object);
        schema_causes_text(causes, &why);
    }
    return why.len > 0 ? error_set(err, ERR_INVALID, "%s", why.ptr) : 0;
}

static void print_warnings(const struct strbuf *text)
{
    struct slice rest = strbuf_slice(text), line;

    while (rest.len > 0 && slice_split(&rest, '\n', &line)) {
        fprintf(stderr, "Warning: %.*s\n", SLICE_FMT(line));
    }
}

// Defaults and rules as the server has them, without one.
static int check_here(struct apply *a, const struct cli_resource *resource, json_t *object,
                      struct error *err)
{
    struct serving_config config;
    struct serving_request request = {.kind = resource->row};
    struct serving_report report;
    int rc = 0;

    serving_config_init(&config);
    config.processes = true;
    serving_report_init(&report);
    if (resource->row) {
        rc = check_fields(resource->row, object, err);
    }
    if (rc == 0 && resource->row) {
        rc = eventing_knows(request.kind) ? eventing_admit(&request, object, &report)
                                          : serving_admit(&config, &request, object, &report);
        rc = rc < 0 ? error_set(err, ERR_INVALID, "%s", report.errors.ptr) : 0;
        print_warnings(&report.warnings);
    }
    serving_report_fini(&report);
    if (rc == 0) {
        tell(a, resource, object, "valid");
    }
    return rc;
}

static int create(struct cli *cli, struct kube_call call, json_t *object, json_t **out,
                  struct error *err)
{
    call.name = NULL;
    call.body = object;
    return cli_call(cli, kube_create, &call, out, err);
}

static int patch(struct cli *cli, struct kube_call call, const json_t *object, json_t *live,
                 json_t **out, struct error *err)
{
    bool first = false;
    call.body = apply_patch(object, live, &first);
    int rc = 0;

    if (json_object_size(call.body) == 0) {
        *out = json_incref(live);
    } else {
        if (first) {
            fprintf(stderr,
                    "lull: %s was not made by apply: what your manifest does not name stays\n",
                    call.name);
        }
        rc = cli_call(cli, kube_patch, &call, out, err);
    }
    json_decref(call.body);
    return rc;
}

// Create, or read and patch; again when another client made or deleted it in between.
static int put(struct cli *cli, struct apply *a, const struct cli_resource *resource,
               json_t *object, struct error *err)
{
    struct kube_call call = {.kind = resource->kind,
                             .ns = resource->namespaced ? jpeek_cstr(object, "metadata.namespace")
                                                        : NULL,
                             .name = jpeek_cstr(object, "metadata.name"),
                             .dry_run = a->dry_run == DRY_SERVER,
                             .field_validation = "Strict"};
    struct kube_call read = {.kind = call.kind, .ns = call.ns, .name = call.name};
    int rc = ERR_CONFLICT;

    for (int i = 0; i < CONFLICT_TRIES && (rc == ERR_CONFLICT || rc == ERR_EXISTS); i++) {
        json_t *live = NULL, *now = NULL;
        const char *what = "created";
        rc = cli_call(cli, kube_get, &read, &live, err);
        if (rc == ERR_NOT_FOUND) {
            rc = create(cli, call, object, &now, err);
        } else if (rc == 0) {
            rc = patch(cli, call, object, live, &now, err);
            bool same = rc == 0 && strcmp(jpeek_cstr(now, "metadata.resourceVersion"),
                                          jpeek_cstr(live, "metadata.resourceVersion")) == 0;
            // A dry run may leave the version as it was, whatever it found.
            same = same && (a->dry_run == DRY_NONE || json_equal(now, live));
            what = same ? "unchanged" : "configured";
        }
        if (rc == 0) {
            tell(a, resource, now, what);
        }
        json_decref(live);
        json_decref(now);
    }
    return rc;
}

static int apply_one(struct cli *cli, struct apply *a, json_t *object, struct error *err)
{
    struct cli_resource resource = {0};
    int rc = cli_resource_of_object(cli, object, &resource, err);

    rc = rc ? rc : cli_manifest_target(cli, &a->common, &resource, object, err);
    if (rc == 0 && a->dry_run == DRY_CLIENT) {
        rc = check_here(a, &resource, object, err);
    } else if (rc == 0) {
        rc = apply_annotate(object, err);
        rc = rc ? rc : put(cli, a, &resource, object, err);
    }
    cli_resource_fini(&resource);
    return rc;
}

static int wait_all(struct cli *cli, struct apply *a)
{
    size_t i;
    json_t *object;
    struct error err;
    int status = 0;

    json_array_foreach(a->results, i, object)
    {
        const struct kind *row =
            kind_by_object(jpeek_cstr(object, "apiVersion"), jpeek_cstr(object, "kind"));
        json_t *now = NULL;
        if (!row || strcmp(row->group, SERVING_GROUP) != 0) {
            continue;
        }
        int rc = cli_wait_object(cli, KUBE_KIND(row), jpeek_cstr(object, "metadata.namespace"),
                                 jpeek_cstr(object, "metadata.name"), (uint64_t)a->timeout_s * 1000,
                                 a->output == FORM_TEXT, &now, &err);
        if (rc < 0) {
            status = cli_fail(&err);
        } else {
            (void)json_array_set_new(a->results, i, now);
        }
    }
    return status;
}

static void print_results(const struct apply *a)
{
    json_t *one = json_array_size(a->results) == 1 ? json_array_get(a->results, 0) : NULL;
    json_t *list =
        one ? json_incref(one)
            : json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", a->results);
    if (a->output == FORM_JSON) {
        cli_print_json(list);
    } else if (a->output == FORM_YAML) {
        cli_print_yaml(list);
    }
    json_decref(list);
}

static int run(struct cli *cli, struct apply *a)
{
    struct manifests all = {0};
    struct error err;
    int status = 0;

    int rc = a->dry_run == DRY_CLIENT ? 0 : cli_connect(cli, &a->common, &err);
    if (rc == 0 && a->dry_run == DRY_CLIENT && a->common.ns) {
        cli->ns = xstrdup(a->common.ns);
    }
    rc = rc ? rc : manifests_read(cli, &a->files, a->recursive, &all, &err);
    if (rc < 0) {
        manifests_fini(&all);
        return cli_fail(&err);
    }
    a->results = json_array();
    for (size_t i = 0; i < all.count; i++) {
        if (apply_one(cli, a, all.items[i].object, &err) < 0) {
            status = cli_failf("%s: %s", all.items[i].origin, err.msg);
        }
    }
    if (a->wait && a->dry_run == DRY_NONE) {
        status |= wait_all(cli, a);
    }
    print_results(a);
    json_decref(a->results);
    manifests_fini(&all);
    return status;
}

int cmd_apply(struct cli *cli, int argc, char **argv)
{
    struct apply a = {0};

    if (cli_repeated(&argc, argv, "filename", 'f', &a.files) != 0) {
        return 2;
    }
    if (cli_parse(&TABLE, argc, argv, &a) != 0 || a.files.count == 0) {
        return cli_usage("usage: lull apply -f FILE|FOLDER|URL|-");
    }
    int status = run(cli, &a);
    options_fini(&TABLE, &a);
    return status;
}
