// SPDX-License-Identifier: Apache-2.0
//
// lull dlq: the events of a Trigger that nobody took: neither its subscriber after all tries, nor a
// dead letter sink. Happy path: lull-broker has them in Redis and answers a page at a time; "all"
// means those that were there at the first page. Failure modes: it does not answer, or the Broker
// has no room: what was done until then is told.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/events_ask.h"

struct dlq_options {
    struct cli_common common;
    char *broker;
    int64_t limit;
    bool all;
};
static const struct option_row ROWS[] = {
    OPTION(struct dlq_options, broker, STRING, NULL, "broker", NULL, .optional = true,
           .help = "with list: only of this Broker's Triggers"),
    OPTION(struct dlq_options, limit, INT, NULL, "limit", "100", .min = 1, .max = 100000,
           .help = "with list: at most so many of a Trigger, the oldest first"),
    OPTION(struct dlq_options, all, BOOL, NULL, "all", "false",
           .help = "with retry and drop: all that are there now"),
    CLI_COMMON_ROWS(struct dlq_options),
};
static const struct option_table TABLE = {
    .program = "lull dlq",
    .summary = "shows events that nobody took, tries them again, drops them",
    .arguments = "list [TRIGGER] | show TRIGGER ID | retry TRIGGER ID…|--all | drop TRIGGER "
                 "ID…|--all",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull dlq list\n"
                "  lull dlq show ship 1764000000000-0\n"
                "  lull dlq retry ship --all\n"
                "  lull dlq drop ship 1764000000000-0\n"};

// ---- list, show

static void row_print(const char *trigger, const json_t *item)
{
    char code[16] = "-";
    if (jpeek_i64(item, "code") != 0) {
        snprintf(code, sizeof code, "%lld", (long long)jpeek_i64(item, "code"));
    }
    printf("%-20s %-20s %-24s %-5s %-20s %-36s %s\n", trigger, jpeek_cstr(item, "id"),
           jpeek_cstr(item, "time"), code, jpeek_cstr(item, "event.type"),
           jpeek_cstr(item, "event.id"), jpeek_cstr(item, "reason"));
}

// The dead letters of one trigger, page by page, into items.
static int collect(struct cli *cli, const struct dlq_options *o, const char *trigger, json_t *items,
                   struct error *err)
{
    CLEANUP(cleanup_free) char *from = NULL;
    int64_t left = o->limit;
    bool more = true;
    while (more && left > 0) {
        CLEANUP(strbuf_fini) struct strbuf path;
        CLEANUP(jfree) json_t *page = NULL;
        char limit[24];
        size_t i;
        json_t *item;
        snprintf(limit, sizeof limit, "%lld", (long long)(left < 100 ? left : 100));
        events_path(cli, "dead", &path);
        events_path_add(&path, "trigger", trigger);
        events_path_add(&path, "limit", limit);
        events_path_add(&path, "from", from);
        int rc = events_call(cli, "GET", &path, &page, err);
        if (rc < 0) {
            return rc;
        }
        more = jpeek_bool(page, "more") && json_array_size(jpeek_arr(page, "items")) > 0;
        json_array_foreach(jpeek_arr(page, "items"), i, item)
        {
            free(from);
            from = xstrdup(jpeek_cstr(item, "id"));
            json_object_set_new(item, "trigger", json_string(trigger));
            json_array_append(items, item);
            left--;
        }
    }
    return 0;
}

static void print_items(const json_t *items)
{
    size_t i;
    json_t *item;
    if (json_array_size(items) == 0) {
        puts("no dead letters");
        return;
    }
    printf("%-20s %-20s %-24s %-5s %-20s %-36s %s\n", "TRIGGER", "ID", "WHEN", "CODE", "TYPE",
           "EVENT", "REASON");
    json_array_foreach(items, i, item)
    {
        row_print(jpeek_cstr(item, "trigger"), item);
    }
}

static int list(struct cli *cli, const struct dlq_options *o, const char *trigger,
                struct error *err)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    CLEANUP(jfree) json_t *items = json_array();
    size_t i, k;
    json_t *broker, *one;
    CLEANUP(jfree) json_t *named = NULL;
    int rc = o->broker != NULL ? cli_get(cli, KIND_BROKER, o->broker, &named, err) : 0;
    rc = rc                ? rc
         : trigger != NULL ? collect(cli, o, trigger, items, err)
                           : events_numbers(cli, false, &numbers, err);
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        bool wanted = o->broker == NULL || slice_eq_str(jpeek_str(broker, "name"), o->broker);
        json_array_foreach(jpeek_arr(broker, "triggers"), k, one)
        {
            if (rc == 0 && wanted && jpeek_i64(one, "dead") > 0) {
                rc = collect(cli, o, jpeek_cstr(one, "name"), items, err);
            }
        }
    }
    if (rc < 0) {
        return rc;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(items);
    } else {
        print_items(items);
    }
    return 0;
}

static int show(struct cli *cli, const struct dlq_options *o, const char *trigger, const char *id,
                struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;
    CLEANUP(jfree) json_t *page = NULL;
    events_path(cli, "dead", &path);
    events_path_add(&path, "trigger", trigger);
    events_path_add(&path, "id", id);
    int rc = events_call(cli, "GET", &path, &page, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *item = json_array_get(jpeek_arr(page, "items"), 0);
    if (o->common.output == CLI_JSON) {
        cli_print_json(item);
        return 0;
    }
    printf("Dead letter %s of trigger %s\n", jpeek_cstr(item, "id"), trigger);
    printf("  When         %s\n  Accepted     %s\n  Reason       %s\n", jpeek_cstr(item, "time"),
           jpeek_cstr(item, "accepted"), jpeek_cstr(item, "reason"));
    if (jpeek_i64(item, "code") != 0) {
        printf("  Code         %lld\n", (long long)jpeek_i64(item, "code"));
    }
    if (jpeek_cstr(item, "answer")[0] != '\0') {
        printf("  Answer       %s\n", jpeek_cstr(item, "answer"));
    }
    printf("Event\n");
    cli_print_json(jpeek_obj(item, "event"));
    return 0;
}

// ---- retry, drop

// Page by page until all that was there at the first is done; id NULL: all.
static int change(struct cli *cli, const char *verb, const char *trigger, const char *id,
                  int64_t *count, bool *full, struct error *err)
{
    CLEANUP(cleanup_free) char *page = xasprintf("dead/%s", verb);
    CLEANUP(cleanup_free) char *to = NULL;
    bool more = true;
    while (more && !*full) {
        CLEANUP(strbuf_fini) struct strbuf path;
        CLEANUP(jfree) json_t *answer = NULL;
        events_path(cli, page, &path);
        events_path_add(&path, "trigger", trigger);
        events_path_add(&path, "id", id);
        events_path_add(&path, "to", to);
        int rc = events_call(cli, "PUT", &path, &answer, err);
        if (rc < 0) {
            return rc;
        }
        free(to);
        to = xstrdup(jpeek_cstr(answer, "to"));
        *count += jpeek_i64(answer, "count");
        *full = jpeek_bool(answer, "full");
        more = jpeek_bool(answer, "more");
    }
    return 0;
}

static int change_all(struct cli *cli, const struct dlq_options *o, char **words, int n,
                      struct error *err)
{
    bool again = strcmp(words[0], "retry") == 0;
    bool full = false;
    int64_t count = 0;
    int rc = 0;
    if (o->all) {
        rc = change(cli, words[0], words[1], NULL, &count, &full, err);
    }
    for (int i = 2; rc == 0 && !full && i < n; i++) {
        rc = change(cli, words[0], words[1], words[i], &count, &full, err);
    }
    if (o->common.output == CLI_JSON) {
        CLEANUP(jfree)
        json_t *answer = json_pack("{s:s, s:I, s:b}", "trigger", words[1],
                                   again ? "retried" : "dropped", (json_int_t)count, "full", full);
        cli_print_json(answer);
    } else if (rc == 0 || count > 0) {
        printf("%lld %s of trigger %s %s\n", (long long)count,
               count == 1 ? "dead letter" : "dead letters", words[1],
               again ? "to be delivered again" : "dropped");
    }
    fflush(stdout);
    if (rc == 0 && full) {
        rc = error_set(err, ERR_OVERLOAD,
                       "the Broker or Redis is full: the others stay dead letters");
    }
    return rc;
}

// ----

static const struct cli_verb VERBS[] = {{"list", 0, 1, NULL},
                                        {"show", 2, 2, "TRIGGER ID"},
                                        {"retry", 1, -1, "TRIGGER"},
                                        {"drop", 1, -1, "TRIGGER"},
                                        {NULL, 0, 0, NULL}};

// Which dead letters: exactly one of both.
static int check_which(const struct dlq_options *o, char **words, int n)
{
    bool change = words[0][0] == 'r' || words[0][0] == 'd';

    return !change             ? 0
           : !o->all && n == 2 ? cli_verb_needs(&TABLE, words[0], "an ID, or --all,")
           : o->all && n > 2
               ? cli_usage("lull dlq %s: --all and %s: one of both", words[0], words[2])
               : 0;
}

int cmd_dlq(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {0};
    struct error err;
    int n = cli_parse(&TABLE, argc, argv, &o);
    char **words = argv + 1;
    if (!cli_verb_find(&TABLE, VERBS, words, n) || check_which(&o, words, n) != 0) {
        return 2;
    }
    int rc = cli_connect(cli, &o.common, &err);
    if (rc == 0) {
        rc = strcmp(words[0], "list") == 0   ? list(cli, &o, n > 1 ? words[1] : NULL, &err)
             : strcmp(words[0], "show") == 0 ? show(cli, &o, words[1], words[2], &err)
                                             : change_all(cli, &o, words, n, &err);
    }
    options_fini(&TABLE, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
