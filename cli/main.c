// SPDX-License-Identifier: Apache-2.0
//
// lull COMMAND …: finds the command in the table and runs it.
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/guard.h"
#include "cli/home.h"
#include "cli/term.h"

static const struct command {
    const char *name;
    int (*run)(struct cli *cli, int argc, char **argv);
    const char *help;
} COMMANDS[] = {
    {"up", cmd_up, "start Lull on this machine"},
    {"down", cmd_down, "stop it, with everything it started"},
    {"status", cmd_status, "what runs on this machine"},
    {"deploy", cmd_deploy, "deploy a function from a folder or a command"},
    {"apply", cmd_apply, "create or change objects from manifests"},
    {"diff", cmd_diff, "show what apply would change"},
    {"get", cmd_get, "show objects of any kind"},
    {"list", cmd_list, "functions, their URLs and replicas"},
    {"describe", cmd_describe, "one function in detail"},
    {"invoke", cmd_invoke, "call a function"},
    {"result", cmd_result, "fetch the result of an asynchronous call"},
    {"url", cmd_url, "print a function's URL"},
    {"logs", cmd_logs, "print what a function's replicas wrote"},
    {"traffic", cmd_traffic, "share requests out between revisions, give them tags"},
    {"rollback", cmd_rollback, "give all requests to an older revision"},
    {"revisions", cmd_revisions, "a function's revisions"},
    {"scale", cmd_scale, "bounds and targets of a function's replicas"},
    {"env", cmd_env, "a function's variables, Secrets and ConfigMaps"},
    {"secret", cmd_secret, "create, change, list and delete Secrets"},
    {"config", cmd_config, "create, change, list and delete ConfigMaps"},
    {"broker", cmd_broker, "what takes events: create, list, describe and delete Brokers"},
    {"trigger", cmd_trigger, "which events go to whom: the same of Triggers"},
    {"source", cmd_source, "what sends events by itself: schedules and others"},
    {"event", cmd_event, "send events to a Broker"},
    {"dlq", cmd_dlq, "events that nobody took: show, try again, drop"},
    {"delete", cmd_delete, "delete functions or other objects"},
    {"why", cmd_why, "why a function has the replicas it has"},
    {"simulate", cmd_simulate, "compare settings on recorded or made-up traffic"},
    {"top", cmd_top, "replicas, requests and memory of every function"},
    {"doctor", cmd_doctor, "look for what is wrong with the installation"},
    {"install", cmd_install, "put Lull onto a Kubernetes cluster"},
    {"uninstall", cmd_uninstall, "take it from there again; functions stay"},
    {"completion", cmd_completion, "print a script that completes words in bash"},
    {"backup", cmd_backup, "write all objects and bundles to one file"},
    {"restore", cmd_restore, "replace the state by that of a backup"},
    {"version", cmd_version, "print the version"},
};

#if defined(__SANITIZE_ADDRESS__)
// A command's process ends with its work; what it holds then is no leak.
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static void help(FILE *out)
{
    fprintf(out,
            "lull runs HTTP functions that scale to zero and back.\n\nUsage: lull COMMAND …\n\n");
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
        fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].help);
    }
    fprintf(
        out,
        "\n`lull COMMAND --help` tells a command's options.\n"
        "Exit status: 0 done, 1 failed, 2 wrong usage (diff: 0 equal, 1 different, 2 failed).\n");
}

static int run(const struct command *command, int argc, char **argv)
{
    struct cli cli = {0};
    struct error err;

    if (home_find(&cli.home, &err) < 0 || loop_init(&cli.loop, &err) < 0) {
        return cli_fail(&err);
    }
    // The process ends here: what is left open needs no closing.
    return command->run(&cli, argc, argv);
}

int main(int argc, char **argv)
{
    log_init("lull");
    term_guard();
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(argv[1], GUARD_FLAG) == 0) {
        return guard_run(argv + 2);
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
        if (strcmp(name, COMMANDS[i].name) == 0) {
            return run(&COMMANDS[i], argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "lull: there is no command \"%s\"; `lull help` lists them\n", argv[1]);
    return 2;
}
