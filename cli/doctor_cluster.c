// SPDX-License-Identifier: Apache-2.0
//
// What can be wrong on a cluster. Each check asks the API server once or twice; a check whose
// question is refused says so as a warning, since it is the user's right that is missing then.
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/cluster.h"
#include "cli/doctor.h"
#include "cli/install_set.h"
#include "cli/part_ask.h"

#define OLDEST_MINOR    30
#define CLOCK_OFF_S     5
#define NODE_SILENT_S   60
#define LEASE_SILENT_S  60
#define ADMISSION_MS    5000
#define WEBHOOK_SECRET  "lull-webhook-certs"
#define SECRET_LEAST    32
#define CERTIFICATE_MAX (64u << 10)

static const char SEE_RIGHTS[] = "ask with a kubeconfig that may read this";
static const char INSTALL[] = "run `lull install` (or helm upgrade) again; it keeps what is there";

// false: said already. Not found: true with *out NULL.
static bool find(struct doctor *d, const char *check, const struct kube_call *call, json_t **out)
{
    struct error err;
    int rc = cli_call(d->cli, kube_get, call, out, &err);
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        doctor_warn(d, check, SEE_RIGHTS, "%s %s cannot be read: %s", call->kind.plural,
                    call->name == NULL ? "" : call->name, err.msg);
        return false;
    }
    return true;
}

static bool check_api(struct doctor *d)
{
    CLEANUP(cleanup_free) char *body = NULL;
    CLEANUP(jfree) json_t *version = NULL;
    struct error err;
    int64_t minor = 0;
    int rc = part_get(d->cli, "/version", &body, &err);
    rc = rc ? rc : jparse_object(slice_str(body), 1u << 16, &version, &err);
    if (rc < 0) {
        doctor_fail(d, "api", "see whether the kubeconfig is right and the server runs", "%s",
                    err.msg);
        return false;
    }
    const char *text = jpeek_cstr(version, "minor");
    minor = strtol(text, NULL, 10); // "30+" at some providers
    if (minor < OLDEST_MINOR) {
        doctor_warn(d, "api", "upgrade the cluster", "Kubernetes %s is older than 1.%d",
                    jpeek_cstr(version, "gitVersion"), OLDEST_MINOR);
    } else {
        doctor_ok(d, "api", "Kubernetes %s answers", jpeek_cstr(version, "gitVersion"));
    }
    return true;
}

static bool check_kinds(struct doctor *d)
{
    struct error err;
    bool there = false;
    if (cluster_is_ours(d->cli, &there, &err) < 0) {
        doctor_fail(d, "kinds", "docs/kubernetes.md tells how to move from Knative", "%s", err.msg);
        return false;
    }
    if (!there) {
        doctor_fail(d, "kinds", "install it: `lull install`", "Lull is not installed here");
        return false;
    }
    doctor_ok(d, "kinds", "Lull's own, and nobody else's controllers");
    return true;
}

// ---- the parts

// Why a pod is not ready: of its containers, else of its conditions; "".
static const char *pod_trouble(const json_t *pod)
{
    const json_t *waiting = jpeek_obj(pod, "status.containerStatuses[0].state.waiting");
    const json_t *placed = jpeek_row(pod, "status.conditions", "type", SLICE_LIT("PodScheduled"));
    if (waiting != NULL) {
        const char *message = jpeek_cstr(waiting, "message");
        return message[0] != '\0' ? message : jpeek_cstr(waiting, "reason");
    }
    return slice_eq_str(jpeek_str(placed, "status"), "False") ? jpeek_cstr(placed, "message") : "";
}

static void check_pods(struct doctor *d, const char *part, char image[static 256])
{
    CLEANUP(jfree) json_t *pods = NULL;
    struct error err;
    size_t i;
    json_t *pod;
    if (part_pods(d->cli, part, &pods, &err) < 0) {
        doctor_warn(d, "parts", SEE_RIGHTS, "pods cannot be listed: %s", err.msg);
        return;
    }
    json_array_foreach(jpeek_arr(pods, "items"), i, pod)
    {
        const char *name = jpeek_cstr(pod, "metadata.name");
        const char *tag = strrchr(jpeek_cstr(pod, "spec.containers[0].image"), ':');
        long long restarts = (long long)jpeek_i64(pod, "status.containerStatuses[0].restartCount");
        if (restarts > 0) {
            CLEANUP(cleanup_free)
            char *advice = xasprintf("kubectl -n %s logs %s --previous", INSTALL_NAMESPACE, name);
            doctor_warn(d, "parts", advice, "%s was started again %lld times, last after %s (%lld)",
                        name, restarts,
                        jpeek_cstr(pod, "status.containerStatuses[0].lastState.terminated.reason"),
                        (long long)jpeek_i64(
                            pod, "status.containerStatuses[0].lastState.terminated.exitCode"));
        }
        if (tag != NULL && image[0] == '\0') {
            snprintf(image, 256, "%s", tag);
        } else if (tag != NULL && strcmp(image, tag) != 0) {
            doctor_warn(d, "parts", "finish the upgrade", "%s runs version %s, others %s", name,
                        tag + 1, image + 1);
        }
    }
}

static void check_part(struct doctor *d, const char *part, char image[static 256])
{
    CLEANUP(jfree) json_t *deployment = NULL;
    CLEANUP(jfree) json_t *pods = NULL;
    CLEANUP(cleanup_free) char *name = xasprintf("lull-%s", part);
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)), .ns = INSTALL_NAMESPACE, .name = name};
    struct error err;
    size_t i;
    json_t *pod;
    if (!find(d, "parts", &call, &deployment)) {
        return;
    }
    if (deployment == NULL) {
        doctor_fail(d, "parts", INSTALL, "there is no Deployment %s in namespace %s", name,
                    INSTALL_NAMESPACE);
        return;
    }
    long long wanted = (long long)jpeek_i64(deployment, "spec.replicas");
    long long ready = (long long)jpeek_i64(deployment, "status.readyReplicas");
    const char *why = "";
    if (ready < wanted && part_pods(d->cli, part, &pods, &err) == 0) {
        json_array_foreach(jpeek_arr(pods, "items"), i, pod)
        {
            why = why[0] != '\0' ? why : pod_trouble(pod);
        }
    }
    CLEANUP(cleanup_free)
    char *advice = xasprintf("kubectl -n %s describe pods -l app=%s", INSTALL_NAMESPACE, name);
    if (wanted == 0 || ready == 0) {
        doctor_fail(d, "parts", wanted == 0 ? "scale it up" : advice, "%s: %lld of %lld ready%s%s",
                    name, ready, wanted, why[0] != '\0' ? ": " : "", why);
    } else if (ready < wanted) {
        doctor_warn(d, "parts", advice, "%s: %lld of %lld ready%s%s", name, ready, wanted,
                    why[0] != '\0' ? ": " : "", why);
    } else {
        doctor_ok(d, "parts", "%s: %lld of %lld ready", name, ready, wanted);
    }
    check_pods(d, part, image);
}

// ---- leases and clocks

// Seconds since it was renewed, by our clock; false: never.
static bool renewed(const json_t *lease, double *out_age_s)
{
    int64_t at_ns = 0;
    if (clock_parse_rfc3339(jpeek_str(lease, "spec.renewTime"), &at_ns, NULL) < 0) {
        return false;
    }
    *out_age_s = (double)(clock_wall_ns() - at_ns) / 1e9;
    return true;
}

static void check_lease(struct doctor *d, const char *name)
{
    CLEANUP(jfree) json_t *lease = NULL;
    struct kube_call call = {
        .kind = {"coordination.k8s.io", "v1", "leases"}, .ns = INSTALL_NAMESPACE, .name = name};
    double age_s = 0;
    if (!find(d, "leader", &call, &lease)) {
        return;
    }
    const char *holder = jpeek_cstr(lease, "spec.holderIdentity");
    if (lease == NULL || holder[0] == '\0' || !renewed(lease, &age_s)) {
        doctor_fail(d, "leader", "see the logs of its pods: they must be able to write Leases",
                    "nobody leads %s", name);
    } else if (age_s > LEASE_SILENT_S) {
        doctor_fail(d, "leader", "see whether its pods run and reach the API server",
                    "%s was renewed %.0f s ago by %s", name, age_s, holder);
    } else {
        doctor_ok(d, "leader", "%s is held by %s", name, holder);
    }
}

static void check_clocks(struct doctor *d)
{
    CLEANUP(jfree) json_t *leases = NULL;
    struct kube_call call = {.kind = {"coordination.k8s.io", "v1", "leases"},
                             .ns = "kube-node-lease"};
    struct error err;
    size_t i, good = 0, bad = 0;
    json_t *lease;
    if (cli_call(d->cli, kube_list, &call, &leases, &err) < 0) {
        doctor_warn(d, "clocks", SEE_RIGHTS, "the nodes' Leases cannot be read: %s", err.msg);
        return;
    }
    json_array_foreach(jpeek_arr(leases, "items"), i, lease)
    {
        double age_s = 0;
        const char *node = jpeek_cstr(lease, "metadata.name");
        bool known = renewed(lease, &age_s);
        if (known && age_s < -CLOCK_OFF_S) {
            bad++;
            doctor_warn(d, "clocks", "let both keep time by NTP",
                        "node %s is %.0f s ahead of this machine", node, -age_s);
        } else if (known && age_s > NODE_SILENT_S) {
            bad++;
            doctor_warn(d, "clocks", "see its kubelet; or its clock, or the one here, is wrong",
                        "node %s has said nothing for %.0f s", node, age_s);
        } else {
            good += known;
        }
    }
    if (bad == 0) {
        doctor_ok(d, "clocks", "%zu nodes report, their clocks agree with this one", good);
    }
}

// ---- secrets, certificates, the webhook

static void check_install_secret(struct doctor *d)
{
    CLEANUP(jfree) json_t *secret = NULL;
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_SECRET)), .ns = INSTALL_NAMESPACE, .name = "lull-install"};
    if (!find(d, "secret", &call, &secret)) {
        return;
    }
    size_t len = strlen(jpeek_cstr(secret, "data.secret")) / 4 * 3;
    if (secret == NULL) {
        doctor_fail(d, "secret", INSTALL, "Secret lull-install is not there: no part can start");
    } else if (len < SECRET_LEAST) {
        doctor_fail(d, "secret", "put at least 32 random bytes there and restart the parts",
                    "key secret of Secret lull-install is missing or short");
    } else {
        doctor_ok(d, "secret", "the links between the parts have their secret");
    }
}

static void decode(const json_t *secret, const char *path, struct strbuf *out)
{
    strbuf_clear(out);
    if (base64_decode(jpeek_str(secret, path), out, NULL) < 0) {
        strbuf_clear(out);
    }
}

static void check_bundle(struct doctor *d, const char *plural, const char *name,
                         const char *authority)
{
    CLEANUP(jfree) json_t *hook = NULL;
    struct kube_call call = {.kind = {"admissionregistration.k8s.io", "v1", plural}, .name = name};
    if (!find(d, "webhook", &call, &hook)) {
        return;
    }
    if (hook == NULL) {
        doctor_warn(d, "webhook", INSTALL,
                    "there is no %s %s: wrong Services are taken, and said in their status only",
                    plural, name);
    } else if (strcmp(jpeek_cstr(hook, "webhooks[0].clientConfig.caBundle"), authority) != 0) {
        doctor_warn(d, "webhook",
                    "the controllers write it; see their logs, and whether a tool sets it back",
                    "the caBundle of %s is not the authority in Secret %s", name, WEBHOOK_SECRET);
    }
}

static void check_webhook(struct doctor *d)
{
    static const char renew[] = "delete the Secret; the controllers make it anew at once";
    CLEANUP(jfree) json_t *secret = NULL;
    CLEANUP(strbuf_fini) struct strbuf pem;
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_SECRET)), .ns = INSTALL_NAMESPACE, .name = WEBHOOK_SECRET};
    struct error err;
    strbuf_init(&pem, CERTIFICATE_MAX);
    if (find(d, "certificates", &call, &secret) && secret != NULL) {
        decode(secret, "data.`server-cert.pem`", &pem);
        doctor_certificate(d, "certificates", "the webhook's", strbuf_slice(&pem), renew);
        decode(secret, "data.`ca-cert.pem`", &pem);
        doctor_certificate(d, "certificates", "its authority's", strbuf_slice(&pem), renew);
        const char *authority = jpeek_cstr(secret, "data.`ca-cert.pem`");
        check_bundle(d, "mutatingwebhookconfigurations", "lull-defaulting", authority);
        check_bundle(d, "validatingwebhookconfigurations", "lull-validation", authority);
    }
    if (cluster_wait_admission(d->cli, ADMISSION_MS, &err) < 0) {
        doctor_fail(d, "webhook",
                    "Services cannot be written: see the controllers, and whether the API server "
                    "reaches port 8443 of their pods (NetworkPolicies, firewalls)",
                    "%s", err.msg);
    } else {
        doctor_ok(d, "webhook", "the API server reaches it");
    }
}

// ---- rights, ways in

static const struct right {
    const char *part, *group, *resource, *subresource, *verb, *ns;
} RIGHTS[] = {
    {"controller", "serving.knative.dev", "services", "", "watch", ""},
    {"controller", "serving.knative.dev", "services", "status", "patch", ""},
    {"controller", "apps", "deployments", "", "create", ""},
    {"controller", "", "services", "", "create", ""},
    {"controller", "coordination.k8s.io", "leases", "", "create", INSTALL_NAMESPACE},
    {"controller", "autoscaling", "horizontalpodautoscalers", "", "create", ""},
    {"autoscaler", "apps", "deployments", "scale", "patch", ""},
    {"autoscaler", "autoscaling.internal.knative.dev", "podautoscalers", "status", "patch", ""},
    {"autoscaler", "", "pods", "", "watch", ""},
    {"activator", "serving.knative.dev", "routes", "", "watch", ""},
    {"activator", "", "pods", "", "watch", ""},
};

static void check_rights(struct doctor *d)
{
    size_t bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(RIGHTS); i++) {
        const struct right *r = &RIGHTS[i];
        CLEANUP(cleanup_free)
        char *user = xasprintf("system:serviceaccount:%s:lull-%s", INSTALL_NAMESPACE, r->part);
        CLEANUP(jfree) json_t *answer = NULL;
        CLEANUP(jfree)
        json_t *body =
            json_pack("{s:s,s:s,s:{s:s,s:{s:s,s:s,s:s,s:s,s:s}}}", "apiVersion",
                      "authorization.k8s.io/v1", "kind", "SubjectAccessReview", "spec", "user",
                      user, "resourceAttributes", "group", r->group, "resource", r->resource,
                      "subresource", r->subresource, "verb", r->verb, "namespace", r->ns);
        struct kube_call call = {.kind = {"authorization.k8s.io", "v1", "subjectaccessreviews"},
                                 .body = body};
        struct error err;
        if (cli_call(d->cli, kube_create, &call, &answer, &err) < 0) {
            doctor_warn(d, "rights", SEE_RIGHTS, "cannot ask what the parts may do: %s", err.msg);
            return;
        }
        if (!jpeek_bool(answer, "status.allowed")) {
            bad++;
            doctor_fail(d, "rights", INSTALL, "lull-%s may not %s %s%s%s", r->part, r->verb,
                        r->resource, r->subresource[0] != '\0' ? "/" : "", r->subresource);
        }
    }
    if (bad == 0) {
        doctor_ok(d, "rights", "the parts may do what they have to");
    }
}

static void check_ways_in(struct doctor *d)
{
    CLEANUP(jfree) json_t *service = NULL;
    CLEANUP(jfree) json_t *domain = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_CORE_SERVICE)),
                             .ns = INSTALL_NAMESPACE,
                             .name = "lull-activator"};
    struct kube_call config = {.kind = KUBE_KIND(kind_row(KIND_CONFIGMAP)),
                               .ns = INSTALL_NAMESPACE,
                               .name = "config-domain"};
    if (!find(d, "ways in", &call, &service) || !find(d, "ways in", &config, &domain)) {
        return;
    }
    const char *type = jpeek_cstr(service, "spec.type");
    bool waits = strcmp(type, "LoadBalancer") == 0 &&
                 jpeek_obj(service, "status.loadBalancer.ingress[0]") == NULL;
    json_t *data = json_object_get(domain, "data");
    size_t domains = json_object_size(data) - (json_object_get(data, "_example") != NULL);
    if (service == NULL) {
        doctor_fail(d, "ways in", INSTALL, "there is no Service lull-activator");
    } else if (waits) {
        doctor_warn(d, "ways in", "see whether the cluster has somebody who gives addresses",
                    "Service lull-activator is a LoadBalancer without an address");
    } else {
        doctor_ok(d, "ways in", "Service lull-activator (%s) at %s", type,
                  jpeek_cstr(service, "spec.clusterIP"));
    }
    if (domains == 0) {
        doctor_warn(d, "ways in",
                    "kubectl -n " INSTALL_NAMESPACE " patch configmap config-domain --type=merge "
                    "-p '{\"data\":{\"example.com\":\"\"}}', with your domain",
                    "config-domain names no domain: functions have cluster-local names only");
    }
}

// Only there with a Redis for events.
static void check_broker(struct doctor *d, char image[static 256])
{
    CLEANUP(jfree) json_t *deployment = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
                             .ns = INSTALL_NAMESPACE,
                             .name = INSTALL_BROKER};
    if (find(d, "parts", &call, &deployment) && deployment != NULL) {
        check_part(d, "broker", image);
    }
}

bool doctor_cluster(struct doctor *d)
{
    char image[256] = "";
    if (!check_api(d) || !check_kinds(d)) {
        return false;
    }
    check_part(d, "controller", image);
    check_part(d, "autoscaler", image);
    check_part(d, "activator", image);
    check_broker(d, image);
    check_lease(d, "lull-controller");
    check_lease(d, "lull-autoscaler");
    check_clocks(d);
    check_install_secret(d);
    check_webhook(d);
    check_rights(d);
    check_ways_in(d);
    return true;
}
