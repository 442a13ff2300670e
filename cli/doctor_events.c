// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with events: Brokers, Triggers and sources that are not ready, lull-broker or its
// Redis that does not answer, Triggers and sources that fall behind, events that nobody took.
// Without a Broker or a source there is nothing to say. Failure modes: numbers cannot be asked:
// that is the finding.
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/doctor.h"
#include "cli/events_ask.h"
#include "cli/part_ask.h"
#include "cli/source_type.h"

#define BEHIND_S   60 // waiting for so long is worth a word
#define LOOK_MS    1500
#define NAMED_MOST 5
#define STATE_MAX  (64 << 20)

struct look {
    struct doctor *d;
    bool all;
    json_t *before, *now; // numbers; now NULL: nothing waits
    const char *absent;   // why nothing takes events here; "": it does, or we cannot know
};

// ---- objects

// describe: `lull DESCRIBE describe NAME` tells more.
static size_t check_ready(const struct look *l, enum kind_id kind, const char *describe)
{
    CLEANUP(jfree) json_t *all = NULL;
    const struct kind *row = kind_row(kind);
    struct kube_call call = {.kind = KUBE_KIND(row), .ns = l->all ? NULL : l->d->cli->ns};
    size_t i, not_ready = 0, ours = 0;
    json_t *object;
    if (cli_call(l->d->cli, kube_list, &call, &all, NULL) < 0) {
        return 0; // an installation without these kinds
    }
    json_array_foreach(jpeek_arr(all, "items"), i, object)
    {
        const json_t *ready = cli_condition(object, "Ready");
        const char *name = jpeek_cstr(object, "metadata.name");
        const char *ns = jpeek_cstr(object, "metadata.namespace");
        if (jpeek_obj(object, "status") == NULL) {
            continue; // of somebody else's Broker, or a moment old
        }
        ours++;
        const char *why = jpeek_cstr(ready, "message");
        if (strcmp(jpeek_cstr(ready, "status"), "True") == 0 || not_ready++ >= NAMED_MOST) {
            continue;
        }
        CLEANUP(cleanup_free)
        char *advice = xasprintf("lull %s describe %s -n %s", describe, name, ns);
        bool told = l->absent[0] && strcmp(why, l->absent) == 0; // of all of them, at the end
        doctor_warn(l->d, row->plural, advice, "%s/%s is not ready: %s %.400s", ns, name,
                    jpeek_cstr(ready, "reason"), told ? "(see events)" : why);
    }
    if (not_ready > NAMED_MOST) {
        CLEANUP(cleanup_free) char *advice = xasprintf("lull %s list", describe);
        doctor_warn(l->d, row->plural, advice, "%zu more are not ready", not_ready - NAMED_MOST);
    } else if (ours > 0 && not_ready == 0) {
        doctor_ok(l->d, row->plural, "%zu, all ready", ours);
    }
    return ours;
}

// ---- numbers

static int64_t waits_s(const json_t *trigger)
{
    int64_t at_ns = 0;
    return clock_parse_rfc3339(jpeek_str(trigger, "oldest"), &at_ns, NULL) < 0
               ? 0
               : (clock_wall_ns() - at_ns) / 1000000000;
}

static bool is_behind(const json_t *trigger)
{
    return jpeek_i64(trigger, "waiting") > 0 && waits_s(trigger) >= BEHIND_S;
}

static const json_t *again_of(const struct look *l, const json_t *entry)
{
    const char *ns = jpeek_cstr(entry, "namespace"), *name = jpeek_cstr(entry, "name");
    const char *kind = jpeek_cstr(entry, "kind");
    return !l->now   ? NULL
           : kind[0] ? events_numbers_source(l->now, ns, kind, name)
                     : events_numbers_trigger(l->now, ns, name);
}

// One trigger, or one source.
static void check_entry(const struct look *l, const json_t *t, size_t *wrong)
{
    const char *ns = jpeek_cstr(t, "namespace"), *name = jpeek_cstr(t, "name");
    const char *kind = jpeek_cstr(t, "kind");
    const char *what = kind[0] ? "source" : "trigger";
    const json_t *now = again_of(l, t);
    long long waiting = (long long)jpeek_i64(t, "waiting");
    long long dead = (long long)jpeek_i64(t, "dead");
    if (is_behind(t) && (*wrong)++ < NAMED_MOST) {
        CLEANUP(cleanup_free)
        char *advice =
            xasprintf("lull %s%s%s describe %s -n %s; see whether its %s can take them", what,
                      kind[0] ? " " : "", kind, name, ns, kind[0] ? "sink" : "subscriber");
        doctor_warn(l->d, "backlog", advice,
                    "%lld events wait for %s %s/%s%s, the oldest for %lld s%s%.200s", waiting, what,
                    ns, name, now && jpeek_i64(now, "waiting") > waiting ? ", more and more" : "",
                    (long long)waits_s(t), jpeek_cstr(t, "trouble")[0] ? ": " : "",
                    jpeek_cstr(t, "trouble"));
    }
    if (dead > 0 && (*wrong)++ < NAMED_MOST) {
        CLEANUP(cleanup_free)
        char *advice = xasprintf("lull dlq list %s%s%s -n %s", kind, kind[0] ? "/" : "", name, ns);
        doctor_warn(l->d, "dead letters", advice, "nobody took %lld %s of %s %s/%s", dead,
                    dead == 1 ? "event" : "events", what, ns, name);
    }
}

// All triggers and sources.
static json_t *entries_of(const json_t *numbers)
{
    json_t *all = json_array();
    size_t i;
    json_t *broker;
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        json_array_extend(all, jpeek_arr(broker, "triggers"));
    }
    json_array_extend(all, jpeek_arr(numbers, "sources"));
    return all;
}

static void check_numbers(struct look *l)
{
    CLEANUP(jfree) json_t *all = entries_of(l->before);
    size_t i, wrong = 0;
    json_t *entry;
    bool behind = false;
    json_array_foreach(all, i, entry)
    {
        behind = behind || is_behind(entry);
    }
    if (behind) {
        cli_pause(l->d->cli, LOOK_MS);
        (void)!events_numbers(l->d->cli, l->all, &l->now, &(struct error){0});
    }
    json_array_foreach(all, i, entry)
    {
        check_entry(l, entry, &wrong);
    }
    if (wrong > NAMED_MOST) {
        doctor_warn(l->d, "events", "lull top", "%zu more like these", wrong - NAMED_MOST);
    } else if (wrong == 0 && json_array_size(all) > 0) {
        doctor_ok(l->d, "events", "no Trigger or source is behind, no dead letters");
    }
}

// What lull-broker says is in a source's way, which conditions do not tell: a Redis that is away, a
// folder or a Secret that is not there.
static void check_sources(const struct look *l)
{
    CLEANUP(cleanup_free) char *text = NULL;
    CLEANUP(jfree) json_t *state = NULL;
    size_t i, wrong = 0;
    json_t *s;

    if (part_ask(l->d->cli, "broker", "/state", &text, NULL) < 0 ||
        jparse_object(slice_str(text), STATE_MAX, &state, NULL) < 0) {
        return;
    }
    json_array_foreach(jpeek_arr(state, "sources"), i, s)
    {
        const char *ns = jpeek_cstr(s, "namespace"), *name = jpeek_cstr(s, "name");
        const char *trouble = jpeek_cstr(s, "trouble");
        if (trouble[0] && (l->all || strcmp(ns, l->d->cli->ns) == 0) && wrong++ < NAMED_MOST) {
            CLEANUP(cleanup_free)
            char *advice = xasprintf("lull source describe %s -n %s", name, ns);
            doctor_warn(l->d, jpeek_cstr(s, "kind"), advice, "%s/%s: %.400s", ns, name, trouble);
        }
    }
}

void doctor_events(struct doctor *d, bool all_namespaces)
{
    const struct source_type *type;
    struct error err = {0}, absent = {0};
    bool here = part_is_here(d->cli), away = events_absent(d->cli, &absent) < 0;
    struct look l = {.d = d, .all = all_namespaces, .absent = away ? absent.msg : ""};
    size_t there = check_ready(&l, KIND_BROKER, "broker");
    (void)check_ready(&l, KIND_TRIGGER, "trigger");
    for (size_t i = 0; (type = source_type_at(i)); i++) {
        CLEANUP(cleanup_free) char *describe = xasprintf("source %s", type->word);
        size_t found = check_ready(&l, type->kind, describe);
        there += type->kind == KIND_SINKBINDING ? 0 : found; // which needs no lull-broker
    }
    if (there == 0) {
        return;
    }
    CLEANUP(cleanup_free)
    char *log = xasprintf("see %s/logs/broker.log and redis-server.log", d->cli->home);
    if (events_numbers(d->cli, all_namespaces, &l.before, &err) < 0) {
        doctor_fail(d, "events",
                    !here  ? "see the Pods of lull-broker and their logs"
                    : away ? "do what it says; it is tried again by itself"
                           : log,
                    "no event is taken: %s", away ? absent.msg : err.msg);
        return;
    }
    if (!jpeek_bool(l.before, "redis")) {
        doctor_fail(
            d, "events",
            away ? "do what it says; events are refused with 503, those that were taken wait"
                 : "start Redis again (lull up does so with its own): until then events are "
                   "refused with 503, those that were taken wait",
            "redis is not reachable: %s", away ? absent.msg : jpeek_cstr(l.before, "trouble"));
    } else {
        doctor_ok(d, "events", "lull-broker answers, and so does its Redis");
        check_numbers(&l);
        check_sources(&l);
    }
    json_decref(l.before);
    json_decref(l.now);
}
