// SPDX-License-Identifier: Apache-2.0
//
// One look at lull-broker's numbers, a row per Trigger. Where nothing takes events nobody is asked.
#include "cli/top_events.h"

#include <unistd.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/events_ask.h"
#include "cli/part_ask.h"

static bool nothing_there(struct cli *cli)
{
    CLEANUP(jfree) json_t *brokers = NULL;
    CLEANUP(cleanup_free) char *socket = xasprintf("%s/run/broker.admin.sock", cli->home);
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_BROKER)), .limit = 1};
    if (part_is_here(cli)) {
        return access(socket, F_OK) != 0;
    }
    return cli_call(cli, kube_list, &call, &brokers, NULL) < 0 ||
           json_array_size(jpeek_arr(brokers, "items")) == 0;
}

json_t *top_events(struct cli *cli, bool all, struct error *err)
{
    CLEANUP(jfree) json_t *numbers = NULL;
    json_t *out = json_array();
    size_t i, k;
    json_t *broker, *trigger;
    *err = (struct error){0};
    if (nothing_there(cli) || events_numbers(cli, all, &numbers, err) < 0) {
        json_decref(out);
        return NULL;
    }
    json_array_foreach(jpeek_arr(numbers, "brokers"), i, broker)
    {
        json_array_foreach(jpeek_arr(broker, "triggers"), k, trigger)
        {
            json_object_set(trigger, "broker", json_object_get(broker, "name"));
            json_array_append(out, trigger);
        }
    }
    return out;
}

void top_events_print(const json_t *triggers, bool all)
{
    size_t i;
    json_t *t;
    if (json_array_size(triggers) == 0) {
        return;
    }
    printf("\n%s%-24s %-16s %9s %8s %9s %12s %9s %7s\n", all ? "NAMESPACE        " : "", "TRIGGER",
           "BROKER", "WAITING", "OLDEST", "RETRYING", "DELIVERED/s", "FAILED/s", "DEAD");
    json_array_foreach(triggers, i, t)
    {
        char age[16];
        events_age(jpeek_cstr(t, "oldest"), age, sizeof age);
        if (all) {
            printf("%-16s ", jpeek_cstr(t, "namespace"));
        }
        printf("%-24s %-16s %9lld %8s %9lld %12.1f %9.1f %7lld\n", jpeek_cstr(t, "name"),
               jpeek_cstr(t, "broker"), (long long)jpeek_i64(t, "waiting"), age,
               (long long)jpeek_i64(t, "retrying"),
               json_number_value(json_object_get(t, "deliveredPerSecond")),
               json_number_value(json_object_get(t, "failedPerSecond")),
               (long long)jpeek_i64(t, "dead"));
    }
}
