// SPDX-License-Identifier: Apache-2.0
//
// One look at lull-broker's numbers, a row per Trigger and per source. Where nothing takes events
// nobody is asked.
#include "cli/top_events.h"

#include <unistd.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/events_ask.h"
#include "cli/part_ask.h"
#include "cli/source_type.h"

static bool has_some(struct cli *cli, enum kind_id kind)
{
    CLEANUP(jfree) json_t *found = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(kind)), .limit = 1};
    return cli_call(cli, kube_list, &call, &found, NULL) == 0 &&
           json_array_size(jpeek_arr(found, "items")) > 0;
}

static bool nothing_there(struct cli *cli)
{
    CLEANUP(cleanup_free) char *socket = xasprintf("%s/run/broker.admin.sock", cli->home);
    const struct source_type *type;
    if (part_is_here(cli)) {
        return access(socket, F_OK) != 0;
    }
    bool some = has_some(cli, KIND_BROKER);
    for (size_t i = 0; !some && (type = source_type_at(i)); i++) {
        some = has_some(cli, type->kind);
    }
    return !some;
}

json_t *top_events(struct cli *cli, bool all, struct error *err)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    json_t *triggers = json_array();
    size_t i, k;
    json_t *broker, *trigger;
    *err = (struct error){0};
    if (nothing_there(cli) || events_numbers(cli, all, &numbers, err) < 0) {
        json_decref(triggers);
        return NULL;
    }
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        json_array_foreach(jpeek_arr(broker, "triggers"), k, trigger)
        {
            json_object_set(trigger, "broker", json_object_get(broker, "name"));
            json_array_append(triggers, trigger);
        }
    }
    return json_pack("{s:o, s:O*}", "triggers", triggers, "sources",
                     json_object_get(numbers, "sources"));
}

// of: the name of the column behind the names, and of its member.
static void print_table(const json_t *rows, const char *what, const char *of, const char *key,
                        bool all)
{
    size_t i;
    json_t *t;
    if (json_array_size(rows) == 0) {
        return;
    }
    printf("\n%s%-24s %-16s %9s %8s %9s %12s %9s %7s\n", all ? "NAMESPACE        " : "", what, of,
           "WAITING", "OLDEST", "RETRYING", "DELIVERED/s", "FAILED/s", "DEAD");
    json_array_foreach(rows, i, t)
    {
        char age[16];
        events_age(jpeek_cstr(t, "oldest"), age, sizeof age);
        if (all) {
            printf("%-16s ", jpeek_cstr(t, "namespace"));
        }
        printf("%-24s %-16s %9lld %8s %9lld %12.1f %9.1f %7lld\n", jpeek_cstr(t, "name"),
               jpeek_cstr(t, key), (long long)events_waiting(t), age,
               (long long)jpeek_i64(t, "retrying"), events_rate(t, "deliveredPerSecond"),
               events_rate(t, "failedPerSecond"), (long long)jpeek_i64(t, "dead"));
    }
}

void top_events_print(const json_t *events, bool all)
{
    print_table(jpeek_arr(events, "triggers"), "TRIGGER", "BROKER", "broker", all);
    print_table(jpeek_arr(events, "sources"), "SOURCE", "TYPE", "kind", all);
}
