// SPDX-License-Identifier: Apache-2.0
//
// lull env NAME [set A=b…] [unset C…]: a function's variables, and the Secrets and ConfigMaps that
// it gets as variables and files. A change makes a new revision.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/service_edit.h"

struct env {
    struct cli_common common;
    struct cli_wait wait;
    char *env_from, *mount; /* rows for --help */
    struct cli_words env_from_words, mount_words;
    struct service_changes changes;
};

static const struct option_row ROWS[] = {
    OPTION(struct env, env_from, STRING, NULL, "env-from", NULL, .optional = true,
           .help =
               "secret:NAME or config:NAME: every key as a variable; with - at the end no more"),
    OPTION(struct env, mount, STRING, NULL, "mount", NULL, .optional = true,
           .help = "/PATH=secret:NAME or /PATH=config:NAME: every key as a file; /PATH-: no more"),
    CLI_WAIT_ROWS(struct env),
    CLI_COMMON_ROWS(struct env),
};
static const struct option_table TABLE = {
    .program = "lull env",
    .summary = "shows or changes a function's environment",
    .arguments = "NAME [set VARIABLE=VALUE…] [unset VARIABLE…]",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull env hello\n"
                "  lull env hello set TARGET=you LEVEL=debug unset OLD\n"
                "  lull env hello --env-from secret:db --mount /etc/settings=config:settings\n"};

static int change(void *arg, json_t *service, struct error *err)
{
    return service_edit(service, &((struct env *)arg)->changes, err);
}

// Words after the name: NAME=VALUE behind set, NAME behind unset, as service_edit takes them.
static int words_take(char **words, int count, const char **out, struct error *err)
{
    bool set = false, unset = false;
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "set") == 0 || strcmp(words[i], "unset") == 0) {
            set = words[i][0] == 's';
            unset = !set;
            continue;
        }
        if (set == unset) {
            return error_set(err, ERR_INVALID, "\"%.60s\": set or unset must stand before it",
                             words[i]);
        }
        bool value = strchr(words[i], '=') != NULL;
        if (value != set) {
            return error_set(err, ERR_INVALID, "%s %.60s: must be %s", set ? "set" : "unset",
                             words[i], set ? "VARIABLE=VALUE" : "the name of a variable");
        }
        out[n++] = set ? words[i] : xasprintf("%s-", words[i]);
    }
    return 0;
}

static void row_print(const json_t *row)
{
    const json_t *secret = jpeek_obj(row, "valueFrom.secretKeyRef");
    const json_t *config = jpeek_obj(row, "valueFrom.configMapKeyRef");
    const json_t *field = jpeek_obj(row, "valueFrom.fieldRef");
    const json_t *ref = secret ? secret : config;

    printf("%s=", jpeek_cstr(row, "name"));
    if (ref) {
        printf("(from %s:%s, key %s)\n", secret ? "secret" : "config", jpeek_cstr(ref, "name"),
               jpeek_cstr(ref, "key"));
    } else if (field) {
        printf("(from %s)\n", jpeek_cstr(field, "fieldPath"));
    } else {
        puts(jpeek_cstr(row, "value"));
    }
}

static void mounts_print(const json_t *pod, const json_t *container)
{
    size_t i, k;
    json_t *m, *v;

    json_array_foreach(jpeek_arr(container, "volumeMounts"), i, m)
    {
        json_array_foreach(jpeek_arr(pod, "volumes"), k, v)
        {
            if (strcmp(jpeek_cstr(v, "name"), jpeek_cstr(m, "name")) != 0) {
                continue;
            }
            const char *secret = jpeek_cstr(v, "secret.secretName");
            const char *config = jpeek_cstr(v, "configMap.name");
            printf("(%s has %s)\n", jpeek_cstr(m, "mountPath"),
                   secret[0]   ? secret
                   : config[0] ? config
                               : jpeek_cstr(v, "name"));
        }
    }
}

static void show(const json_t *service, bool json)
{
    const json_t *container = service_container(service);
    size_t i;
    json_t *row;

    if (json) {
        json_t *answer = json_pack(
            "{s:s, s:O?, s:O?, s:O?, s:O?}", "name", jpeek_cstr(service, "metadata.name"), "env",
            jpeek_arr(container, "env"), "envFrom", jpeek_arr(container, "envFrom"), "volumeMounts",
            jpeek_arr(container, "volumeMounts"), "volumes",
            jpeek_arr(service, "spec.template.spec.volumes"));
        cli_print_json(answer);
        json_decref(answer);
        return;
    }
    json_array_foreach(jpeek_arr(container, "env"), i, row)
    {
        row_print(row);
    }
    json_array_foreach(jpeek_arr(container, "envFrom"), i, row)
    {
        const char *secret = jpeek_cstr(row, "secretRef.name");
        printf("(all of %s:%s)\n", secret[0] ? "secret" : "config",
               secret[0] ? secret : jpeek_cstr(row, "configMapRef.name"));
    }
    mounts_print(jpeek_obj(service, "spec.template.spec"), container);
}

static int run(struct cli *cli, struct env *e, const char *name, char **words, int count)
{
    const char **list = xcalloc((size_t)count + 1, sizeof *list);
    json_t *service = NULL;
    struct error err;

    e->changes = (struct service_changes){.env = count > 0 ? list : NULL,
                                          .env_from = e->env_from_words.items,
                                          .mounts = e->mount_words.items,
                                          .concurrency = -1};
    e->wait.progress = e->common.output == CLI_TEXT;
    bool changes = count + e->env_from_words.count + e->mount_words.count > 0;
    int rc = words_take(words, count, list, &err);
    rc = rc ? rc : cli_connect(cli, &e->common, &err);
    if (rc == 0) {
        rc = changes ? cli_change_service(cli, name, change, e, &e->wait, &service, &err)
                     : cli_get(cli, KIND_SERVICE, name, &service, &err);
    }
    if (rc == 0) {
        show(service, e->common.output == CLI_JSON);
        json_decref(service);
    }
    free(list);
    return rc < 0 ? cli_fail(&err) : 0;
}

int cmd_env(struct cli *cli, int argc, char **argv)
{
    struct env e = {0};

    if (cli_repeated(&argc, argv, "env-from", 0, &e.env_from_words) ||
        cli_repeated(&argc, argv, "mount", 0, &e.mount_words)) {
        return 2;
    }
    int words = cli_parse(&TABLE, argc, argv, &e);
    if (words < 1) {
        return cli_usage("usage: lull env NAME [set VARIABLE=VALUE…] [unset VARIABLE…]");
    }
    int status = run(cli, &e, argv[1], argv + 2, words - 1);
    options_fini(&TABLE, &e);
    return status;
}
