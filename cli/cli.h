// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What every sub-command of `lull` shares: where the state is, the API client, how to say things.
 * One file per command (cmd_x.c) with one function `int cmd_x(struct cli *cli, int argc, char
 * **argv)` that returns the exit status: 0 done, 1 failed, 2 wrong usage.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "loop/loop.h"
#include "kube/client.h"
#include "serving/kinds.h"

#ifndef LULL_VERSION
#define LULL_VERSION "0.1.0"
#endif

enum { CLI_WARNINGS_MAX = 32 };

struct cli {
    struct loop loop;
    char *home;                     /* state directory */
    struct kube_client *client;     /* NULL until cli_connect */
    char *ns;                       /* namespace to use */
    char *config;                   /* the kubeconfig that was read; NULL until cli_connect */
    char *warned[CLI_WARNINGS_MAX]; /* the server's warnings that were printed; those beyond
                                     * may be printed again */
};

/* Options that most commands take; embed it first and name the rows by CLI_COMMON_ROWS. */
struct cli_common {
    char *kubeconfig;
    char *ns;
    int output; /* enum cli_output */
};
enum cli_output { CLI_TEXT, CLI_JSON };

#define CLI_OUTPUT_ROW(strct)                                                            \
    OPTION(strct, common.output, CHOICE, NULL, "output", "text", .choices = "text|json", \
           .help = "form of the answer; -o for short")
#define CLI_TARGET_ROWS(strct)                                                                   \
    OPTION(strct, common.kubeconfig, STRING, "KUBECONFIG", "kubeconfig", NULL, .optional = true, \
           .help = "cluster to talk to (else the Lull of this machine)"),                        \
        OPTION(strct, common.ns, STRING, NULL, "namespace", NULL, .optional = true,              \
               .help = "namespace (else the kubeconfig's, else default); -n for short")
#define CLI_COMMON_ROWS(strct) CLI_TARGET_ROWS(strct), CLI_OUTPUT_ROW(strct)

/*
 * Parses; argv[0] is the command's name. Options may stand after the arguments; `-o`, `-n`, `-f`,
 * `-l`, `-w`, `-R`, `-A`, `-s` and `-d` are short for --output, --namespace, --filename or
 * --follow,
 * --selector, --watch, --recursive, --all-namespaces, --sink and --data; what follows `--` is left
 * alone.
 * Returns the number of positional arguments that it gathered at argv[1] … (before a `--`), or
 * exits on --help and errors.
 */
int cli_parse(const struct option_table *table, int argc, char **argv, void *dest);

/* A client for the kubeconfig; says what to do when nothing answers. */
MUST_CHECK int cli_connect(struct cli *cli, const struct cli_common *common, struct error *err);

/* "lull: SENTENCE" on stderr; returns 1. */
int cli_fail(const struct error *err);
int cli_failf(const char *fmt, ...) PRINTF_LIKE(1, 2);
int cli_usage(const char *fmt, ...) PRINTF_LIKE(1, 2); /* returns 2 */

/* One call to the API; the error says so when nothing answers. cb and arg of call are not used. */
MUST_CHECK int cli_call(struct cli *cli, kube_verb_fn verb, const struct kube_call *call,
                        json_t **out, struct error *err);
/* The objects of a kind by label selector (NULL: all) in the namespace; a new reference. */
MUST_CHECK int cli_list(struct cli *cli, enum kind_id kind, const char *labels, json_t **out,
                        struct error *err);
/* All of a kind, of the namespace or of every one. */
MUST_CHECK int cli_list_in(struct cli *cli, enum kind_id kind, bool all_namespaces, json_t **out,
                           struct error *err);
MUST_CHECK int cli_get(struct cli *cli, enum kind_id kind, const char *name, json_t **out,
                       struct error *err);
/* Prints a JSON value on stdout, indented. */
void cli_print_json(const json_t *value);

/* The condition of this type, or NULL. */
const json_t *cli_condition(const json_t *object, const char *type);
/* "Conditions" and a line for each on stdout. */
void cli_conditions_print(const json_t *object);
/* 1 ready, 0 not yet, -1 failed for good (Ready is False for the generation that was asked for). */
int cli_ready(const json_t *service);
/*
 * Waits until the Service is Ready at its newest generation, telling each change of its condition
 * on stderr when `progress`. ERR_TIMEOUT, or ERR_INVALID with the reason why it cannot become
 * ready.
 */
MUST_CHECK int cli_wait_ready(struct cli *cli, const char *name, uint64_t timeout_ms, bool progress,
                              json_t **out, struct error *err);

/* The same for any object that has conditions. */
MUST_CHECK int cli_wait_object(struct cli *cli, struct kube_kind kind, const char *ns,
                               const char *name, uint64_t timeout_ms, bool progress, json_t **out,
                               struct error *err);

/*
 * Reads, lets change edit (1: nothing to do), and writes; again when somebody else wrote in
 * between, at most 8 times. target: kind, ns, name. *out: the object as it is then.
 */
MUST_CHECK int cli_change(struct cli *cli, const struct kube_call *target, kube_change_cb change,
                          void *arg, json_t **out, struct error *err);
/* Options of commands that change a Service; name the rows by CLI_WAIT_ROWS. */
struct cli_wait {
    int64_t timeout_s;
    bool none;
    bool progress; /* tell on stderr what it waits for */
};
#define CLI_WAIT_ROWS(strct)                                                               \
    OPTION(strct, wait.timeout_s, INT, NULL, "wait-timeout", "120", .min = 1, .max = 3600, \
           .help = "seconds to wait until it is ready"),                                   \
        OPTION(strct, wait.none, BOOL, NULL, "no-wait", "false",                           \
               .help = "do not wait until it is ready")
/* cli_change, then cli_wait_object unless wait->none. */
MUST_CHECK int cli_change_object(struct cli *cli, const struct kube_call *target,
                                 kube_change_cb change, void *arg, const struct cli_wait *wait,
                                 json_t **out, struct error *err);
/* cli_change on the Service of this name, then cli_wait_ready unless wait->none. */
MUST_CHECK int cli_change_service(struct cli *cli, const char *name, kube_change_cb change,
                                  void *arg, const struct cli_wait *wait, json_t **out,
                                  struct error *err);
/* An object with a name in the namespace and an empty spec; NULL: the name is not UTF-8. */
json_t *cli_new_object(const struct cli *cli, const struct kind *kind, const char *name,
                       struct error *err);
/*
 * Creates body, an object of this kind, and waits until it is Ready unless wait->none. word: what
 * it is called. *out: the object as it is then; *how: "created" or "created and ready".
 */
MUST_CHECK int cli_create(struct cli *cli, const struct kind *kind, const char *word, json_t *body,
                          const struct cli_wait *wait, json_t **out, const char **how,
                          struct error *err);
/* Prints a value as YAML on stdout. */
void cli_print_yaml(const json_t *value);

/* One GET on a part's admin socket below the state directory; a new string. */
MUST_CHECK int cli_admin_get(struct cli *cli, const char *part, const char *path, char **out,
                             struct error *err);
/* The same with another method. */
MUST_CHECK int cli_admin_call(struct cli *cli, const char *method, const char *part,
                              const char *path, char **out, struct error *err);

/* The error of an answer that is not 200: what it says, with who says it where that is not the
 * caller's fault. */
int cli_refused(const char *part, int status, struct slice body, struct error *err);

/* Runs the loop until *done or the deadline. False: the deadline. */
bool cli_run_until(struct cli *cli, const bool *done, uint64_t timeout_ms);
/* Lets the loop turn for a while. */
void cli_pause(struct cli *cli, uint64_t ms);

int cmd_up(struct cli *cli, int argc, char **argv);
int cmd_down(struct cli *cli, int argc, char **argv);
int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_deploy(struct cli *cli, int argc, char **argv);
int cmd_list(struct cli *cli, int argc, char **argv);
int cmd_describe(struct cli *cli, int argc, char **argv);
int cmd_invoke(struct cli *cli, int argc, char **argv);
int cmd_result(struct cli *cli, int argc, char **argv);
int cmd_url(struct cli *cli, int argc, char **argv);
int cmd_logs(struct cli *cli, int argc, char **argv);
int cmd_delete(struct cli *cli, int argc, char **argv);
int cmd_simulate(struct cli *cli, int argc, char **argv);
int cmd_why(struct cli *cli, int argc, char **argv);
int cmd_backup(struct cli *cli, int argc, char **argv);
int cmd_restore(struct cli *cli, int argc, char **argv);
int cmd_version(struct cli *cli, int argc, char **argv);
int cmd_apply(struct cli *cli, int argc, char **argv);
int cmd_diff(struct cli *cli, int argc, char **argv);
int cmd_get(struct cli *cli, int argc, char **argv);
int cmd_traffic(struct cli *cli, int argc, char **argv);
int cmd_rollback(struct cli *cli, int argc, char **argv);
int cmd_revisions(struct cli *cli, int argc, char **argv);
int cmd_scale(struct cli *cli, int argc, char **argv);
int cmd_env(struct cli *cli, int argc, char **argv);
int cmd_secret(struct cli *cli, int argc, char **argv);
int cmd_config(struct cli *cli, int argc, char **argv);
int cmd_broker(struct cli *cli, int argc, char **argv);
int cmd_trigger(struct cli *cli, int argc, char **argv);
int cmd_source(struct cli *cli, int argc, char **argv);
int cmd_event(struct cli *cli, int argc, char **argv);
int cmd_dlq(struct cli *cli, int argc, char **argv);
int cmd_install(struct cli *cli, int argc, char **argv);
int cmd_top(struct cli *cli, int argc, char **argv);
int cmd_doctor(struct cli *cli, int argc, char **argv);
int cmd_uninstall(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);
