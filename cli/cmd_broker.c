// SPDX-License-Identifier: Apache-2.0
//
// lull broker and lull trigger: create, list, describe, delete. What is created is waited for: the
// first Broker of a machine starts what keeps and delivers events.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cli.h"
#include "cli/events_ask.h"
#include "cli/filter_args.h"
#include "cli/sink.h"
#include "eventing/names.h"

struct events_options {
    struct cli_common common;
    struct cli_wait wait;
    char *broker, *sink, *dead_letter, *backoff_delay, *timeout;
    char *filter, *prefix, *suffix; /* rows for --help */
    char *cesql;
    int64_t retry;
    int backoff;
    struct filter_args filters;
    bool trigger; /* lull trigger */
};

#define DELIVERY_ROWS                                                                             \
    OPTION(struct events_options, retry, INT, NULL, "retry", "-1", .min = -1, .max = 10000,       \
           .help = "with create: how often a delivery is tried again; -1: not said"),             \
        OPTION(struct events_options, backoff, CHOICE, NULL, "backoff", "exponential",            \
               .choices = "exponential|linear", .help = "with create: how the delay grows"),      \
        OPTION(struct events_options, backoff_delay, STRING, NULL, "backoff-delay", NULL,         \
               .optional = true, .help = "with create: delay before a retry, as PT0.5S"),         \
        OPTION(struct events_options, timeout, STRING, NULL, "delivery-timeout", NULL,            \
               .optional = true, .help = "with create: longest wait for one delivery, as PT30S"), \
        OPTION(struct events_options, dead_letter, STRING, NULL, "dead-letter", NULL,             \
               .optional = true,                                                                  \
               .help = "with create: where events go that nobody took (as --sink of a trigger)")

static const struct option_row BROKER_ROWS[] = {
    DELIVERY_ROWS,
    CLI_WAIT_ROWS(struct events_options),
    CLI_COMMON_ROWS(struct events_options),
};
static const struct option_row TRIGGER_ROWS[] = {
    OPTION(struct events_options, broker, STRING, NULL, "broker", "default",
           .help = "with create: the Broker whose events it takes"),
    OPTION(struct events_options, sink, STRING, NULL, "sink", NULL, .optional = true,
           .help = "with create: who gets them: a function's NAME, svc:NAME, broker:NAME or a URL"),
    OPTION(struct events_options, filter, STRING, NULL, "filter", NULL, .optional = true,
           .help = "with create: ATTRIBUTE=VALUE that an event must have; may be given several "
                   "times"),
    OPTION(struct events_options, prefix, STRING, NULL, "prefix", NULL, .optional = true,
           .help = "with create: ATTRIBUTE=TEXT with which the value must begin; likewise"),
    OPTION(struct events_options, suffix, STRING, NULL, "suffix", NULL, .optional = true,
           .help = "with create: ATTRIBUTE=TEXT with which the value must end; likewise"),
    OPTION(struct events_options, cesql, STRING, NULL, "cesql", NULL, .optional = true,
           .help = "with create: expression in CloudEvents SQL that must be true"),
    DELIVERY_ROWS,
    CLI_WAIT_ROWS(struct events_options),
    CLI_COMMON_ROWS(struct events_options),
};
static const struct option_table BROKER = {
    .program = "lull broker",
    .summary = "creates, lists, shows and deletes Brokers: what takes events and keeps them",
    .arguments = "create NAME | list | describe NAME | url NAME | delete NAME…",
    .rows = BROKER_ROWS,
    .count = ARRAY_LEN(BROKER_ROWS),
    .examples =
        "  lull broker create default\n"
        "  lull broker create orders --retry 5 --backoff-delay PT1S --dead-letter broker:dead\n"
        "  lull broker describe default\n"};
static const struct option_table TRIGGER = {
    .program = "lull trigger",
    .summary = "creates, lists, shows and deletes Triggers: which events of a Broker go to whom",
    .arguments = "create NAME --sink FUNCTION|URL | list | describe NAME | delete NAME…",
    .rows = TRIGGER_ROWS,
    .count = ARRAY_LEN(TRIGGER_ROWS),
    .examples = "  lull trigger create paid --broker default --sink ship --filter type=order.paid\n"
                "  lull trigger create big --sink audit --cesql \"amount > 1000\"\n"
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

// What was said of delivery; NULL: nothing.
static int delivery_of(const struct events_options *o, json_t **out, struct error *err)
{
    json_t *delivery = json_object();

    if (o->retry >= 0) {
        json_object_set_new(delivery, "retry", json_integer(o->retry));
    }
    if (o->backoff_delay) {
        json_object_set_new(delivery, "backoffDelay", json_string(o->backoff_delay));
    }
    if (o->retry >= 0 || o->backoff_delay) {
        json_object_set_new(delivery, "backoffPolicy",
                            json_string(o->backoff == 0 ? BACKOFF_EXPONENTIAL : BACKOFF_LINEAR));
    }
    if (o->timeout) {
        json_object_set_new(delivery, "timeout", json_string(o->timeout));
    }
    int rc = add_sink(delivery, "deadLetterSink", o->dead_letter, err);
    if (rc < 0 || json_object_size(delivery) == 0) {
        json_decref(delivery);
        delivery = NULL;
    }
    *out = delivery;
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

static int spec_of(const struct events_options *o, json_t *spec, struct error *err)
{
    json_t *delivery = NULL;
    int rc = delivery_of(o, &delivery, err);

    if (delivery) {
        json_object_set_new(spec, "delivery", delivery);
    }
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

static void row_print(const struct events_options *o, const json_t *object)
{
    const json_t *ready = cli_condition(object, "Ready");
    const char *name = jpeek_cstr(object, "metadata.name");
    CLEANUP(strbuf_fini) struct strbuf sink, filter;

    strbuf_init(&sink, 65536);
    strbuf_init(&filter, 65536);
    if (o->trigger) {
        sink_print(jpeek_obj(object, "spec.subscriber"), &sink);
        filter_print(object, &filter);
        printf("%-24s %-16s %-32s %-24s ", name, jpeek_cstr(object, "spec.broker"), filter.ptr,
               sink.ptr);
    } else {
        printf("%-24s %-56s ", name, jpeek_cstr(object, "status.address.url"));
    }
    printf("%-8s %s\n", ready ? jpeek_cstr(ready, "status") : "Unknown",
           jpeek_cstr(ready, "reason"));
}

static int list(struct cli *cli, const struct events_options *o, struct error *err)
{
    CLEANUP(jfree) json_t *all = NULL;
    size_t i;
    json_t *object;

    int rc = cli_list(cli, kind_of(o)->id, NULL, &all, err);
    if (rc < 0) {
        return rc;
    }
    if (o->common.output == CLI_JSON) {
        cli_print_json(jpeek_arr(all, "items"));
        return 0;
    }
    if (o->trigger) {
        printf("%-24s %-16s %-32s %-24s %-8s %s\n", "NAME", "BROKER", "FILTER", "SINK", "READY",
               "REASON");
    } else {
        printf("%-24s %-56s %-8s %s\n", "NAME", "URL", "READY", "REASON");
    }
    json_array_foreach(jpeek_arr(all, "items"), i, object)
    {
        row_print(o, object);
    }
    return 0;
}

static void delivery_print(const json_t *object)
{
    CLEANUP(strbuf_fini) struct strbuf sink;
    const json_t *delivery = jpeek_obj(object, "spec.delivery");

    strbuf_init(&sink, 65536);
    sink_print(jpeek_obj(delivery, "deadLetterSink"), &sink);
    if (jget(delivery, "retry")) {
        printf("  Retries      %lld, %s, %s\n", (long long)jpeek_i64(delivery, "retry"),
               jpeek_cstr(delivery, "backoffPolicy"), jpeek_cstr(delivery, "backoffDelay"));
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
        sink_print(jpeek_obj(object, "spec.subscriber"), &sink);
        filter_print(object, &filter);
        printf("  Broker       %s\n  Filter       %s\n  Sink         %s\n",
               jpeek_cstr(object, "spec.broker"), filter.ptr, sink.ptr);
        printf("  URL          %s\n", jpeek_cstr(object, "status.subscriberUri"));
    } else {
        printf("  URL          %s\n", jpeek_cstr(object, "status.address.url"));
        printf("  Class        %s\n",
               jpeek_cstr(object, "metadata.annotations.`" ANNOTATION_BROKER_CLASS "`"));
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

static bool usage_ok(const struct events_options *o, char **words, int count)
{
    const char *verb = count > 0 ? words[0] : "";

    if (strcmp(verb, "create") == 0) {
        return count == 2 && (!o->trigger || o->sink);
    }
    if (strcmp(verb, "url") == 0) {
        return count == 2 && !o->trigger;
    }
    return strcmp(verb, "describe") == 0 ? count == 2
           : strcmp(verb, "list") == 0   ? count == 1
                                         : strcmp(verb, "delete") == 0 && count > 1;
}

static int act(struct cli *cli, const struct events_options *o, char **words, int count,
               struct error *err)
{
    int rc = 0;

    if (strcmp(words[0], "delete") != 0) {
        return strcmp(words[0], "create") == 0 ? create(cli, o, words[1], err)
               : strcmp(words[0], "list") == 0 ? list(cli, o, err)
               : strcmp(words[0], "url") == 0  ? url(cli, words[1], err)
                                               : describe(cli, o, words[1], err);
    }
    for (int i = 1; rc == 0 && i < count; i++) {
        rc = delete (cli, o, words[i], err);
    }
    return rc;
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
    if (!usage_ok(o, argv + 1, count)) {
        return cli_usage("usage: %s %s", table->program, table->arguments);
    }
    int rc = cli_connect(cli, &o->common, &err);
    rc = rc ? rc : act(cli, o, argv + 1, count, &err);
    options_fini(table, o);
    return rc < 0 ? cli_fail(&err) : 0;
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
