// SPDX-License-Identifier: Apache-2.0
//
// lull deploy NAME (--source DIR | -- COMMAND…): pack, create or update the Service, wait until it
// is Ready. A Service that exists keeps what the command line does not name.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/args.h"
#include "cli/bundle_pack.h"
#include "cli/cli.h"
#include "cli/service_edit.h"
#include "cli/source.h"

#define ENV_MAX 256

struct deploy {
    struct cli_common common;
    char *source, *env, *env_from, *mount, *window, *min_scale, *max_scale, *image;
    int64_t concurrency, timeout_s;
    bool no_wait;
    // worked out
    const char *name;
    char *built_image;
    const char *env_words[ENV_MAX + 1];
    struct cli_words env_from_words, mount_words;
    struct service_changes changes;
};

static const struct option_row ROWS[] = {
    CLI_COMMON_ROWS(struct deploy),
    OPTION(struct deploy, source, STRING, NULL, "source", NULL, .optional = true,
           .help = "folder of the function; lull.yaml, Procfile or its files say how to run it"),
    OPTION(struct deploy, image, STRING, NULL, "image", NULL, .optional = true,
           .help = "image to run instead of a folder (on a cluster, or a bundle made before)"),
    OPTION(struct deploy, env, STRING, NULL, "env", NULL, .optional = true,
           .help = "environment: NAME=VALUE sets, NAME- removes; may be given several times"),
    OPTION(struct deploy, env_from, STRING, NULL, "env-from", NULL, .optional = true,
           .help =
               "secret:NAME or config:NAME: every key as a variable; with - at the end no more"),
    OPTION(struct deploy, mount, STRING, NULL, "mount", NULL, .optional = true,
           .help = "/PATH=secret:NAME or /PATH=config:NAME: every key as a file; /PATH-: no more"),
    OPTION(struct deploy, concurrency, INT, NULL, "concurrency", "-1", .min = -1, .max = 1000,
           .help = "most requests at once in one replica; 0: no limit; -1: as it is"),
    OPTION(struct deploy, min_scale, STRING, NULL, "min-scale", NULL, .optional = true,
           .help = "least replicas"),
    OPTION(struct deploy, max_scale, STRING, NULL, "max-scale", NULL, .optional = true,
           .help = "most replicas; 0: no limit"),
    OPTION(struct deploy, window, STRING, NULL, "window", NULL, .optional = true,
           .help = "stable window of the autoscaler, for example 60s"),
    OPTION(struct deploy, timeout_s, INT, NULL, "wait-timeout", "120", .min = 1, .max = 3600,
           .help = "seconds to wait until it is ready"),
    OPTION(struct deploy, no_wait, BOOL, NULL, "no-wait", "false",
           .help = "do not wait until it is ready"),
};
static const struct option_table TABLE = {
    .program = "lull deploy",
    .summary = "deploys a function",
    .arguments = "NAME (--source DIR | --image IMAGE | -- COMMAND…)",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull deploy hello --source examples/hello-python\n"
                "  lull deploy hello --env TARGET=you --no-wait "
                "--source examples/hello-c\n"
                "  lull deploy web -- python3 -m http.server\n"};

static int build_run(const char *dir, const char *command, struct error *err)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        dup2(2, 1); // stdout is for the answer
        if (chdir(dir) == 0) {
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        }
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0) {
        return error_set(err, ERR_INVALID, "the build command of lull.yaml failed: %s", command);
    }
    return 0;
}

static int image_from_source(struct cli *cli, struct deploy *d, struct error *err)
{
    struct source source = {0};
    int rc = source_read(d->source, &source, err);
    bool text = d->common.output == CLI_TEXT;

    if (rc == 0 && source.build) {
        if (text) {
            fprintf(stderr, "  building: %s\n", source.build);
        }
        rc = build_run(d->source, source.build, err);
    }
    if (rc == 0 && text) {
        fprintf(stderr, "  packing %s (run as %s says)\n", d->source, source.how);
    }
    rc = rc ? rc
            : bundle_pack(cli->home, d->name, d->source, NULL, source.command, source.env,
                          &d->built_image, err);
    source_fini(&source);
    return rc;
}

// Root's functions run as users of their own, who may not get where root can.
static void reach_warn(const char *path, const char *what)
{
    CLEANUP(cleanup_free) char *part = xstrdup(path);
    struct stat st;

    if (geteuid() != 0) {
        return;
    }
    for (char *end = part + strlen(part); end; end = strrchr(part, '/')) {
        *end = '\0';
        bool closed = part[0] && stat(part, &st) == 0 && !(st.st_mode & S_IXOTH);
        if (closed) {
            fprintf(stderr,
                    "lull: warning: %s is %s, and the user that the function runs as cannot enter "
                    "or run %s: `chmod o+rx` it, or deploy with --source\n",
                    what, path, part);
            return;
        }
    }
}

// The program of a command without a folder: found now, so that a wrong name is told now.
static int image_from_command(struct cli *cli, struct deploy *d, char **words, struct error *err)
{
    char cwd[4096];
    json_t *command = json_array();
    CLEANUP(cleanup_free) char *program = NULL;

    if (!getcwd(cwd, sizeof cwd)) {
        json_decref(command);
        return error_from_errno(err, errno, "working directory");
    }
    if (strchr(words[0], '/')) {
        program = realpath(words[0], NULL);
        if (!program || access(program, X_OK) != 0) {
            json_decref(command);
            return error_set(err, ERR_NOT_FOUND, "%s cannot be executed", words[0]);
        }
    }
    reach_warn(cwd, "its working directory");
    if (program) {
        reach_warn(program, "its program");
    }
    for (size_t i = 0; words[i]; i++) {
        const char *word = i == 0 && program ? program : words[i];
        if (json_array_append_new(command, json_string(word)) != 0) {
            json_decref(command);
            return error_set(err, ERR_INVALID, "word %zu of the command is not UTF-8", i + 1);
        }
    }
    int rc = bundle_pack(cli->home, d->name, NULL, cwd, command, NULL, &d->built_image, err);
    json_decref(command);
    return rc;
}

// Read, edit, write; again when somebody else wrote in between.
static int service_update(struct cli *cli, struct deploy *d, struct error *err)
{
    int rc = ERR_CONFLICT;

    for (int attempt = 0; attempt < 8 && rc == ERR_CONFLICT; attempt++) {
        json_t *service = NULL;
        rc = cli_get(cli, KIND_SERVICE, d->name, &service, err);
        rc = rc ? rc : service_edit(service, &d->changes, err);
        if (rc == 0) {
            struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_SERVICE)),
                                     .ns = cli->ns,
                                     .name = d->name,
                                     .body = service};
            rc = kube_call_sync(cli->client, kube_update, &call, NULL, err);
        }
        json_decref(service);
    }
    return rc;
}

static int service_create(struct cli *cli, struct deploy *d, struct error *err)
{
    json_t *body = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", SERVING_API_VERSION, "kind",
                             "Service", "metadata", "name", d->name, "namespace", cli->ns);
    int rc = service_edit(body, &d->changes, err);
    if (rc == 0) {
        struct kube_call call = {
            .kind = KUBE_KIND(kind_row(KIND_SERVICE)), .ns = cli->ns, .body = body};
        rc = kube_call_sync(cli->client, kube_create, &call, NULL, err);
    }
    json_decref(body);
    return rc;
}

static int apply(struct cli *cli, struct deploy *d, bool *out_created, struct error *err)
{
    int rc = service_update(cli, d, err);

    *out_created = rc == ERR_NOT_FOUND;
    return *out_created ? service_create(cli, d, err) : rc;
}

static int finish(struct cli *cli, struct deploy *d, bool created, struct error *err)
{
    json_t *service = NULL;
    bool text = d->common.output == CLI_TEXT;
    int rc = d->no_wait
                 ? cli_get(cli, KIND_SERVICE, d->name, &service, err)
                 : cli_wait_ready(cli, d->name, (uint64_t)d->timeout_s * 1000, text, &service, err);

    if (rc < 0) {
        fprintf(stderr, "lull: %s\n", err->msg);
        if (!d->no_wait) {
            fprintf(stderr, "  `lull describe %s` and `lull logs %s` tell more\n", d->name,
                    d->name);
        }
        return 1;
    }
    if (text) {
        printf("%s %s%s\n", d->name, created ? "created" : "updated",
               d->no_wait ? "" : " and ready");
        printf("  %s\n", jpeek_cstr(service, "status.url"));
    } else {
        cli_print_json(service);
    }
    json_decref(service);
    return 0;
}

// Takes each --env out of the command line, so that it may be given several times.
static int env_take(struct deploy *d, int *argc, char **argv, struct error *err)
{
    size_t count = 0;
    int kept = 1, rc = 0, i = 1;

    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        char *value = strncmp(argv[i], "--env=", 6) == 0 ? argv[i] + 6 : NULL;
        if (!value && strcmp(argv[i], "--env") == 0 && i + 1 < *argc) {
            value = argv[++i];
        }
        if (!value) {
            argv[kept++] = argv[i];
        } else if (rc == 0) {
            rc = service_env_words(value, d->env_words, &count, ENV_MAX, err);
        }
    }
    while (i < *argc) {
        argv[kept++] = argv[i++];
    }
    argv[kept] = NULL;
    *argc = kept;
    d->changes.env = count > 0 ? d->env_words : NULL;
    return rc;
}

static void changes_set(struct deploy *d)
{
    d->changes.image = d->built_image;
    d->changes.bundle = d->image == NULL;
    d->changes.min_scale = d->min_scale;
    d->changes.max_scale = d->max_scale;
    d->changes.window = d->window;
    d->changes.concurrency = d->concurrency;
    d->changes.env_from = d->env_from_words.items;
    d->changes.mounts = d->mount_words.items;
}

int cmd_deploy(struct cli *cli, int argc, char **argv)
{
    struct deploy d = {0};
    struct error err;
    bool created = false;
    if (env_take(&d, &argc, argv, &err) < 0) {
        return cli_fail(&err);
    }
    if (cli_repeated(&argc, argv, "env-from", 0, &d.env_from_words) ||
        cli_repeated(&argc, argv, "mount", 0, &d.mount_words)) {
        return 2;
    }
    int words = cli_parse(&TABLE, argc, argv, &d);
    char **rest = words >= 1 && argv[words + 1] && strcmp(argv[words + 1], "--") == 0
                      ? argv + words + 2
                      : NULL;

    d.name = words >= 1 ? argv[1] : NULL;
    if (words != 1 || (d.source != NULL) + (d.image != NULL) + (rest && rest[0]) != 1) {
        return cli_usage("usage: lull deploy NAME (--source DIR | --image IMAGE | -- COMMAND…)");
    }
    if (!name_is_dns1035(d.name)) {
        return cli_failf(
            "\"%s\" cannot be a function's name: lower case letters, digits and '-', beginning "
            "with a letter, at most 63",
            d.name);
    }
    int rc = cli_connect(cli, &d.common, &err);
    if (rc == 0 && d.image) {
        d.built_image = xstrdup(d.image);
    } else if (rc == 0) {
        rc = d.source ? image_from_source(cli, &d, &err) : image_from_command(cli, &d, rest, &err);
    }
    changes_set(&d);
    rc = rc ? rc : apply(cli, &d, &created, &err);
    int status = rc < 0 ? cli_fail(&err) : finish(cli, &d, created, &err);
    free(d.built_image);
    options_fini(&TABLE, &d);
    return status;
}
