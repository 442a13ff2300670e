// SPDX-License-Identifier: Apache-2.0
//
// lull broker and lull trigger: create, update, list, describe, delete. What is created is waited
// for: the first Broker of a machine starts what keeps and delivers events.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/columns.h"
#include "cli/delivery_args.h"
#include "cli/events_ask.h"
#include "cli/filter_args.h"
#include "cli/sink.h"
#include "eventing/names.h"

struct events_options {
    struct cli_common common;
    struct cli_wait wait;
    struct delivery_args delivery;
    bool all_namespaces;
    char *broker, *sink;
    char *filter, *prefix, *suffix; /* rows for --help */
    char *cesql;
    struct filter_args filters;
    bool trigger; /* lull trigger */
};

#define EVENTS_ROWS                                                                          \
    DELIVERY_ROWS(struct events_options),                                                    \
        OPTION(struct events_options, all_namespaces, BOOL, NULL, "all-namespaces", "false", \
               .help = "with list: of every namespace; -A for short"),                       \
        CLI_WAIT_ROWS(struct events_options), CLI_COMMON_ROWS(struct events_options)

static const struct option_row BROKER_ROWS[] = {
    EVENTS_ROWS,
};
static const struct option_row TRIGGER_ROWS[] = {
    OPTION(struct events_options, broker, STRING, NULL, "broker", "default",
           .help = "with create: the Broker whose events it takes"),
    OPTION(struct events_options, sink, STRING, NULL, "sink", NULL, .optional = true,
           .help = "with create and update: who gets them: a function's NAME, svc:NAME, "
                   "broker:NAME, each with :NAMESPACE perhaps, or a URL; -s for short"),
    OPTION(struct events_options, filter, STRING, NULL, "filter", NULL, .optional = true,
           .help = "with create and update: ATTRIBUTE=VALUE that an event must have; may be given "
                   "several times; with update these filters replace what was there"),
    OPTION(struct events_options, prefix, STRING, NULL, "prefix", NULL, .optional = true,
           .help = "likewise: ATTRIBUTE=TEXT with which the value must begin"),
    OPTION(struct events_options, suffix, STRING, NULL, "suffix", NULL, .optional = true,
           .help = "likewise: ATTRIBUTE=TEXT with which the value must end"),
    OPTION(struct events_options, cesql, STRING, NULL, "cesql", NULL, .optional = true,
           .help = "likewise: expression in CloudEvents SQL that must be true"),
    EVENTS_ROWS,
};
static const struct option_table BROKER = {
    .program = "lull broker",
    .summary =
        "creates, changes, lists, shows and deletes Brokers: what takes events and keeps them",
    .arguments = "create NAME | update NAME | list | describe NAME | url NAME | delete NAME…",
    .rows = BROKER_ROWS,
    .count = ARRAY_LEN(BROKER_ROWS),
    .examples =
        "  lull broker create default\n"
        "  lull broker create orders --retry 5 --backoff-delay 1s --dead-letter broker:dead\n"
        "  lull broker describe default\n"};
static const struct option_table TRIGGER = {
    .program = "lull trigger",
    .summary =
        "creates, changes, lists, shows and deletes Triggers: which events of a Broker go to whom",
    .arguments = "create NAME --sink FUNCTION|URL | update NAME | list | describe NAME | delete "
                 "NAME…",
    .rows = TRIGGER_ROWS,
    .count = ARRAY_LEN(TRIGGER_ROWS),
    .examples = "  lull trigger create paid --broker default --sink ship --filter type=order.paid\n"
                "  lull trigger create big --sink audit --cesql \"amount > 1000\"\n"
                "  lull trigger update big --sink audit --cesql \"amount > 2000\"\n"
                "  lull trigger list\n"};

static const struct kind *kind_of(const struct events_options *o)
{
    return kind_row(o->trigger ? KIND_TRIGGER : KIND_BROKER);
}

// ---- create

static int add_sink(json_t *to, const char *key, const char *text, struct error *err)
{
    json_t *sink = NULL;
    int rc = text ? sink_parse(text, &sink, err) : 0;

    if (sink) {
        json_object_set_new(to, key, sink);
    }
    return rc;
}

// The older form where exact values are all that is asked for, as everybody's examples have it.
static int filters_of(const struct events_options *o, json_t *spec, struct error *err)
{
    json_t *filters = NULL;
    int rc = filter_args_json(&o->filters, &filters, err);
    json_t *exact = jget(json_array_get(filters, 0), "exact");

    if (rc == 0 && filters && (!exact || json_array_size(filters) > 1)) {
        json_object_set(spec, "filters", filters);
    } else if (rc == 0) {
        json_object_set_new(spec, "filter",
                            exact ? json_pack("{s:O}", "attributes", exact) : json_object());
    }
    json_decref(filters);
    return rc;
}

// What was said of delivery goes into what is there.
static int set_delivery(const struct events_options *o, json_t *spec, struct error *err)
{
    const json_t *was = jpeek_obj(spec, "delivery");
    CLEANUP(jfree) json_t *delivery = was ? json_deep_copy(was) : json_object();
    int rc = delivery_args_set(&o->delivery, delivery, err);

    if (rc == 0 && json_object_size(delivery) > 0) {
        json_object_set(spec, "delivery", delivery);
    }
    return rc;
}

static int spec_of(const struct events_options *o, json_t *spec, struct error *err)
{
    int rc = set_delivery(o, spec, err);

    if (rc == 0 && o->trigger) {
        json_object_set_new(spec, "broker", json_string(o->broker));
        rc = add_sink(spec, "subscriber", o->sink, err);
        rc = rc ? rc : filters_of(o, spec, err);
    }
    return rc;
}

static void tell(const struct events_options *o, const json_t *object, const char *what)
{
    if (o->common.output == CLI_JSON) {
        cli_print_json(object);
        return;
    }
    const char *url =
        jpeek_cstr(object, o->trigger ? "status.subscriberUri" : "status.address.url");
    printf("%s %s %s\n", kind_of(o)->singular, jpeek_cstr(object, "metadata.name"), what);
    if (url[0]) {
        printf("  %s %s\n", o->trigger ? "to" : "takes events at", url);
    }
}

static int create(struct cli *cli, const struct events_options *o, const char *name,
                  struct error *err)
{
    const struct kind *kind = kind_of(o);
    CLEANUP(jfree) json_t *made = NULL;
    CLEANUP(jfree) json_t *body = cli_new_object(cli, kind, name, err);
    const char *how;

    if (!body) {
        return ERR_INVALID;
    }
    int rc = spec_of(o, jpeek_obj(body, "spec"), err);
    rc = rc ? rc : cli_create(cli, kind, kind->singular, body, &o->wait, &made, &how, err);
    if (rc == 0) {
        tell(o, made, how);
    }
    return rc;
}

// ---- update

static bool has_filters(const struct filter_args *f)
{
    return f->exact.count + f->prefixes.count + f->suffixes.count > 0 || f->cesql;
}

static int change(void *arg, json_t *object, struct error *err)
{
    const struct events_options *o = arg;
    json_t *spec = jpeek_obj(object, "spec");
    CLEANUP(jfree) json_t *before = json_deep_copy(spec);
    int rc = set_delivery(o, spec, err);

    rc = rc || !o->trigger ? rc : add_sink(spec, "subscriber", o->sink, err);
    if (rc == 0 && o->trigger && has_filters(&o->filters)) {
        json_object_del(spec, "filter");
        json_object_del(spec, "filters");
        rc = filters_of(o, spec, err);
    }
    return rc ? rc : json_equal(before, spec) ? 1 : 0;
}

static int update(struct cli *cli, struct events_options *o, const char *name, struct error *err)
{
    const struct kind *kind = kind_of(o);
    struct kube_call target = {.kind = KUBE_KIND(kind), .ns = cli->ns, .name = name};
    CLEANUP(jfree) json_t *now = NULL;

    int rc = cli_change_object(cli, &target, change, o, &o->wait, &now, err);
    if (rc == 0) {
        tell(o, now, o->wait.none ? "changed" : "changed and ready");
    }
    return rc;
}

// ---- list, describe, delete

static void filter_print(const json_t *trigger, struct strbuf *out)
{
    json_t *filters = jpeek_arr(trigger, "spec.filters");
    const char *key;
    json_t *value;

    if (json_array_size(filters) > 0) {
        CLEANUP(cleanup_free) char *text = jdump_str(filters);
        (void)strbuf_append_str(out, text);
        return;
    }
    json_object_foreach(jpeek_obj(trigger, "spec.filter.attributes"), key, value)
    {
        const char *text = json_string_value(value);
        (void)strbuf_appendf(out, "%s%s=%s", out->len > 0 ? "," : "", key,
                             text && text[0] ? text : "*");
    }
    if (out->len == 0) {
        (void)strbuf_append_str(out, "(all)");
    }
}

static const char *class_of(const json_t *broker)
{
    return jpeek_cstr(broker, "metadata.annotations.`" ANNOTATION_BROKER_CLASS "`");
}

// Of a Broker that somebody else's controller is to look at.
static bool is_others(const struct events_options *o, const json_t *object)
{
    const char *class = class_of(object);
    return !o->trigger && class[0] && strcmp(class, BROKER_CLASS) != 0;
}

static void row_put(const struct events_options *o, const json_t *object, struct columns *rows)
{
    const json_t *ready = cli_condition(object, "Ready");
    const char *name = jpeek_cstr(object, "metadata.name");
    const char *status = ready ? jpeek_cstr(ready, "status") : "Unknown";
    const char *reason = jpeek_cstr(ready, "reason");
    CLEANUP(strbuf_fini) struct strbuf sink, filter;
    CLEANUP(cleanup_free) char *class = xasprintf("of class %s", class_of(object));

    strbuf_init(&sink, 65536);
    strbuf_init(&filter, 65536);
    if (o->trigger) {
        sink_print(object, jpeek_obj(object, "spec.subscriber"), &sink);
        filter_print(object, &filter);
        columns_row(rows, object,
                    (const char *const[]){name, jpeek_cstr(object, "spec.broker"), filter.ptr,
                                          sink.ptr, status, reason, NULL});
    } else {
        reason = !ready && is_others(o, object) ? class : reason;
        columns_row(rows, object,
                    (const char *const[]){name, jpeek_cstr(object, "status.address.url"), status,
                                          reason, NULL});
    }
}

static int list(struct cli *cli, const struct events_options *o, struct error *err)
{
    static const char *const OF_BROKER[] = {"NAME", "URL", "READY", "REASON", NULL};
    static const char *const OF_TRIGGER[] = {"NAME",  "BROKER", "FILTER", "SINK",
                                             "READY", "REASON", NULL};
    CLEANUP(jfree) json_t *all = NULL;
    struct columns rows;
    size_t i;
    json_t *object;

    int rc = cli_list_in(cli, kind_of(o)->id, o->all_namespaces, &all, err);
    if (rc < 0) {
        return rc;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(jpeek_arr(all, "items"));
        return 0;
    }
    columns_init(&rows, o->all_namespaces, o->trigger ? OF_TRIGGER : OF_BROKER);
    json_array_foreach(jpeek_arr(all, "items"), i, object)
    {
        row_put(o, object, &rows);
    }
    columns_print(&rows, kind_of(o)->plural, cli->ns);
    return 0;
}

static void delivery_print(const json_t *object)
{
    CLEANUP(strbuf_fini) struct strbuf sink;
    const json_t *delivery = jpeek_obj(object, "spec.delivery");

    strbuf_init(&sink, 65536);
    sink_print(object, jpeek_obj(delivery, "deadLetterSink"), &sink);
    if (jget(delivery, "retry")) {
        const char *policy = jpeek_cstr(delivery, "backoffPolicy");
        const char *delay = jpeek_cstr(delivery, "backoffDelay");
        printf("  Retries      %lld, %s, %s\n", (long long)jpeek_i64(delivery, "retry"),
               policy[0] ? policy : BACKOFF_EXPONENTIAL, delay[0] ? delay : "PT0.2S");
    }
    if (jget(delivery, "timeout")) {
        printf("  Timeout      %s\n", jpeek_cstr(delivery, "timeout"));
    }
    const char *uri = jpeek_cstr(object, "status.deadLetterSinkUri");
    if (uri[0]) {
        printf("  Dead letters %s (%s)\n", uri, sink.len > 0 ? sink.ptr : "of the broker");
    }
}

static void broker_numbers(const json_t *b)
{
    size_t i;
    json_t *t;
    const char *oldest = jpeek_cstr(b, "oldest");
    printf("  Events       %lld kept%s%s, %lld not matched yet; %lld accepted since lull-broker "
           "started (%.1f/s)\n",
           (long long)jpeek_i64(b, "events"), oldest[0] ? ", back to " : "", oldest,
           (long long)jpeek_i64(b, "undispatched"), (long long)jpeek_i64(b, "accepted"),
           events_rate(b, "acceptedPerSecond"));
    json_array_foreach(jpeek_arr(b, "triggers"), i, t)
    {
        printf("  Trigger      %s: %lld waiting, %lld to be tried again, %lld dead letters, "
               "%.1f/s\n",
               jpeek_cstr(t, "name"), (long long)jpeek_i64(t, "waiting"),
               (long long)jpeek_i64(t, "retrying"), (long long)jpeek_i64(t, "dead"),
               events_rate(t, "deliveredPerSecond"));
    }
}

// What lull-broker knows of it; nothing while it does not answer.
static void numbers_print(struct cli *cli, const struct events_options *o, const char *name)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    struct error ignored;

    if (events_numbers(cli, false, &numbers, &ignored) < 0) {
        return;
    }
    const json_t *it = o->trigger ? events_numbers_trigger(numbers, cli->ns, name)
                                  : events_numbers_broker(numbers, cli->ns, name);
    if (it && o->trigger) {
        events_numbers_print(it, true);
    } else if (it) {
        broker_numbers(it);
    }
}

static int describe(struct cli *cli, const struct events_options *o, const char *name,
                    struct error *err)
{
    CLEANUP(jfree) json_t *object = NULL;
    CLEANUP(strbuf_fini) struct strbuf sink, filter;

    int rc = cli_get(cli, kind_of(o)->id, name, &object, err);
    if (rc < 0) {
        return rc;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(object);
        return 0;
    }
    strbuf_init(&sink, 65536);
    strbuf_init(&filter, 65536);
    printf("%s %s in namespace %s\n", kind_of(o)->singular, name, cli->ns);
    if (o->trigger) {
        sink_print(object, jpeek_obj(object, "spec.subscriber"), &sink);
        filter_print(object, &filter);
        printf("  Broker       %s\n  Filter       %s\n  Sink         %s\n",
               jpeek_cstr(object, "spec.broker"), filter.ptr, sink.ptr);
        printf("  URL          %s\n", jpeek_cstr(object, "status.subscriberUri"));
    } else {
        printf("  URL          %s\n", jpeek_cstr(object, "status.address.url"));
        printf("  Class        %s%s\n", class_of(object),
               is_others(o, object) ? " (Lull leaves it to others; its own is " BROKER_CLASS ")"
                                    : "");
    }
    delivery_print(object);
    numbers_print(cli, o, name);
    cli_conditions_print(object);
    return 0;
}

// Nothing but the address, for scripts.
static int url(struct cli *cli, const char *name, struct error *err)
{
    CLEANUP(jfree) json_t *object = NULL;

    int rc = cli_get(cli, KIND_BROKER, name, &object, err);
    const char *text = jpeek_cstr(object, "status.address.url");
    if (rc == 0 && !text[0]) {
        return error_set(err, ERR_UNAVAILABLE,
                         "broker %s has no address yet: `lull broker describe %s` says why", name,
                         name);
    }
    if (rc == 0) {
        puts(text);
    }
    return rc;
}

static int delete (struct cli *cli, const struct events_options *o, const char *name,
                   struct error *err)
{
    struct kube_call call = {.kind = KUBE_KIND(kind_of(o)), .ns = cli->ns, .name = name};
    int rc = cli_call(cli, kube_delete, &call, NULL, err);

    if (rc == 0 && o->common.output == CLI_TEXT) {
        printf("%s %s deleted\n", kind_of(o)->singular, name);
    }
    return rc;
}

// ----

static const struct cli_verb VERBS[] = {{"create", 1, 1, "NAME"},   {"update", 1, 1, "NAME"},
                                        {"list", 0, 0, NULL},       {"url", 1, 1, "NAME"},
                                        {"describe", 1, 1, "NAME"}, {"delete", 1, -1, "NAME"},
                                        {NULL, 0, 0, NULL}};

// Each of them, whatever becomes of the others.
static int delete_all(struct cli *cli, const struct events_options *o, char **names, int count)
{
    int status = 0;

    for (int i = 0; i < count; i++) {
        struct error err;
        status = delete (cli, o, names[i], &err) < 0 ? cli_fail(&err) : status;
    }
    return status;
}

// A negative code with err, or the exit status.
static int act(struct cli *cli, struct events_options *o, char **words, int count,
               struct error *err)
{
    const char *verb = words[0];

    return strcmp(verb, "create") == 0   ? create(cli, o, words[1], err)
           : strcmp(verb, "update") == 0 ? update(cli, o, words[1], err)
           : strcmp(verb, "list") == 0   ? list(cli, o, err)
           : strcmp(verb, "url") == 0    ? url(cli, words[1], err)
           : strcmp(verb, "delete") == 0 ? delete_all(cli, o, words + 1, count - 1)
                                         : describe(cli, o, words[1], err);
}

static int run(struct cli *cli, struct events_options *o, const struct option_table *table,
               int argc, char **argv)
{
    struct error err;

    if (filter_args_take(&o->filters, &argc, argv) != 0) {
        return 2;
    }
    int count = cli_parse(table, argc, argv, o);
    o->filters.cesql = o->cesql;
    o->wait.progress = o->common.output == CLI_TEXT;
    const struct cli_verb *verb = cli_verb_find(table, VERBS, argv + 1, count);
    if (!verb) {
        return 2;
    }
    if (o->trigger && !o->sink && strcmp(verb->name, "create") == 0) {
        return cli_verb_needs(table, verb->name, "--sink");
    }
    if (o->trigger && strcmp(verb->name, "url") == 0) {
        return cli_usage("lull trigger: there is no \"url\": a Broker has one");
    }
    int rc = cli_connect(cli, &o->common, &err);
    rc = rc ? rc : act(cli, o, argv + 1, count, &err);
    options_fini(table, o);
    return rc < 0 ? cli_fail(&err) : rc;
}

int cmd_broker(struct cli *cli, int argc, char **argv)
{
    struct events_options o = {.trigger = false};
    return run(cli, &o, &BROKER, argc, argv);
}

int cmd_trigger(struct cli *cli, int argc, char **argv)
{
    struct events_options o = {.trigger = true};
    return run(cli, &o, &TRIGGER, argc, argv);
}
