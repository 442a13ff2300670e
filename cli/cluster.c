// SPDX-License-Identifier: Apache-2.0
//
// Happy path: nothing of Knative's is found, every kind is known, the parts become ready. Failure
// modes: each says what was found and what to do about it; nothing has been changed then.
#include "cli/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/install_set.h"
#include "cli/resource.h"

#define POLL_MS        200
#define KNATIVE        "knative-serving"
#define EVENTING_GROUP "eventing.knative.dev"
#define SOURCES_GROUP  "sources.knative.dev"
#define PART_OF        "app.kubernetes.io/part-of"
#define SERVING_CRD    "services.serving.knative.dev"

static const struct kube_kind CRDS = {"apiextensions.k8s.io", "v1", "customresourcedefinitions"};

int cluster_connect(struct cli *cli, const struct cli_common *common, struct error *err)
{
    if (!common->kubeconfig || !common->kubeconfig[0]) {
        return error_set(err, ERR_INVALID,
                         "name the cluster: --kubeconfig FILE, or the variable KUBECONFIG");
    }
    return cli_connect(cli, common, err);
}

// ---- Knative's own

// Deployments of this list that run: "knative-serving/controller, …".
static void name_running(const json_t *list, struct strbuf *out)
{
    size_t i;
    json_t *d;
    json_array_foreach(jpeek_arr(list, "items"), i, d)
    {
        const json_t *wanted = json_object_get(jpeek_obj(d, "spec"), "replicas");
        if (!wanted || json_integer_value(wanted) > 0) {
            strbuf_appendf(out, "%s%s/%s", out->len ? ", " : "",
                           jpeek_cstr(d, "metadata.namespace"), jpeek_cstr(d, "metadata.name"));
        }
    }
}

static int refuse_running(struct cli *cli, struct error *err)
{
    struct kube_call by_namespace = {.kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)), .ns = KNATIVE};
    struct kube_call by_label = {.kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
                                 .label_selector = "app.kubernetes.io/name=" KNATIVE};
    const struct kube_call *calls[] = {&by_namespace, &by_label};
    CLEANUP(strbuf_fini) struct strbuf names;

    strbuf_init(&names, 400);
    for (size_t i = 0; i < ARRAY_LEN(calls) && names.len == 0; i++) {
        CLEANUP(jfree) json_t *list = NULL;
        int rc = cli_call(cli, kube_list, calls[i], &list, err);
        if (rc < 0) {
            return rc;
        }
        name_running(list, &names);
    }
    if (names.len == 0) {
        return 0;
    }
    return error_set(err, ERR_DENIED,
                     "Knative Serving's own controllers run here (%s): both would write the same "
                     "objects. Take Knative Serving away first; docs/kubernetes.md tells how to "
                     "move",
                     names.ptr);
}

static int refuse_webhooks(struct cli *cli, struct error *err)
{
    static const struct {
        const char *plural, *name;
    } HOOKS[] = {
        {"mutatingwebhookconfigurations", "webhook.serving.knative.dev"},
        {"validatingwebhookconfigurations", "validation.webhook.serving.knative.dev"},
        {"validatingwebhookconfigurations", "config.webhook.serving.knative.dev"},
    };
    for (size_t i = 0; i < ARRAY_LEN(HOOKS); i++) {
        CLEANUP(jfree) json_t *hook = NULL;
        struct kube_call call = {.kind = {"admissionregistration.k8s.io", "v1", HOOKS[i].plural},
                                 .name = HOOKS[i].name};
        int rc = cli_call(cli, kube_get, &call, &hook, err);
        if (rc == 0) {
            return error_set(err, ERR_DENIED,
                             "a webhook of Knative Serving stands in the way: kubectl delete %s %s",
                             HOOKS[i].plural, HOOKS[i].name);
        }
        if (rc != ERR_NOT_FOUND) {
            return rc;
        }
    }
    return 0;
}

static int refuse_kinds(struct cli *cli, bool *out_there, struct error *err)
{
    CLEANUP(jfree) json_t *crd = NULL;
    struct kube_call call = {.kind = CRDS, .name = SERVING_CRD};
    int rc = cli_call(cli, kube_get, &call, &crd, err);

    if (rc < 0 && rc != ERR_NOT_FOUND) {
        return rc;
    }
    const json_t *labels = jpeek_obj(crd, "metadata.labels");
    const char *owner = json_string_value(json_object_get(labels, PART_OF));
    if (rc == 0 && (!owner || strcmp(owner, "lull") != 0)) {
        return error_set(err, ERR_DENIED,
                         "this cluster has serving.knative.dev kinds that are not Lull's (Knative "
                         "Serving?); use another cluster, or see docs/kubernetes.md about moving");
    }
    if (out_there) {
        *out_there = rc == 0;
    }
    return 0;
}

static void drop_webhooks(json_t *webhooks)
{
    for (size_t i = json_array_size(webhooks); i > 0; i--) {
        struct slice name = jpeek_str(json_array_get(webhooks, i - 1), "name");
        if (slice_ends_with(name, SLICE_LIT("." EVENTING_GROUP))) {
            json_array_remove(webhooks, i - 1);
        }
    }
}

int cluster_spare_eventing(struct cli *cli, json_t *objects, bool *out_theirs, struct error *err)
{
    CLEANUP(jfree) json_t *crd = NULL;
    struct kube_call call = {.kind = CRDS, .name = "brokers." EVENTING_GROUP};
    int rc = cli_call(cli, kube_get, &call, &crd, err);

    *out_theirs = rc == 0 && !slice_eq_str(jpeek_str(crd, "metadata.labels.`" PART_OF "`"), "lull");
    if (!*out_theirs) {
        return rc == ERR_NOT_FOUND ? 0 : rc;
    }
    for (size_t i = json_array_size(objects); i > 0; i--) {
        const json_t *object = json_array_get(objects, i - 1);
        struct slice group = jpeek_str(object, "spec.group");
        if (slice_eq_str(group, EVENTING_GROUP) || slice_eq_str(group, SOURCES_GROUP)) {
            json_array_remove(objects, i - 1);
        } else {
            drop_webhooks(jpeek_arr(object, "webhooks"));
        }
    }
    return 0;
}

int cluster_is_ours(struct cli *cli, bool *out_there, struct error *err)
{
    int rc = refuse_running(cli, err);
    rc = rc ? rc : refuse_webhooks(cli, err);
    return rc ? rc : refuse_kinds(cli, out_there, err);
}

// ---- kinds

int cluster_kind(struct cli *cli, struct cluster_kinds *kinds, const json_t *object,
                 const struct cli_resource **out, struct error *err)
{
    CLEANUP(cleanup_free)
    char *name = xasprintf("%s %s", jpeek_cstr(object, "apiVersion"), jpeek_cstr(object, "kind"));
    const json_t *known = json_object_get(kinds->names, name);

    if (!known) {
        struct cli_resource found = {0};
        int rc = cli_resource_of_object(cli, object, &found, err);
        if (rc < 0) {
            return rc;
        }
        if (!kinds->names) {
            kinds->names = json_object();
        }
        // The strings of a resource are its own, so it may be moved.
        kinds->items = xrealloc(kinds->items, (kinds->count + 1) * sizeof *kinds->items);
        kinds->items[kinds->count] = found;
        json_object_set_new(kinds->names, name, json_integer((json_int_t)kinds->count++));
        known = json_object_get(kinds->names, name);
    }
    *out = &kinds->items[json_integer_value(known)];
    return 0;
}

void cluster_kinds_fini(struct cluster_kinds *kinds)
{
    for (size_t i = 0; i < kinds->count; i++) {
        cli_resource_fini(&kinds->items[i]);
    }
    free(kinds->items);
    json_decref(kinds->names);
    *kinds = (struct cluster_kinds){0};
}

// ---- waiting

static bool rolled_out(const json_t *d)
{
    int64_t wanted = jpeek_i64(d, "spec.replicas");
    const json_t *status = jpeek_obj(d, "status");

    return jpeek_i64(status, "observedGeneration") >= jpeek_i64(d, "metadata.generation") &&
           jpeek_i64(status, "updatedReplicas") == wanted &&
           jpeek_i64(status, "availableReplicas") == wanted &&
           jpeek_i64(status, "replicas") == wanted;
}

// What the kubelet says about a container that does not run.
static const json_t *waiting_of(const json_t *pod)
{
    size_t i;
    json_t *status;
    json_array_foreach(jpeek_arr(pod, "status.containerStatuses"), i, status)
    {
        const json_t *waiting = jpeek_obj(status, "state.waiting");
        if (waiting) {
            return waiting;
        }
    }
    return NULL;
}

// Why the pods of a part are not ready, as far as they say.
static void why(struct cli *cli, const char *part, struct strbuf *out)
{
    CLEANUP(jfree) json_t *pods = NULL;
    CLEANUP(cleanup_free) char *label = xasprintf("app=%s", part);
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_POD)), .ns = INSTALL_NAMESPACE, .label_selector = label};
    struct error ignored;
    size_t i;
    json_t *pod;

    if (cli_call(cli, kube_list, &call, &pods, &ignored) < 0) {
        return;
    }
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const json_t *waiting = waiting_of(pod);
        const json_t *placed =
            jpeek_row(pod, "status.conditions", "type", SLICE_LIT("PodScheduled"));
        if (!waiting && slice_eq_str(jpeek_str(placed, "status"), "False")) {
            waiting = placed; // with reason and message likewise
        }
        if (waiting) {
            strbuf_appendf(out, " (%s: %s %.200s)", jpeek_cstr(pod, "metadata.name"),
                           jpeek_cstr(waiting, "reason"), jpeek_cstr(waiting, "message"));
            return;
        }
    }
}

int cluster_wait_parts(struct cli *cli, bool events, uint64_t timeout_ms, struct error *err)
{
    static const char *const PARTS[] = {"lull-autoscaler", "lull-controller", "lull-activator",
                                        INSTALL_BROKER};
    size_t count = ARRAY_LEN(PARTS) - (events ? 0 : 1);
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + timeout_ms;

    for (size_t i = 0; i < count;) {
        CLEANUP(jfree) json_t *d = NULL;
        struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
                                 .ns = INSTALL_NAMESPACE,
                                 .name = PARTS[i]};
        int rc = cli_call(cli, kube_get, &call, &d, err);
        if (rc < 0) {
            return rc;
        }
        if (rolled_out(d)) {
            printf("%s ready\n", PARTS[i++]);
            fflush(stdout);
            continue;
        }
        if (loop_now_fresh_ns(&cli->loop) / 1000000 > end) {
            CLEANUP(strbuf_fini) struct strbuf reason;
            strbuf_init(&reason, 600);
            why(cli, PARTS[i], &reason);
            if (strcmp(PARTS[i], INSTALL_BROKER) == 0) {
                why(cli, INSTALL_REDIS, &reason);
            }
            return error_set(err, ERR_TIMEOUT, "%s is not ready after %llu s: %lld of %lld pods%s",
                             PARTS[i], (unsigned long long)(timeout_ms / 1000),
                             (long long)jpeek_i64(d, "status.availableReplicas"),
                             (long long)jpeek_i64(d, "spec.replicas"),
                             reason.len ? reason.ptr : "");
        }
        cli_pause(cli, POLL_MS);
    }
    return 0;
}

int cluster_wait_admission(struct cli *cli, uint64_t timeout_ms, struct error *err)
{
    CLEANUP(jfree)
    json_t *probe = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:{s:[{s:s}]}}}}", "apiVersion",
                              "serving.knative.dev/v1", "kind", "Service", "metadata", "name",
                              "lull-install-check", "spec", "template", "spec", "containers",
                              "image", "dev.local/check:1");
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_SERVICE)), .ns = "default", .body = probe, .dry_run = true};
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + timeout_ms;

    for (;;) {
        CLEANUP(jfree) json_t *answer = NULL;
        int rc = cli_call(cli, kube_create, &call, &answer, err);
        // Whatever else it says: somebody has answered.
        if (rc == 0 || strstr(err->msg, "calling webhook") == NULL) {
            return 0;
        }
        if (loop_now_fresh_ns(&cli->loop) / 1000000 > end) {
            return error_prefix(err, ERR_TIMEOUT, "the webhook does not answer");
        }
        cli_pause(cli, POLL_MS);
    }
}

int cluster_wait_none(struct cli *cli, const struct kube_call *call, const char *what,
                      uint64_t timeout_ms, struct error *err)
{
    uint64_t end = loop_now_fresh_ns(&cli->loop) / 1000000 + timeout_ms;

    for (;;) {
        CLEANUP(jfree) json_t *list = NULL;
        int rc = cli_call(cli, kube_list, call, &list, err);
        size_t left = json_array_size(jpeek_arr(list, "items"));
        if (rc < 0 || left == 0) {
            return rc;
        }
        if (loop_now_fresh_ns(&cli->loop) / 1000000 > end) {
            return error_set(err, ERR_TIMEOUT, "%zu %s are still there after %llu s", left, what,
                             (unsigned long long)(timeout_ms / 1000));
        }
        cli_pause(cli, POLL_MS);
    }
}
