// SPDX-License-Identifier: Apache-2.0
/*
 * Events. Happy path: one create, its answer is dropped. Failure modes: dropped as well, a debug
 * line says why.
 */
#include "kube/event.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "json/jbuild.h"
#include "json/jparse.h"

enum {
    MESSAGE_MAX = 1024,
    EVENT_TIMEOUT_MS = 5000,
};

static void on_posted(void *arg, json_t *object, const struct error *err)
{
    (void)arg;
    (void)object;
    if (err != NULL) {
        LOG_DEBUG("event not written", LOG_ERR(err));
    }
}

static int event_build(const struct kube_event *event, const char *ns, json_t **out,
                       struct error *err)
{
    char suffix[17];
    char now[CLOCK_RFC3339_MAX];
    struct jbuild b;
    clock_format_rfc3339(clock_wall_ns(), 0, now, sizeof(now));
    jbuild_init(&b);
    jbuild_str(&b, "apiVersion", "v1");
    jbuild_str(&b, "kind", "Event");
    jbuild_strf(&b, "metadata.name", "%s.%s", event->name, random_hex(suffix, 16));
    jbuild_str(&b, "metadata.namespace", ns);
    jbuild_str(&b, "involvedObject.apiVersion", event->api_version);
    jbuild_str(&b, "involvedObject.kind", event->kind);
    if (event->ns[0] != '\0') {
        jbuild_str(&b, "involvedObject.namespace", event->ns);
    }
    jbuild_str(&b, "involvedObject.name", event->name);
    if (event->uid != NULL) {
        jbuild_str(&b, "involvedObject.uid", event->uid);
    }
    jbuild_str(&b, "type", event->warning ? "Warning" : "Normal");
    jbuild_str(&b, "reason", event->reason);
    jbuild_json(&b, "message", jstring_lossy(slice_sub(slice_str(event->message), 0, MESSAGE_MAX)));
    jbuild_str(&b, "source.component", event->component);
    jbuild_str(&b, "reportingComponent", event->component);
    jbuild_str(&b, "firstTimestamp", now);
    jbuild_str(&b, "lastTimestamp", now);
    jbuild_i64(&b, "count", 1);
    return jbuild_take(&b, out, err);
}

void kube_event_post(struct kube_client *client, const struct kube_event *event)
{
    struct error err = {0};
    CLEANUP(jfree) json_t *body = NULL;
    const char *ns = event->ns[0] == '\0' ? "default" : event->ns;
    int rc = event_build(event, ns, &body, &err);
    if (rc == 0) {
        struct kube_call call = {
            .kind = {"", "v1", "events"},
            .ns = ns,
            .body = body,
            .timeout_ms = EVENT_TIMEOUT_MS,
            .cb = on_posted,
        };
        rc = kube_create(client, &call, NULL, &err);
    }
    if (rc < 0) {
        LOG_DEBUG("event not written", LOG_ERR(&err));
    }
}
