// SPDX-License-Identifier: Apache-2.0
//
// lull secret and lull config: create, set, list, delete. Values of Secrets come from files or
// standard input only, never from the command line, which others can see; and they are never shown.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/keyed.h"

struct keyed_options {
    struct cli_common common;
    char *from_file, *from_env_file, *from_literal, *unset; /* rows for --help */
    char *type;
    struct cli_words files, env_files, literals, unsets;
    /* worked out */
    bool secret;
    struct keyed keyed;
};

#define FILE_ROWS                                                                              \
    OPTION(struct keyed_options, from_file, STRING, NULL, "from-file", NULL, .optional = true, \
           .help = "KEY=FILE, or FILE or FOLDER whose names are the keys; KEY=- is standard "  \
                   "input; may be given several times"),                                       \
        OPTION(struct keyed_options, from_env_file, STRING, NULL, "from-env-file", NULL,       \
               .optional = true,                                                               \
               .help = "lines NAME=VALUE; - is standard input; may be given several times"),   \
        OPTION(struct keyed_options, unset, STRING, NULL, "unset", NULL, .optional = true,     \
               .help = "with set: take this key away; may be given several times")

static const struct option_row SECRET_ROWS[] = {
    FILE_ROWS,
    OPTION(struct keyed_options, type, STRING, NULL, "type", "Opaque",
           .help = "with create: its type"),
    CLI_COMMON_ROWS(struct keyed_options),
};
static const struct option_row CONFIG_ROWS[] = {
    FILE_ROWS,
    OPTION(struct keyed_options, from_literal, STRING, NULL, "from-literal", NULL, .optional = true,
           .help = "KEY=VALUE; may be given several times"),
    CLI_COMMON_ROWS(struct keyed_options),
};
static const struct option_table SECRET = {
    .program = "lull secret",
    .summary =
        "creates, changes, lists and deletes Secrets; values come from files or standard input",
    .arguments = "create NAME | set NAME | list | delete NAME…",
    .rows = SECRET_ROWS,
    .count = ARRAY_LEN(SECRET_ROWS),
    .examples = "  printf %s \"$PASSWORD\" | lull secret create db --from-file password=-\n"
                "  lull secret set db --from-env-file db.env --unset password\n"
                "  lull secret list\n"
                "  lull env hello --env-from secret:db\n"
                "  lull secret delete db\n"};
static const struct option_table CONFIG = {
    .program = "lull config",
    .summary = "creates, changes, lists and deletes ConfigMaps",
    .arguments = "create NAME | set NAME | list | delete NAME…",
    .rows = CONFIG_ROWS,
    .count = ARRAY_LEN(CONFIG_ROWS),
    .examples = "  lull config create settings --from-literal LEVEL=debug --from-file motd.txt\n"
                "  lull config set settings --from-literal LEVEL=info --unset motd.txt\n"
                "  lull env hello --mount /etc/settings=config:settings\n"
                "  lull config delete settings\n"};

static const struct kind *kind_of(const struct keyed_options *o)
{
    return kind_row(o->secret ? KIND_SECRET : KIND_CONFIGMAP);
}

static int gather(struct keyed_options *o, struct error *err)
{
    int rc = 0;

    o->keyed = (struct keyed){.secret = o->secret, .data = json_object(), .binary = json_object()};
    for (int i = 0; rc == 0 && i < o->files.count; i++) {
        rc = keyed_file(&o->keyed, o->files.items[i], err);
    }
    for (int i = 0; rc == 0 && i < o->env_files.count; i++) {
        rc = keyed_env_file(&o->keyed, o->env_files.items[i], err);
    }
    for (int i = 0; rc == 0 && i < o->literals.count; i++) {
        rc = keyed_literal(&o->keyed, o->literals.items[i], err);
    }
    return rc;
}

// Name, keys and age: what may be shown of any of them.
static json_t *summary(const json_t *object)
{
    static const char *const PARTS[] = {"data", "binaryData"};
    json_t *keys = json_array(), *value;
    const char *key;

    for (size_t i = 0; i < ARRAY_LEN(PARTS); i++) {
        json_object_foreach(jpeek_obj(object, PARTS[i]), key, value)
        {
            (void)json_array_append_new(keys, json_string(key));
        }
    }
    return json_pack("{s:s, s:s, s:o, s:s}", "name", jpeek_cstr(object, "metadata.name"), "type",
                     jpeek_cstr(object, "type"), "keys", keys, "createdAt",
                     jpeek_cstr(object, "metadata.creationTimestamp"));
}

static void tell(const struct keyed_options *o, const json_t *object, const char *what)
{
    if (o->common.output == CLI_JSON) {
        json_t *answer = summary(object);
        cli_print_json(answer);
        json_decref(answer);
    } else {
        printf("%s %s %s\n", o->secret ? "secret" : "config", jpeek_cstr(object, "metadata.name"),
               what);
    }
}

static int create(struct cli *cli, struct keyed_options *o, const char *name, struct error *err)
{
    json_t *made = NULL;
    CLEANUP(jfree)
    json_t *body =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:O}", "apiVersion", "v1", "kind", kind_of(o)->kind,
                  "metadata", "name", name, "namespace", cli->ns, "data", o->keyed.data);
    if (!body) {
        return error_set(err, ERR_INVALID, "the name is not UTF-8");
    }
    if (o->secret) {
        json_object_set_new(body, "type", json_string(o->type));
    } else if (json_object_size(o->keyed.binary) > 0) {
        json_object_set(body, "binaryData", o->keyed.binary);
    }
    struct kube_call call = {.kind = KUBE_KIND(kind_of(o)), .ns = cli->ns, .body = body};
    int rc = cli_call(cli, kube_create, &call, &made, err);
    if (rc == 0) {
        tell(o, made, "created");
        json_decref(made);
    }
    return rc;
}

// Puts keys into one of the two maps, out of the other.
static void move_in(json_t *object, const char *into, const char *other, json_t *keys)
{
    const char *key;
    json_t *value;

    json_object_foreach(keys, key, value)
    {
        if (!json_is_object(json_object_get(object, into))) {
            json_object_set_new(object, into, json_object());
        }
        json_object_set(json_object_get(object, into), key, value);
        json_t *was = json_object_get(object, other);
        if (was) {
            (void)json_object_del(was, key);
        }
    }
}

static int change(void *arg, json_t *object, struct error *err)
{
    struct keyed_options *o = arg;

    for (int i = 0; i < o->unsets.count; i++) {
        const char *key = o->unsets.items[i];
        json_t *data = jpeek_obj(object, "data"), *binary = jpeek_obj(object, "binaryData");
        bool gone = data && json_object_del(data, key) == 0;
        gone = (binary && json_object_del(binary, key) == 0) || gone;
        if (!gone) {
            return error_set(err, ERR_NOT_FOUND, "--unset %.60s: there is no such key", key);
        }
    }
    move_in(object, "data", "binaryData", o->keyed.data);
    move_in(object, "binaryData", "data", o->keyed.binary);
    return 0;
}

static int set(struct cli *cli, struct keyed_options *o, const char *name, struct error *err)
{
    struct kube_call target = {.kind = KUBE_KIND(kind_of(o)), .ns = cli->ns, .name = name};
    json_t *now = NULL;

    if (json_object_size(o->keyed.data) + json_object_size(o->keyed.binary) +
            (size_t)o->unsets.count ==
        0) {
        return error_set(err, ERR_INVALID,
                         "nothing to set: --from-file, --from-env-file or --unset");
    }
    int rc = cli_change(cli, &target, change, o, &now, err);
    if (rc == 0) {
        tell(o, now, "changed");
        json_decref(now);
    }
    return rc;
}

static int list(struct cli *cli, struct keyed_options *o, struct error *err)
{
    CLEANUP(jfree) json_t *all = NULL;
    CLEANUP(jfree) json_t *rows = json_array();
    size_t i, k;
    json_t *object, *row, *key;

    int rc = cli_list(cli, kind_of(o)->id, NULL, &all, err);
    if (rc < 0) {
        return rc;
    }
    json_array_foreach(jpeek_arr(all, "items"), i, object)
    {
        (void)json_array_append_new(rows, summary(object));
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(rows);
        return 0;
    }
    printf("%-32s %s\n", "NAME", "KEYS");
    json_array_foreach(rows, i, row)
    {
        printf("%-32s ", jpeek_cstr(row, "name"));
        json_array_foreach(jpeek_arr(row, "keys"), k, key)
        {
            printf("%s%s", k ? "," : "", json_string_value(key));
        }
        puts("");
    }
    return 0;
}

static int delete (struct cli *cli, struct keyed_options *o, const char *name, struct error *err)
{
    struct kube_call call = {.kind = KUBE_KIND(kind_of(o)), .ns = cli->ns, .name = name};
    int rc = cli_call(cli, kube_delete, &call, NULL, err);

    if (rc == 0 && o->common.output == CLI_TEXT) {
        printf("%s %s deleted\n", o->secret ? "secret" : "config", name);
    }
    return rc;
}

static int act(struct cli *cli, struct keyed_options *o, char **words, int count, struct error *err)
{
    const char *verb = count > 0 ? words[0] : "";
    int rc = 0;

    if (strcmp(verb, "list") == 0 && count == 1) {
        return list(cli, o, err);
    }
    if (strcmp(verb, "delete") == 0 && count >= 2) {
        for (int i = 1; rc == 0 && i < count; i++) {
            rc = delete (cli, o, words[i], err);
        }
        return rc;
    }
    rc = gather(o, err);
    rc = rc                            ? rc
         : strcmp(verb, "create") == 0 ? create(cli, o, words[1], err)
                                       : set(cli, o, words[1], err);
    json_decref(o->keyed.data);
    json_decref(o->keyed.binary);
    return rc;
}

static bool usage_ok(char **words, int count)
{
    const char *verb = count > 0 ? words[0] : "";
    bool one = strcmp(verb, "create") == 0 || strcmp(verb, "set") == 0;

    return one                         ? count == 2
           : strcmp(verb, "list") == 0 ? count == 1
                                       : strcmp(verb, "delete") == 0 && count > 1;
}

static int run(struct cli *cli, struct keyed_options *o, const struct option_table *table, int argc,
               char **argv)
{
    struct error err;

    if (cli_repeated(&argc, argv, "from-file", 0, &o->files) ||
        cli_repeated(&argc, argv, "from-env-file", 0, &o->env_files) ||
        cli_repeated(&argc, argv, "from-literal", 0, &o->literals) ||
        cli_repeated(&argc, argv, "unset", 0, &o->unsets)) {
        return 2;
    }
    int count = cli_parse(table, argc, argv, o);
    if (!usage_ok(argv + 1, count)) {
        return cli_usage("usage: %s %s", table->program, table->arguments);
    }
    if (o->secret && o->literals.count > 0) {
        return cli_usage("a Secret's value on the command line could be seen by others: use "
                         "--from-file KEY=- and give it on standard input");
    }
    int rc = cli_connect(cli, &o->common, &err);
    rc = rc ? rc : act(cli, o, argv + 1, count, &err);
    options_fini(table, o);
    return rc < 0 ? cli_fail(&err) : 0;
}

int cmd_secret(struct cli *cli, int argc, char **argv)
{
    struct keyed_options o = {.secret = true};
    return run(cli, &o, &SECRET, argc, argv);
}

int cmd_config(struct cli *cli, int argc, char **argv)
{
    struct keyed_options o = {0};
    return run(cli, &o, &CONFIG, argc, argv);
}
