// SPDX-License-Identifier: Apache-2.0
/*
 * PingSource → the URL that its events go to, and what its conditions say. lull-broker sends them.
 * Happy path: the sink is resolved, lull-broker is there, Ready. Failure modes: no sink (yet), no
 * lull-broker, a time zone that this system does not have: told in the conditions, and looked at
 * again when that changes.
 */
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/broker_part.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "eventing/cron.h"
#include "eventing/names.h"

enum { ZONE_AGAIN_MS = 60000 };

/* Whether its times can be known: zones of old objects may be gone after an upgrade. */
static bool has_zone(const json_t *source, char message[static ERROR_MSG_MAX])
{
    struct slice text = jpeek_str(source, "spec.schedule");
    struct slice named = jpeek_str(source, "spec.timezone");
    CLEANUP(cleanup_free) char *name = slice_dup(named.len > 0 ? named : cron_take_zone(&text));
    struct zone zone = {0};
    struct error err = {0};
    if (!zone_files_there() && strcmp(name, "UTC") != 0 && name[0] != '\0') {
        return true; /* nothing can be said here; lull-broker knows */
    }
    bool good = zone_load(name, &zone, &err) == 0;
    snprintf(message, ERROR_MSG_MAX, "%s", err.msg);
    zone_fini(&zone);
    return good;
}

/* Whether lull-broker can send its events. */
static struct condition deployed_of(const json_t *source, const struct broker_ingress *ingress,
                                    char message[static ERROR_MSG_MAX])
{
    struct condition of = {"Deployed", STATUS_TRUE, "", "", false};
    if (!has_zone(source, message)) {
        of = (struct condition){"Deployed", STATUS_FALSE, "TimeZoneUnknown", message, false};
    } else if (!ingress->ready) {
        bool starting = strcmp(ingress->reason, BROKER_IS_STARTING) == 0;
        of = (struct condition){"Deployed", starting ? STATUS_UNKNOWN : STATUS_FALSE,
                                ingress->reason, ingress->message, false};
    }
    return of;
}

static json_t *attributes_of(const json_t *source)
{
    CLEANUP(cleanup_free)
    char *name =
        xasprintf("/apis/v1/namespaces/%s/pingsources/%s", meta_ns(source), meta_name(source));
    return json_pack("[{s:s,s:s}]", "type", PING_EVENT_TYPE, "source", name);
}

void reconcile_ping_source(const struct reconcile_env *env, const json_t *source, struct plan *plan)
{
    struct broker_ingress ingress;
    char sink_message[ERROR_MSG_MAX], message[ERROR_MSG_MAX] = "";
    if (meta_deleting(source)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf sink;
    strbuf_init(&sink, DESTINATION_URL_MAX);
    env->broker_ingress(env->arg, &ingress);
    if (ingress.unknown) {
        return; /* looked at again when it is known */
    }
    bool resolved = destination_resolve(env, jpeek_obj(source, "spec.sink"), meta_ns(source), &sink,
                                        sink_message);
    if (!resolved) {
        strbuf_clear(&sink);
    }
    struct condition conditions[] = {
        {"SinkProvided", resolved ? STATUS_TRUE : STATUS_FALSE, resolved ? "" : "NotFound",
         resolved ? "" : sink_message, false},
        deployed_of(source, &ingress, message),
        {"OIDCIdentityCreated", STATUS_TRUE, "authentication-oidc feature disabled", "", false},
    };
    struct condition ready = conditions_ready(conditions, ARRAY_LEN(conditions));
    if (strcmp(ready.status, STATUS_FALSE) == 0 && !condition_is(source, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    plan_status(plan, KIND_PINGSOURCE, source,
                json_pack("{s:I,s:o,s:o,s:s*}", "observedGeneration",
                          (json_int_t)jpeek_i64(source, "metadata.generation"), "conditions",
                          conditions_build(conditions, ARRAY_LEN(conditions), source, env->now),
                          "ceAttributes", attributes_of(source), "sinkUri",
                          sink.len == 0 ? NULL : sink.ptr));
    if (!ingress.ready && ingress.again_ms > 0) {
        plan_again(plan, ingress.again_ms);
    } else if (strcmp(conditions[1].reason, "TimeZoneUnknown") == 0) {
        plan_again(plan, ZONE_AGAIN_MS);
    }
}
