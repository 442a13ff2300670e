// SPDX-License-Identifier: Apache-2.0
//
// lull delete NAME… | KIND/NAME… | -f WHERE…: functions by their names, other objects by kind and
// name, or what manifests name.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/manifest.h"
#include "cli/resource.h"

#define POLL_MS 50

struct delete_options {
    struct cli_common common;
    char *filename;
    bool recursive, wait, ignore_not_found;
    int cascade;
    int64_t timeout_s;
    struct cli_words files;
    json_t *deleted; /* names, for -o json */
};

static const struct option_row ROWS[] = {
    OPTION(struct delete_options, filename, STRING, NULL, "filename", NULL, .optional = true,
           .help = "delete what these manifests name; -f for short, may be given several times"),
    OPTION(struct delete_options, recursive, BOOL, NULL, "recursive", "false",
           .help = "look into folders within folders; -R for short"),
    OPTION(struct delete_options, cascade, CHOICE, NULL, "cascade", "background",
           .choices = "background|foreground|orphan",
           .help = "what it owns goes afterwards, before it, or stays"),
    OPTION(struct delete_options, wait, BOOL, NULL, "wait", "false",
           .help = "wait until it is gone"),
    OPTION(struct delete_options, timeout_s, INT, NULL, "timeout", "60", .min = 1, .max = 3600,
           .help = "seconds to wait, with --wait"),
    OPTION(struct delete_options, ignore_not_found, BOOL, NULL, "ignore-not-found", "false",
           .help = "what is not there is no failure"),
    CLI_COMMON_ROWS(struct delete_options),
};
static const struct option_table TABLE = {
    .program = "lull delete",
    .summary = "deletes functions, or objects of any kind",
    .arguments = "NAME… | KIND/NAME… | -f WHERE…",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull delete hello\n"
                "  lull delete secret/db configmap/settings\n"
                "  lull delete -f hello.yaml --wait --ignore-not-found\n"};

static int wait_gone(struct cli *cli, const struct delete_options *o, const struct kube_call *call,
                     const char *uid, struct error *err)
{
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + (uint64_t)o->timeout_s * 1000;

    for (;;) {
        CLEANUP(jfree) json_t *there = NULL;
        int rc = cli_call(cli, kube_get, call, &there, err);
        if (rc == ERR_NOT_FOUND) {
            return 0;
        }
        if (rc < 0) {
            return rc;
        }
        if (uid[0] && strcmp(jpeek_cstr(there, "metadata.uid"), uid) != 0) {
            return 0; // another one of its name
        }
        if (loop_now_fresh_ns(&cli->loop) / 1000000 > end) {
            return error_set(err, ERR_TIMEOUT, "%s is still there after %lld s%s", call->name,
                             (long long)o->timeout_s,
                             jpeek_arr(there, "metadata.finalizers") ? " (it has finalizers)" : "");
        }
        cli_pause(cli, POLL_MS);
    }
}

static int delete_one(struct cli *cli, struct delete_options *o,
                      const struct cli_resource *resource, const char *ns, const char *name,
                      bool function, struct error *err)
{
    static const char *const POLICY[] = {"Background", "Foreground", "Orphan"};
    CLEANUP(jfree) json_t *answer = NULL;
    CLEANUP(jfree)
    json_t *body = json_pack("{s:s, s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1",
                             "propagationPolicy", POLICY[o->cascade]);
    struct kube_call call = {.kind = resource->kind, .ns = ns, .name = name, .body = body};

    int rc = cli_call(cli, kube_delete, &call, &answer, err);
    if (rc == ERR_NOT_FOUND && o->ignore_not_found) {
        return 0;
    }
    if (rc == 0 && o->wait) {
        const char *uid = jpeek_cstr(answer, "metadata.uid");
        call.body = NULL;
        rc = wait_gone(cli, o, &call, uid[0] ? uid : jpeek_cstr(answer, "details.uid"), err);
    }
    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_free) char *named = cli_resource_name(resource, name);
    if (o->common.output == CLI_TEXT) {
        printf("%s deleted\n", function ? name : named);
    }
    (void)json_array_append_new(o->deleted, json_string(named));
    return 0;
}

static int delete_manifests(struct cli *cli, struct delete_options *o, struct error *err)
{
    struct manifests all = {0};
    int status = 0;

    int rc = manifests_read(cli, &o->files, o->recursive, &all, err);
    for (size_t i = 0; rc == 0 && i < all.count; i++) {
        json_t *object = all.items[i].object;
        struct cli_resource resource = {0};
        int one = cli_resource_of_object(cli, object, &resource, err);
        one = one ? one : cli_manifest_target(cli, &o->common, &resource, object, err);
        if (one == 0) {
            const char *ns = resource.namespaced ? jpeek_cstr(object, "metadata.namespace") : NULL;
            one =
                delete_one(cli, o, &resource, ns, jpeek_cstr(object, "metadata.name"), false, err);
        }
        if (one < 0) {
            status = cli_failf("%s: %s", all.items[i].origin, err->msg);
        }
        cli_resource_fini(&resource);
    }
    manifests_fini(&all);
    return rc < 0 ? rc : status;
}

static int delete_word(struct cli *cli, struct delete_options *o, char *word, struct error *err)
{
    struct cli_resource resource = cli_resource_row(kind_row(KIND_SERVICE));
    char *slash = strchr(word, '/');
    int rc = 0;

    if (slash) {
        *slash = '\0';
        rc = cli_resource_of_word(word, &resource, err);
    }
    return rc ? rc
              : delete_one(cli, o, &resource, resource.namespaced ? cli->ns : NULL,
                           slash ? slash + 1 : word, slash == NULL, err);
}

int cmd_delete(struct cli *cli, int argc, char **argv)
{
    struct delete_options o = {0};
    struct error err;
    int status = 0;

    if (cli_repeated(&argc, argv, "filename", 'f', &o.files) != 0) {
        return 2;
    }
    int names = cli_parse(&TABLE, argc, argv, &o);
    if ((names < 1) == (o.files.count == 0)) {
        return cli_usage("usage: lull delete NAME… | KIND/NAME… | -f WHERE…");
    }
    int rc = cli_connect(cli, &o.common, &err);
    if (rc < 0) {
        return cli_fail(&err);
    }
    o.deleted = json_array();
    if (o.files.count > 0) {
        rc = delete_manifests(cli, &o, &err);
        status = rc < 0 ? cli_fail(&err) : rc;
    }
    for (int i = 1; i <= names; i++) {
        rc = delete_word(cli, &o, argv[i], &err);
        status = rc < 0 ? cli_fail(&err) : status;
    }
    if (o.common.output == CLI_JSON) {
        json_t *answer = json_pack("{s:O}", "deleted", o.deleted);
        cli_print_json(answer);
        json_decref(answer);
    }
    json_decref(o.deleted);
    options_fini(&TABLE, &o);
    return status;
}
