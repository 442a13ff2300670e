// SPDX-License-Identifier: Apache-2.0
/*
 * Trigger → the URLs that lull-broker delivers to, and what its conditions say.
 * Happy path: its Broker is ready, subscriber and dead letter sink are resolved, Ready. Failure
 * modes: one of them is not there (yet): told in the conditions, and looked at again when it
 * changes. A subscriber that was there and went keeps its URL: events for it fail, are tried again
 * and end with the dead; without a URL they would match nothing and be lost. Triggers of a Broker
 * of another class are left alone.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "eventing/admit.h"
#include "eventing/names.h"

enum { ANNOTATION_MAX = 64 << 10 };

/* What the conditions are made of; texts that they borrow. */
struct look {
    struct strbuf subscriber;
    struct strbuf sink;
    char broker_message[ERROR_MSG_MAX];
    char subscriber_message[ERROR_MSG_MAX];
    char sink_message[ERROR_MSG_MAX];
    char dependency_message[ERROR_MSG_MAX];
    json_t *dependency; /* the object; its texts are borrowed */
};

/* type says of the trigger what Ready says of the other object. */
static struct condition follow(const char *type, const json_t *object, const char *reason,
                               const char *message)
{
    struct condition of = condition_get(object, "Ready");
    if (of.status[0] == '\0') {
        return (struct condition){type, STATUS_UNKNOWN, reason, message, false};
    }
    bool fine = strcmp(of.status, STATUS_TRUE) == 0;
    return (struct condition){type, of.status, fine ? "" : of.reason, fine ? "" : of.message,
                              false};
}

static struct condition broker_of(const json_t *trigger, const json_t *broker, struct look *look)
{
    if (broker == NULL || meta_deleting(broker)) {
        snprintf(look->broker_message, sizeof(look->broker_message),
                 "Broker \"%.253s\" does not exist", jpeek_cstr(trigger, "spec.broker"));
        return (struct condition){"BrokerReady", STATUS_FALSE, "BrokerDoesNotExist",
                                  look->broker_message, false};
    }
    return follow("BrokerReady", broker, "BrokerNotConfigured",
                  "Broker has not yet been reconciled.");
}

static struct condition subscriber_of(const struct reconcile_env *env, const json_t *trigger,
                                      struct look *look)
{
    if (destination_resolve(env, jpeek_obj(trigger, "spec.subscriber"), meta_ns(trigger),
                            &look->subscriber, look->subscriber_message)) {
        return (struct condition){"SubscriberResolved", STATUS_TRUE, "", "", false};
    }
    strbuf_clear(&look->subscriber);
    if (jpeek_i64(trigger, "metadata.generation") ==
        jpeek_i64(trigger, "status.observedGeneration")) {
        (void)strbuf_append_slice(&look->subscriber, jpeek_str(trigger, "status.subscriberUri"));
    }
    return (struct condition){"SubscriberResolved", STATUS_FALSE,
                              "Unable to get the Subscriber's URI", look->subscriber_message,
                              false};
}

/* The trigger's own sink, else the broker's. */
static struct condition sink_of(const struct reconcile_env *env, const json_t *trigger,
                                const json_t *broker, struct look *look)
{
    bool own = jpeek_obj(trigger, "spec.delivery.deadLetterSink") != NULL;
    bool inherited = !own && jpeek_obj(broker, "spec.delivery.deadLetterSink") != NULL;
    if (!inherited) {
        return dead_letter_of(env, trigger, &look->sink, look->sink_message);
    }
    struct slice url = jpeek_str(broker, "status.deadLetterSinkUri");
    (void)strbuf_append_slice(&look->sink, url);
    if (url.len > 0) {
        return (struct condition){"DeadLetterSinkResolved", STATUS_TRUE, "", "", false};
    }
    snprintf(look->sink_message, sizeof(look->sink_message),
             "Broker %.253s didn't set status.deadLetterSinkURI", meta_name(broker));
    return (struct condition){"DeadLetterSinkResolved", STATUS_FALSE, look->sink_message, "",
                              false};
}

/* The annotation names an object that must be Ready first: a source, usually. */
static struct condition dependency_of(const struct reconcile_env *env, const json_t *trigger,
                                      struct look *look)
{
    const char *text = meta_annotation(trigger, ANNOTATION_DEPENDENCY);
    CLEANUP(jfree) json_t *ref = NULL;
    if (text[0] == '\0') {
        return (struct condition){"DependencyReady", STATUS_TRUE, "", "", false};
    }
    (void)!jparse_object(slice_str(text), ANNOTATION_MAX, &ref, NULL);
    const struct kind *kind =
        kind_by_object(jpeek_cstr(ref, "apiVersion"), jpeek_cstr(ref, "kind"));
    look->dependency =
        kind == NULL || kind->id == KIND_POD
            ? NULL
            : env->get(env->arg, kind->id, meta_ns(trigger), jpeek_cstr(ref, "name"));
    if (look->dependency == NULL) {
        snprintf(look->dependency_message, sizeof(look->dependency_message),
                 "Dependency does not exist: %.60s %.253s", jpeek_cstr(ref, "kind"),
                 jpeek_cstr(ref, "name"));
        return (struct condition){"DependencyReady", STATUS_FALSE, "DependencyDoesNotExist",
                                  look->dependency_message, false};
    }
    return follow("DependencyReady", look->dependency, "DependencyNotConfigured",
                  "Dependency has not yet been reconciled.");
}

static void look_fini(struct look *look)
{
    strbuf_fini(&look->subscriber);
    strbuf_fini(&look->sink);
    json_decref(look->dependency);
}

void reconcile_trigger(const struct reconcile_env *env, const json_t *trigger, struct plan *plan)
{
    CLEANUP(look_fini) struct look look = {.dependency = NULL};
    CLEANUP(jfree)
    json_t *broker =
        env->get(env->arg, KIND_BROKER, meta_ns(trigger), jpeek_cstr(trigger, "spec.broker"));
    if (meta_deleting(trigger) || (broker != NULL && !broker_is_ours(broker))) {
        return;
    }
    strbuf_init(&look.subscriber, DESTINATION_URL_MAX);
    strbuf_init(&look.sink, DESTINATION_URL_MAX);
    struct condition subscriber = subscriber_of(env, trigger, &look);
    bool resolved = strcmp(subscriber.status, STATUS_TRUE) == 0;
    struct condition conditions[] = {
        broker_of(trigger, broker, &look),
        subscriber,
        sink_of(env, trigger, broker, &look),
        dependency_of(env, trigger, &look),
        {"SubscriptionReady", resolved ? STATUS_TRUE : STATUS_UNKNOWN,
         resolved ? "" : "SubscriptionNotConfigured",
         resolved ? "" : "Subscription has not yet been reconciled.", false},
        {"OIDCIdentityCreated", STATUS_TRUE, "authentication-oidc feature disabled", "", false},
    };
    struct condition ready = conditions_ready(conditions, ARRAY_LEN(conditions));
    /* Without lull-broker that is so of all of them; their Brokers have said it. */
    if (strcmp(ready.status, STATUS_FALSE) == 0 &&
        strcmp(ready.reason, BROKER_NOT_AVAILABLE) != 0 &&
        !condition_is(trigger, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    plan_status(plan, KIND_TRIGGER, trigger,
                json_pack("{s:I,s:o,s:s*,s:s*}", "observedGeneration",
                          (json_int_t)jpeek_i64(trigger, "metadata.generation"), "conditions",
                          conditions_build(conditions, ARRAY_LEN(conditions), trigger, env->now),
                          "subscriberUri", look.subscriber.len == 0 ? NULL : look.subscriber.ptr,
                          "deadLetterSinkUri", look.sink.len == 0 ? NULL : look.sink.ptr));
}
