// SPDX-License-Identifier: Apache-2.0
/*
 * Broker → its address, and what its conditions say. lull-broker does the work: it takes events for
 * every Broker as soon as it sees it.
 * Happy path: the ingress answers, the dead letter sink (if any) is resolved, Ready. Failure modes:
 * no ingress (yet), a sink that is not there: told in the conditions, and looked at again when that
 * changes. Brokers of another class are left alone.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/broker_part.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "eventing/admit.h"

void reconcile_broker(const struct reconcile_env *env, const json_t *broker, struct plan *plan)
{
    struct broker_ingress ingress;
    char message[ERROR_MSG_MAX];
    char address[BROKER_URL_MAX + 2 * OBJECT_BUF];
    if (meta_deleting(broker) || !broker_is_ours(broker)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf sink;
    strbuf_init(&sink, DESTINATION_URL_MAX);
    env->broker_ingress(env->arg, &ingress);
    if (ingress.unknown) {
        return; /* looked at again when it is known */
    }
    snprintf(address, sizeof(address), "%s/%s/%s", ingress.url, meta_ns(broker), meta_name(broker));
    bool known = ingress.url[0] != '\0';
    const char *waits = ingress.ready                                     ? STATUS_TRUE
                        : strcmp(ingress.reason, BROKER_IS_STARTING) == 0 ? STATUS_UNKNOWN
                                                                          : STATUS_FALSE;
    struct condition conditions[] = {
        {"IngressReady", waits, ingress.reason, ingress.message, false},
        {"TriggerChannelReady", STATUS_TRUE, "", "", false},
        {"FilterReady", waits, ingress.reason, ingress.message, false},
        {"Addressable", known ? STATUS_TRUE : waits, known ? "" : ingress.reason,
         known ? "" : ingress.message, false},
        dead_letter_of(env, broker, &sink, message),
        {"EventPoliciesReady", STATUS_TRUE, "DefaultAuthorizationMode", "", false},
    };
    struct condition ready = conditions_ready(conditions, ARRAY_LEN(conditions));
    if (strcmp(ready.status, STATUS_FALSE) == 0 && !condition_is(broker, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    json_t *status =
        json_pack("{s:I,s:o,s:s*}", "observedGeneration",
                  (json_int_t)jpeek_i64(broker, "metadata.generation"), "conditions",
                  conditions_build(conditions, ARRAY_LEN(conditions), broker, env->now),
                  "deadLetterSinkUri", sink.len == 0 ? NULL : sink.ptr);
    if (known) {
        json_object_set_new(status, "address",
                            json_pack("{s:s,s:s}", "name", "http", "url", address));
    }
    plan_status(plan, KIND_BROKER, broker, status);
    if (!ingress.ready && ingress.again_ms > 0) {
        plan_again(plan, ingress.again_ms);
    }
}
