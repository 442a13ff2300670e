// SPDX-License-Identifier: Apache-2.0
//
// lull dlq: the events of a Trigger or a source that nobody took: neither its sink after all tries,
// nor a dead letter sink. Happy path: lull-broker has them in Redis and answers a page at a time;
// "all" means those that were there at the first page. Failure modes: it does not answer, or the
// Broker has no room: what was done until then is told.
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
    char *broker, *trigger, *source;
    int64_t limit;
    bool all;
};
static const struct option_row ROWS[] = {
    OPTION(struct dlq_options, trigger, STRING, NULL, "trigger", NULL, .optional = true,
           .help = "those of this Trigger; instead of the word OF"),
    OPTION(struct dlq_options, source, STRING, NULL, "source", NULL, .optional = true,
           .help = "those of this source, as redis/orders; orders alone where there is one of that "
                   "name; instead of the word OF"),
    OPTION(struct dlq_options, broker, STRING, NULL, "broker", NULL, .optional = true,
           .help = "with list: only of this Broker's Triggers"),
    OPTION(struct dlq_options, limit, INT, NULL, "limit", "100", .min = 1, .max = 100000,
           .help = "with list: at most so many of a Trigger or source, the oldest first"),
    OPTION(struct dlq_options, all, BOOL, NULL, "all", "false",
           .help = "with retry and drop: all that are there now"),
    CLI_COMMON_ROWS(struct dlq_options),
};
static const struct option_table TABLE = {
    .program = "lull dlq",
    .summary = "shows events that nobody took, tries them again, drops them",
    .arguments = "list [OF] | show OF ID | retry OF ID…|--all | drop OF ID…|--all; OF: a TRIGGER, "
                 "or a source as TYPE/NAME",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples = "  lull dlq list\n"
                "  lull dlq show ship 1764000000000-0\n"
                "  lull dlq retry ship --all\n"
                "  lull dlq drop ship 1764000000000-0\n"
                "  lull dlq retry redis/orders --all\n"
                "  lull dlq list --source nightly\n"};

// Whose dead letters are meant: of the trigger T, or of the source TYPE/NAME.
struct whose {
    const char *kind; // "trigger" or "source"; also the parameter that lull-broker takes
    char *name;       // owned
};

static void whose_fini(struct whose *of)
{
    free(of->name);
}

// ---- list, show

static const char *stuck(const json_t *item)
{
    return jget(item, "retryable") ? " (cannot be tried again)" : "";
}

static void row_print(const json_t *item)
{
    char code[16] = "-";
    const char *source = jpeek_cstr(item, "source");
    if (jpeek_i64(item, "code") != 0) {
        snprintf(code, sizeof code, "%lld", (long long)jpeek_i64(item, "code"));
    }
    printf("%-20s %-20s %-24s %-5s %-20s %-36s %s%s\n",
           source[0] ? source : jpeek_cstr(item, "trigger"), jpeek_cstr(item, "id"),
           jpeek_cstr(item, "time"), code, jpeek_cstr(item, "event.type"),
           jpeek_cstr(item, "event.id"), jpeek_cstr(item, "reason"), stuck(item));
}

// The dead letters of one, page by page, into items.
static int collect(struct cli *cli, const struct dlq_options *o, const struct whose *of,
                   json_t *items, struct error *err)
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
        events_path_add(&path, of->kind, of->name);
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
            json_object_set_new(item, of->kind, json_string(of->name));
            json_array_append(items, item);
            left--;
        }
    }
    return 0;
}

static int collect_of(struct cli *cli, const struct dlq_options *o, const char *kind,
                      const char *name, const json_t *entry, json_t *items, struct error *err)
{
    CLEANUP(whose_fini) struct whose of = {kind, xstrdup(name)};
    return jpeek_i64(entry, "dead") > 0 ? collect(cli, o, &of, items, err) : 0;
}

// Of all Triggers (of one Broker) and all sources.
static int collect_all(struct cli *cli, const struct dlq_options *o, json_t *items,
                       struct error *err)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    size_t i, k;
    json_t *broker, *one;
    int rc = events_numbers(cli, false, &numbers, err);
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        bool wanted = o->broker == NULL || slice_eq_str(jpeek_str(broker, "name"), o->broker);
        json_array_foreach(jpeek_arr(broker, "triggers"), k, one)
        {
            if (rc == 0 && wanted) {
                rc = collect_of(cli, o, "trigger", jpeek_cstr(one, "name"), one, items, err);
            }
        }
    }
    json_array_foreach(jpeek_arr(numbers, "sources"), i, one)
    {
        CLEANUP(cleanup_free) char *name = events_source_name(one);
        if (rc == 0 && o->broker == NULL) {
            rc = collect_of(cli, o, "source", name, one, items, err);
        }
    }
    return rc;
}

static void print_items(const json_t *items)
{
    size_t i;
    json_t *item;
    if (json_array_size(items) == 0) {
        puts("no dead letters");
        return;
    }
    printf("%-20s %-20s %-24s %-5s %-20s %-36s %s\n", "OF", "ID", "WHEN", "CODE", "TYPE", "EVENT",
           "REASON");
    json_array_foreach(items, i, item)
    {
        row_print(item);
    }
}

// of->name NULL: of all.
static int list(struct cli *cli, const struct dlq_options *o, const struct whose *of,
                struct error *err)
{
    CLEANUP(jfree) json_t *items = json_array();
    CLEANUP(jfree) json_t *named = NULL;
    int rc = o->broker != NULL ? cli_get(cli, KIND_BROKER, o->broker, &named, err) : 0;
    rc = rc                 ? rc
         : of->name != NULL ? collect(cli, o, of, items, err)
                            : collect_all(cli, o, items, err);
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

static void print_letter(const struct whose *of, const json_t *item)
{
    printf("Dead letter %s of %s %s\n", jpeek_cstr(item, "id"), of->kind, of->name);
    printf("  When         %s\n", jpeek_cstr(item, "time"));
    if (jpeek_cstr(item, "accepted")[0] != '\0') {
        printf("  Accepted     %s\n", jpeek_cstr(item, "accepted"));
    }
    printf("  Reason       %s\n", jpeek_cstr(item, "reason"));
    if (jpeek_i64(item, "code") != 0) {
        printf("  Code         %lld\n", (long long)jpeek_i64(item, "code"));
    }
    if (jpeek_cstr(item, "answer")[0] != '\0') {
        printf("  Answer       %s\n", jpeek_cstr(item, "answer"));
    }
    if (stuck(item)[0] != '\0') {
        puts("  Try again    no: it could not be made an event, and its data was not kept");
    }
    printf("Event\n");
    cli_print_json(jpeek_obj(item, "event"));
}

static int show(struct cli *cli, const struct dlq_options *o, const struct whose *of,
                const char *id, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf path;
    CLEANUP(jfree) json_t *page = NULL;
    events_path(cli, "dead", &path);
    events_path_add(&path, of->kind, of->name);
    events_path_add(&path, "id", id);
    int rc = events_call(cli, "GET", &path, &page, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *item = json_array_get(jpeek_arr(page, "items"), 0);
    if (o->common.output == CLI_JSON) {
        cli_print_json(item);
    } else {
        print_letter(of, item);
    }
    return 0;
}

// ---- retry, drop

struct changed {
    int64_t count;
    int64_t stuck; // of all that were meant: cannot be tried again
    bool full;
};

// Page by page until all that was there at the first is done; id NULL: all.
static int change(struct cli *cli, const char *verb, const struct whose *of, const char *id,
                  struct changed *done, struct error *err)
{
    CLEANUP(cleanup_free) char *page = xasprintf("dead/%s", verb);
    CLEANUP(cleanup_free) char *to = NULL;
    bool more = true;
    while (more && !done->full) {
        CLEANUP(strbuf_fini) struct strbuf path;
        CLEANUP(jfree) json_t *answer = NULL;
        events_path(cli, page, &path);
        events_path_add(&path, of->kind, of->name);
        events_path_add(&path, "id", id);
        events_path_add(&path, "to", to);
        int rc = events_call(cli, "PUT", &path, &answer, err);
        if (rc < 0) {
            return rc;
        }
        free(to);
        to = xstrdup(jpeek_cstr(answer, "to"));
        done->count += jpeek_i64(answer, "count");
        done->stuck = jpeek_i64(answer, "notRetryable"); // each page begins with the oldest
        done->full = jpeek_bool(answer, "full");
        more = jpeek_bool(answer, "more");
    }
    return 0;
}

static void tell_changed(const struct dlq_options *o, const struct whose *of, bool again,
                         const struct changed *done)
{
    if (o->common.output == CLI_JSON) {
        CLEANUP(jfree)
        json_t *answer =
            json_pack("{s:s, s:I, s:b}", of->kind, of->name, again ? "retried" : "dropped",
                      (json_int_t)done->count, "full", done->full);
        if (again) {
            json_object_set_new(answer, "notRetryable", json_integer((json_int_t)done->stuck));
        }
        cli_print_json(answer);
        return;
    }
    printf("%lld %s of %s %s %s\n", (long long)done->count,
           done->count == 1 ? "dead letter" : "dead letters", of->kind, of->name,
           again ? "to be delivered again" : "dropped");
    if (done->stuck > 0) {
        printf("%lld cannot be tried again and %s: see lull dlq show for the reason, then drop\n",
               (long long)done->stuck, done->stuck == 1 ? "stays" : "stay");
    }
}

// ids: those that are meant; none: all.
static int change_all(struct cli *cli, const struct dlq_options *o, const char *verb,
                      const struct whose *of, char **ids, int n, struct error *err)
{
    struct changed done = {0};
    int rc = n == 0 ? change(cli, verb, of, NULL, &done, err) : 0;
    for (int i = 0; rc == 0 && !done.full && i < n; i++) {
        rc = change(cli, verb, of, ids[i], &done, err);
    }
    if (o->common.output == CLI_JSON || rc == 0 || done.count > 0) {
        tell_changed(o, of, strcmp(verb, "retry") == 0, &done);
    }
    fflush(stdout);
    if (rc == 0 && done.full) {
        rc = error_set(err, ERR_OVERLOAD,
                       "the Broker or Redis is full: the others stay dead letters");
    }
    return rc;
}

// ---- whose they are

// The type of the only source of that name.
static int find_source(struct cli *cli, const char *name, struct whose *of, struct error *err)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    size_t i;
    json_t *one;
    int rc = events_numbers(cli, false, &numbers, err);
    json_array_foreach(jpeek_arr(numbers, "sources"), i, one)
    {
        if (rc < 0 || !slice_eq_str(jpeek_str(one, "name"), name)) {
            continue;
        }
        char *found = events_source_name(one);
        if (of->name != NULL) {
            rc = error_set(err, ERR_INVALID, "there are several sources %s: say %s or %s", name,
                           of->name, found);
            free(found);
        } else {
            of->name = found;
        }
    }
    if (rc == 0 && of->name == NULL) {
        rc = error_set(err, ERR_NOT_FOUND, "there is no source %s in namespace %s", name, cli->ns);
    }
    return rc;
}

// word: what stands behind the verb; NULL: an option says it, or of all.
static int find_whose(struct cli *cli, const struct dlq_options *o, const char *word,
                      struct whose *of, struct error *err)
{
    const char *source = o->source ? o->source : word && strchr(word, '/') ? word : NULL;
    const char *trigger = source ? NULL : o->trigger ? o->trigger : word;
    of->kind = source ? "source" : "trigger";
    if (source && strchr(source, '/') == NULL) {
        return find_source(cli, source, of, err);
    }
    const char *name = source ? source : trigger;
    of->name = name ? xstrdup(name) : NULL;
    return 0;
}

// ----

static const struct cli_verb VERBS[] = {{"list", 0, 1, NULL},
                                        {"show", 2, 2, "TRIGGER ID"},
                                        {"retry", 1, -1, "TRIGGER"},
                                        {"drop", 1, -1, "TRIGGER"},
                                        {NULL, 0, 0, NULL}};
// Where --trigger or --source says whose.
static const struct cli_verb VERBS_NAMED[] = {{"list", 0, 0, NULL},
                                              {"show", 1, 1, "ID"},
                                              {"retry", 0, -1, NULL},
                                              {"drop", 0, -1, NULL},
                                              {NULL, 0, 0, NULL}};

// Which dead letters: exactly one of both.
static int check_which(const struct dlq_options *o, char **words, int n)
{
    bool change = words[0][0] == 'r' || words[0][0] == 'd';
    int ids = o->trigger || o->source ? 1 : 2; // where they begin

    return o->trigger && o->source ? cli_usage("lull dlq: --trigger and --source: one of both")
           : !change               ? 0
           : !o->all && n == ids   ? cli_verb_needs(&TABLE, words[0], "an ID, or --all,")
           : o->all && n > ids
               ? cli_usage("lull dlq %s: --all and %s: one of both", words[0], words[ids])
               : 0;
}

static int act(struct cli *cli, const struct dlq_options *o, char **words, int n, struct error *err)
{
    CLEANUP(whose_fini) struct whose of = {0};
    int ids = o->trigger || o->source ? 1 : 2; // where they begin
    int rc = find_whose(cli, o, ids == 2 && n > 1 ? words[1] : NULL, &of, err);
    if (rc < 0) {
        return rc;
    }
    return strcmp(words[0], "list") == 0 ? list(cli, o, &of, err)
           : strcmp(words[0], "show") == 0
               ? show(cli, o, &of, words[ids], err)
               : change_all(cli, o, words[0], &of, words + ids, n - ids, err);
}

int cmd_dlq(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {0};
    struct error err;
    int n = cli_parse(&TABLE, argc, argv, &o);
    char **words = argv + 1;
    const struct cli_verb *verbs = o.trigger || o.source ? VERBS_NAMED : VERBS;
    if (!cli_verb_find(&TABLE, verbs, words, n) || check_which(&o, words, n) != 0) {
        return 2;
    }
    int rc = cli_connect(cli, &o.common, &err);
    rc = rc ? rc : act(cli, &o, words, n, &err);
    options_fini(&TABLE, &o);
    return rc < 0 ? cli_fail(&err) : 0;
}
