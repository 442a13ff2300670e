// SPDX-License-Identifier: Apache-2.0
//
// Builders of Pod and Deployment status. A condition keeps its lastTransitionTime as long as its
// status does not change, as Kubernetes does.
#include "local/agent/pod_json.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "json/jparse.h"

int replica_state_parse(const char *line, size_t len, struct replica_state *out, struct error *err)
{
    struct replica_state s = {.up = true};
    json_t *root = NULL;
    int rc = jparse_object(slice_of(line, len), 4096, &root, err);

    if (rc < 0) {
        return rc;
    }
    struct slice phase = jpeek_str(root, "phase");
    s.ended = slice_eq_str(phase, "ended");
    s.backoff = slice_eq_str(phase, "backoff");
    s.ready = jpeek_bool(root, "ready");
    s.pid = (int)jpeek_i64(root, "pid");
    s.running = slice_eq_str(phase, "running") || (s.pid > 0 && !s.backoff && !s.ended);
    s.proxy_pid = (int)jpeek_i64(root, "proxyPid");
    s.restarts = jpeek_i64(root, "restarts");
    s.started_ns = jpeek_i64(root, "startedAt");
    s.ready_ns = jpeek_i64(root, "readyAt");
    s.code = (int)jpeek_i64(root, "code");
    s.signal = (int)jpeek_i64(root, "signal");
    s.oom = jpeek_bool(root, "oom");
    (void)slice_copy(slice_sub(jpeek_str(root, "message"), 0, sizeof s.message - 1), s.message,
                     sizeof s.message);
    json_decref(root);
    *out = s;
    return 0;
}

bool pod_addressed(const json_t *pod, const char *run_dir, const char *replica_id)
{
    CLEANUP(cleanup_free) char *here = xasprintf("unix:%s/%s.q", run_dir, replica_id);
    return slice_eq_str(jpeek_str(pod, "metadata.annotations.`" POD_QUEUE_ADDRESS "`"), here);
}

int pod_build(const json_t *deployment, const char *name, const char *replica_id,
              const char *run_dir, json_t **out, struct error *err)
{
    struct jbuild b;
    json_t *template = jget(deployment, "spec.template");

    jbuild_init(&b);
    jbuild_str(&b, "metadata.name", name);
    jbuild_json(&b, "metadata.labels",
                json_deep_copy(jpeek_obj(template, "metadata.labels") ?: json_null()));
    json_t *annotations = jpeek_obj(template, "metadata.annotations");
    jbuild_json(&b, "metadata.annotations",
                annotations ? json_deep_copy(annotations) : json_object());
    jbuild_str(&b, "metadata.annotations.`" POD_REPLICA_ID "`", replica_id);
    jbuild_strf(&b, "metadata.annotations.`" POD_QUEUE_ADDRESS "`", "unix:%s/%s.q", run_dir,
                replica_id);
    jbuild_strf(&b, "metadata.annotations.`" POD_ADMIN_ADDRESS "`", "unix:%s/%s.a", run_dir,
                replica_id);
    jbuild_str(&b, "metadata.ownerReferences[+].apiVersion", "apps/v1");
    jbuild_str(&b, "metadata.ownerReferences[-1].kind", "Deployment");
    jbuild_slice(&b, "metadata.ownerReferences[-1].name", jpeek_str(deployment, "metadata.name"));
    jbuild_slice(&b, "metadata.ownerReferences[-1].uid", jpeek_str(deployment, "metadata.uid"));
    jbuild_bool(&b, "metadata.ownerReferences[-1].controller", true);
    jbuild_bool(&b, "metadata.ownerReferences[-1].blockOwnerDeletion", true);
    jbuild_json(&b, "spec", json_deep_copy(jget(template, "spec")));
    jbuild_str(&b, "spec.nodeName", POD_NODE_NAME);
    jbuild_str(&b, "status.phase", "Pending");
    return jbuild_take(&b, out, err);
}

static void condition_add(struct jbuild *b, const json_t *object, const char *type, bool on,
                          const char *reason, const char *message, const char *now)
{
    const char *status = on ? "True" : "False";
    const json_t *old = jpeek_row(object, "status.conditions", "type", slice_str(type));
    bool same = old && slice_eq_str(jpeek_str(old, "status"), status);

    jbuild_str(b, "status.conditions[+].type", type);
    jbuild_str(b, "status.conditions[-1].status", status);
    jbuild_str(b, "status.conditions[-1].lastTransitionTime",
               same ? jpeek_cstr(old, "lastTransitionTime") : now);
    if (reason) {
        jbuild_str(b, "status.conditions[-1].reason", reason);
    }
    if (message && message[0]) {
        jbuild_json(b, "status.conditions[-1].message", jstring_lossy(slice_str(message)));
    }
}

static void running_add(struct jbuild *b, const struct replica_state *s)
{
    char at[CLOCK_RFC3339_MAX];
    clock_format_rfc3339(s->started_ns, 0, at, sizeof at);
    jbuild_str(b, "status.containerStatuses[-1].state.running.startedAt", at);
}

// `where` is state or lastState.
static void terminated_add(struct jbuild *b, const struct replica_state *s, const char *where)
{
    char path[128];
    struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"exitCode", s->code < 0 ? 128 : s->code}, {"signal", s->signal}};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        snprintf(path, sizeof path, "status.containerStatuses[-1].%s.terminated.%s", where,
                 numbers[i].key);
        jbuild_i64(b, path, numbers[i].value);
    }
    snprintf(path, sizeof path, "status.containerStatuses[-1].%s.terminated.reason", where);
    jbuild_str(b, path,
               s->oom         ? "OOMKilled"
               : s->code < 0  ? "StartError"
               : s->code == 0 ? "Completed"
                              : "Error");
    snprintf(path, sizeof path, "status.containerStatuses[-1].%s.terminated.message", where);
    jbuild_json(b, path, jstring_lossy(slice_str(s->message)));
}

static void backoff_message_add(struct jbuild *b, const struct replica_state *s)
{
    char text[400], how[32];

    snprintf(how, sizeof how, s->signal ? "signal %d" : "exit status %d",
             s->signal ? s->signal : s->code);
    if (s->code < 0) {
        snprintf(text, sizeof text, "%.200s", s->message);
    } else {
        snprintf(text, sizeof text, "back-off before the next start; it ended with %s%s%.200s", how,
                 s->message[0] ? ", saying: " : " and no output", s->message);
    }
    jbuild_json(b, "status.containerStatuses[-1].state.waiting.message",
                jstring_lossy(slice_str(text)));
}

static void function_state_add(struct jbuild *b, const struct replica_state *s,
                               const struct pod_trouble *trouble)
{
    if (trouble->reason) {
        jbuild_str(b, "status.containerStatuses[-1].state.waiting.reason", trouble->reason);
        jbuild_json(b, "status.containerStatuses[-1].state.waiting.message",
                    jstring_lossy(slice_str(trouble->message)));
    } else if (s->running) {
        running_add(b, s);
    } else if (s->backoff) {
        jbuild_str(b, "status.containerStatuses[-1].state.waiting.reason", "CrashLoopBackOff");
        backoff_message_add(b, s);
    } else if (s->up) {
        terminated_add(b, s, "state");
    } else {
        jbuild_str(b, "status.containerStatuses[-1].state.waiting.reason", "ContainerCreating");
    }
    if (s->restarts > 0 && (s->running || s->backoff)) {
        terminated_add(b, s, "lastState");
    }
}

static void containers_add(struct jbuild *b, const json_t *pod, const struct replica_state *s,
                           const struct pod_trouble *trouble)
{
    size_t i;
    json_t *c;
    jbuild_arr(b, "status.containerStatuses");
    json_array_foreach(jpeek_arr(pod, "spec.containers"), i, c)
    {
        bool proxy = slice_eq_str(jpeek_str(c, "name"), POD_PROXY_NAME);
        bool runs = proxy ? s->proxy_pid > 0 : s->running;

        jbuild_slice(b, "status.containerStatuses[+].name", jpeek_str(c, "name"));
        jbuild_slice(b, "status.containerStatuses[-1].image", jpeek_str(c, "image"));
        jbuild_slice(b, "status.containerStatuses[-1].imageID", jpeek_str(c, "image"));
        jbuild_i64(b, "status.containerStatuses[-1].restartCount", proxy ? 0 : s->restarts);
        jbuild_bool(b, "status.containerStatuses[-1].started", runs);
        jbuild_bool(b, "status.containerStatuses[-1].ready", runs && s->ready);
        if (!proxy) {
            function_state_add(b, s, trouble);
        } else if (runs) {
            running_add(b, s);
        } else {
            jbuild_str(b, "status.containerStatuses[-1].state.waiting.reason", "ContainerCreating");
        }
    }
}

int pod_status_build(const json_t *pod, const struct replica_state *state,
                     const struct pod_trouble *trouble, int64_t now_ns, json_t **out,
                     struct error *err)
{
    struct jbuild b;
    char now[CLOCK_RFC3339_MAX];
    bool scheduled = !trouble->unschedulable;
    bool was_running = slice_eq_str(jpeek_str(pod, "status.phase"), "Running");
    const char *wait = state->ready ? NULL : "ContainersNotReady";

    clock_format_rfc3339(now_ns, 0, now, sizeof now);
    jbuild_init(&b);
    jbuild_str(&b, "status.phase",
               scheduled && (state->running || was_running) ? "Running" : "Pending");
    condition_add(&b, pod, "PodScheduled", scheduled, scheduled ? NULL : trouble->reason,
                  scheduled ? NULL : trouble->message, now);
    condition_add(&b, pod, "ContainersReady", state->ready, wait, NULL, now);
    condition_add(&b, pod, "Ready", state->ready, wait, trouble->message, now);
    if (scheduled) {
        jbuild_str(&b, "status.podIP", "127.0.0.1");
        jbuild_str(&b, "status.hostIP", "127.0.0.1");
        const char *start = jpeek_cstr(pod, "status.startTime");
        jbuild_str(&b, "status.startTime", start && start[0] ? start : now);
        containers_add(&b, pod, state, trouble);
    }
    return jbuild_take(&b, out, err);
}

int deployment_status_build(const json_t *deployment, int64_t replicas, int64_t ready,
                            int64_t now_ns, json_t **out, struct error *err)
{
    struct jbuild b;
    char now[CLOCK_RFC3339_MAX];
    int64_t want = jpeek_i64(deployment, "spec.replicas");
    bool enough = ready >= want;

    clock_format_rfc3339(now_ns, 0, now, sizeof now);
    jbuild_init(&b);
    jbuild_i64(&b, "status.observedGeneration", jpeek_i64(deployment, "metadata.generation"));
    jbuild_i64(&b, "status.replicas", replicas);
    jbuild_i64(&b, "status.updatedReplicas", replicas);
    jbuild_i64(&b, "status.readyReplicas", ready);
    jbuild_i64(&b, "status.availableReplicas", ready);
    jbuild_i64(&b, "status.unavailableReplicas", replicas > ready ? replicas - ready : 0);
    condition_add(&b, deployment, "Available", enough,
                  enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable", NULL, now);
    condition_add(&b, deployment, "Progressing", true,
                  enough ? "NewReplicaSetAvailable" : "ReplicaSetUpdated", NULL, now);
    return jbuild_take(&b, out, err);
}

int64_t pod_memory_request(const json_t *pod)
{
    size_t i;
    json_t *c;
    int64_t sum = 0;
    json_array_foreach(jpeek_arr(pod, "spec.containers"), i, c)
    {
        int64_t bytes = 0;
        struct slice q = jpeek_str(c, "resources.requests.memory");
        if (slice_empty(q)) {
            q = jpeek_str(c, "resources.limits.memory");
        }
        if (!slice_empty(q) && num_parse_quantity(q, &bytes, NULL) == 0 && bytes > 0) {
            sum = bytes > INT64_MAX - sum ? INT64_MAX : sum + bytes;
        }
    }
    return sum;
}
