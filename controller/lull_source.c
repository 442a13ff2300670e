// SPDX-License-Identifier: Apache-2.0
/*
 * WebhookSource, RedisSource, FileSource → the URLs that their events go to, and what their
 * conditions say. lull-broker runs them.
 * Happy path: sink and dead letter sink are resolved, lull-broker is there, Ready. Failure modes:
 * one of them is not there (yet); a FileSource on a cluster, whose nodes have no folder in common:
 * told in the conditions, and looked at again when that changes.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/traffic.h"
#include "controller/broker_part.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "eventing/names.h"

enum { URL_MAX = 4096 };

static struct condition sink_of(const struct reconcile_env *env, const json_t *source,
                                struct strbuf *sink, char message[static ERROR_MSG_MAX])
{
    if (destination_resolve(env, jpeek_obj(source, "spec.sink"), meta_ns(source), sink, message)) {
        return (struct condition){"SinkProvided", STATUS_TRUE, "", "", false};
    }
    strbuf_clear(sink);
    return (struct condition){"SinkProvided", STATUS_FALSE, "NotFound", message, false};
}

/* Whether lull-broker runs it. */
static struct condition deployed_of(const struct reconcile_env *env, enum kind_id kind,
                                    const struct broker_ingress *ingress)
{
    bool one_machine = env->settings->sidecar_image[0] == '\0';
    if (kind == KIND_FILESOURCE && !one_machine) {
        return (struct condition){
            "Deployed", STATUS_FALSE, "NotOnACluster",
            "A FileSource looks into a folder of the machine where Lull runs; "
            "on Kubernetes let a workload with the volume send the events "
            "(docs/writing-a-source.md).",
            false};
    }
    if (!ingress->ready) {
        bool starting = strcmp(ingress->reason, BROKER_IS_STARTING) == 0;
        return (struct condition){"Deployed", starting ? STATUS_UNKNOWN : STATUS_FALSE,
                                  ingress->reason, ingress->message, false};
    }
    return (struct condition){"Deployed", STATUS_TRUE, "", "", false};
}

static void add_url(const struct reconcile_env *env, const json_t *source, json_t *status)
{
    struct network_config network =
        network_of(&env->settings->network, json_object_get(source, "metadata"));
    CLEANUP(strbuf_fini) struct strbuf host;
    CLEANUP(strbuf_fini) struct strbuf url;
    strbuf_init(&host, URL_MAX);
    strbuf_init(&url, URL_MAX);
    traffic_host(&network, meta_ns(source), meta_name(source), "", &host);
    network_url(&network, host.ptr, &url);
    (void)strbuf_appendf(&url, HOOK_PATH "%s/%s", meta_ns(source), meta_name(source));
    json_object_set_new(status, "url", json_string(url.ptr));
}

void reconcile_lull_source(const struct reconcile_env *env, enum kind_id kind, const json_t *source,
                           struct plan *plan)
{
    struct broker_ingress ingress;
    char sink_message[ERROR_MSG_MAX], dead_message[ERROR_MSG_MAX];
    if (meta_deleting(source)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf sink;
    CLEANUP(strbuf_fini) struct strbuf dead;
    strbuf_init(&sink, DESTINATION_URL_MAX);
    strbuf_init(&dead, DESTINATION_URL_MAX);
    env->broker_ingress(env->arg, &ingress);
    if (ingress.unknown) {
        return; /* looked at again when it is known */
    }
    struct condition conditions[] = {
        sink_of(env, source, &sink, sink_message),
        deployed_of(env, kind, &ingress),
        dead_letter_of(env, source, &dead, dead_message),
    };
    struct condition ready = conditions_ready(conditions, ARRAY_LEN(conditions));
    if (strcmp(ready.status, STATUS_FALSE) == 0 && !condition_is(source, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    json_t *status = json_pack(
        "{s:I,s:o,s:s*,s:s*}", "observedGeneration",
        (json_int_t)jpeek_i64(source, "metadata.generation"), "conditions",
        conditions_build(conditions, ARRAY_LEN(conditions), source, env->now), "sinkUri",
        sink.len == 0 ? NULL : sink.ptr, "deadLetterSinkUri", dead.len == 0 ? NULL : dead.ptr);
    if (kind == KIND_WEBHOOKSOURCE) {
        add_url(env, source, status);
    }
    plan_status(plan, kind, source, status);
    if (!ingress.ready && ingress.again_ms > 0) {
        plan_again(plan, ingress.again_ms);
    }
}
