// SPDX-License-Identifier: Apache-2.0
//
// lull simulate [--service NAME] [OPTION…] [FILE…]: lull-autoscaler does it, with the code that
// decides live. With --service this command adds what only the API knows: which revisions the
// Service has, its present settings, and where this machine's traffic was recorded.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/cli.h"
#include "cli/program.h"

#define TEXT_MAX     8192
#define REVISION_MAX 64

// Arguments for lull-autoscaler; each is in memory of its own.
struct words {
    char **argv;
    size_t count;
};

static void add(struct words *w, char *word)
{
    w->argv = xreallocarray(w->argv, w->count + 2, sizeof(*w->argv));
    w->argv[w->count++] = word;
    w->argv[w->count] = NULL;
}

// "--service NAME" or "--service=NAME" at argv[*i].
static const char *service_at(int argc, char **argv, int *i)
{
    const char *flag = "--service";
    size_t len = strlen(flag);
    if (strncmp(argv[*i], flag, len) != 0) {
        return NULL;
    }
    if (argv[*i][len] == '=') {
        return argv[*i] + len + 1;
    }
    return argv[*i][len] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

// The settings that the Service's template has now, as --set takes them.
static char *present_settings(const json_t *service)
{
    static const char *const prefixes[] = {AUTOSCALING_PREFIX, AUTOSCALING_LULL_PREFIX};
    static const char *const left_out[] = {"class", "initial-scale", "initialScale", "warm-at"};
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, TEXT_MAX);
    strbuf_appendf(&text, "present:container-concurrency=%lld",
                   (long long)jpeek_i64(service, "spec.template.spec.containerConcurrency"));
    const char *key;
    json_t *value;
    json_object_foreach(jpeek_obj(service, "spec.template.metadata.annotations"), key, value)
    {
        const char *name = NULL;
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
            size_t len = strlen(prefixes[i]);
            name = strncmp(key, prefixes[i], len) == 0 ? key + len : name;
        }
        for (size_t i = 0; name != NULL && i < ARRAY_LEN(left_out); i++) {
            name = strcmp(name, left_out[i]) == 0 ? NULL : name;
        }
        if (name != NULL && json_is_string(value)) {
            strbuf_appendf(&text, ",%s=%s", name, json_string_value(value));
        }
    }
    return strbuf_take(&text, NULL);
}

static int add_revisions(struct cli *cli, const char *service, struct words *w, struct error *err)
{
    CLEANUP(cleanup_free) char *labels = xasprintf(LABEL_SERVICE "=%s", service);
    json_t *list = NULL;
    int rc = cli_list(cli, KIND_REVISION, labels, &list, err);
    if (rc < 0) {
        return rc;
    }
    size_t i;
    const json_t *revision;
    json_array_foreach(jpeek_arr(list, "items"), i, revision)
    {
        if (i < REVISION_MAX) {
            add(w, xasprintf("--only=%s/%s", jpeek_cstr(revision, "metadata.namespace"),
                             jpeek_cstr(revision, "metadata.name")));
        }
    }
    json_decref(list);
    return 0;
}

// What this machine's autoscaler has recorded; the older half first.
static int add_records(const struct cli *cli, struct words *w, struct error *err)
{
    CLEANUP(cleanup_free) char *newer = fs_join(cli->home, "traffic.log");
    CLEANUP(cleanup_free) char *older = fs_join(cli->home, "traffic.log.1");
    if (!fs_exists(newer)) {
        return error_set(err, ERR_NOT_FOUND,
                         "no traffic was recorded on this machine yet (%s); name files instead",
                         newer);
    }
    if (fs_exists(older)) {
        add(w, xstrdup(older));
    }
    add(w, xstrdup(newer));
    return 0;
}

static int add_service(struct cli *cli, const char *name, bool own_sets, bool own_files,
                       struct words *w, struct error *err)
{
    struct cli_common common = {0};
    json_t *service = NULL;
    int rc = cli_connect(cli, &common, err);
    rc = rc < 0 ? rc : cli_get(cli, KIND_SERVICE, name, &service, err);
    rc = rc < 0 ? rc : add_revisions(cli, name, w, err);
    if (rc == 0 && !own_sets) {
        add(w, xstrdup("--set"));
        add(w, present_settings(service));
        add(w, xstrdup("--suggest"));
    }
    json_decref(service);
    return rc < 0 || own_files ? rc : add_records(cli, w, err);
}

int cmd_simulate(struct cli *cli, int argc, char **argv)
{
    struct words w = {0};
    struct error err = {0};
    const char *service = NULL;
    bool sets = false;
    bool files = false;

    add(&w, xstrdup("lull-autoscaler"));
    add(&w, xstrdup("simulate"));
    for (int i = 1; i < argc; i++) {
        const char *name = service_at(argc, argv, &i);
        if (name != NULL) {
            service = name;
            continue;
        }
        sets = sets || strncmp(argv[i], "--set", 5) == 0;
        files = files || (argv[i][0] != '-' && fs_exists(argv[i]));
        add(&w, xstrdup(argv[i]));
    }
    int rc = service == NULL ? 0 : add_service(cli, service, sets, files, &w, &err);
    rc = rc < 0 ? rc : program_become(w.argv[0], (const char *const *)w.argv, &err);
    return rc < 0 ? cli_fail(&err) : 0;
}
