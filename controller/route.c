// SPDX-License-Identifier: Apache-2.0
/*
 * Route → status.traffic: every target with the revision it means now, and its URLs.
 * Happy path: all targets resolve, status shows them and AllTrafficAssigned is True; activators
 * watch that. With a rollout duration a new revision takes over in steps: the annotation `rollout`
 * has the state, status the shares of the moment. Failure modes: a target that does not exist or is
 * not ready is told in AllTrafficAssigned, and the traffic stays where it was.
 */
#include <stdlib.h>

#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/traffic.h"
#include "controller/certificates.h"
#include "controller/conditions.h"
#include "controller/gateway.h"
#include "controller/meta.h"
#include "controller/placeholder.h"
#include "controller/reconcile.h"
#include "controller/targets.h"

#define NS_PER_S INT64_C(1000000000)

enum { URL_MAX = 1024 };

/* What the functions of one run share. */
struct view {
    const struct reconcile_env *env;
    const json_t *route;
};

/* --- addresses ---------------------------------------------------------------------------------
 */

/* The public URL, or for what is cluster-local the name that it has inside. */
static void url_of(void *arg, const char *tag, struct strbuf *out)
{
    const struct view *v = arg;
    struct network_config network =
        network_of(&v->env->settings->network, json_object_get(v->route, "metadata"));
    if (placeholder_is_local(v->env, v->route, tag)) {
        strbuf_appendf(out, "http://%s%s%s.%s.svc.%s", tag, tag[0] == '\0' ? "" : "-",
                       meta_name(v->route), meta_ns(v->route), network.cluster_domain);
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf host;
    bool https;
    strbuf_init(&host, URL_MAX);
    traffic_host(&network, meta_ns(v->route), meta_name(v->route), tag, &host);
    (void)certificate_of_host(v->env, v->route, host.ptr, &https);
    (https ? network_tls_url : network_url)(&network, host.ptr, out);
}

/* Of the main host. */
static struct condition certificate_of(const struct view *v)
{
    struct network_config network =
        network_of(&v->env->settings->network, json_object_get(v->route, "metadata"));
    CLEANUP(strbuf_fini) struct strbuf host;
    bool https;
    strbuf_init(&host, URL_MAX);
    traffic_host(&network, meta_ns(v->route), meta_name(v->route), "", &host);
    if (placeholder_is_local(v->env, v->route, "")) {
        return (struct condition){"CertificateProvisioned", STATUS_TRUE, "TLSNotEnabled",
                                  "external-domain-tls is not enabled", false};
    }
    return certificate_of_host(v->env, v->route, host.ptr, &https);
}

static void set_addresses(struct view *v, json_t *status)
{
    CLEANUP(strbuf_fini) struct strbuf url;
    CLEANUP(strbuf_fini) struct strbuf address;
    strbuf_init(&url, URL_MAX);
    strbuf_init(&address, URL_MAX);
    traffic_address(&v->env->settings->network, meta_ns(v->route), meta_name(v->route), &address);
    url_of(v, "", &url);
    json_object_set_new(status, "url", json_string(url.ptr));
    json_object_set_new(status, "address", json_pack("{s:s}", "url", address.ptr));
}

/* --- gradual rollout ---------------------------------------------------------------------------
 */

/* Seconds; 0: at once. */
static int64_t duration_of(const struct view *v)
{
    int64_t ns = 0;
    const char *text =
        meta_annotation_of(v->route, ANNOTATION_ROLLOUT_DURATION, ANNOTATION_ROLLOUT_DURATION_OLD);
    if (text[0] == '\0' || num_parse_duration_ns(slice_str(text), &ns, NULL) < 0 || ns < NS_PER_S) {
        return v->env->settings->network.rollout_duration_s;
    }
    return ns / NS_PER_S;
}

/* What status.traffic routes of the targets that follow a Configuration. */
static void read_status(const struct view *v, struct rollout *out)
{
    size_t i;
    const json_t *item;
    rollout_init(out);
    json_array_foreach(jpeek_arr(v->route, "status.traffic"), i, item)
    {
        const char *name = jpeek_cstr(item, "revisionName");
        int64_t percent = jpeek_i64(item, "percent");
        if (!jpeek_bool(item, "latestRevision") || percent <= 0 || percent > 100) {
            continue;
        }
        CLEANUP(jfree)
        json_t *revision = v->env->get(v->env->arg, KIND_REVISION, meta_ns(v->route), name);
        const char *configuration = meta_label(revision, LABEL_CONFIGURATION);
        if (configuration[0] != '\0') {
            rollout_add(out, configuration, jpeek_cstr(item, "tag"), name, percent);
        }
    }
}

/* status.traffic shows the state: activators have it, or get it now. */
static bool is_routed(const struct rollout *state, const struct rollout *status)
{
    for (size_t i = 0; i < state->count; i++) {
        const struct rollout_target *t = &state->targets[i];
        const struct rollout_target *now = rollout_find(status, t->configuration, t->tag);
        if (now == NULL || now->count != t->count) {
            return false;
        }
        for (size_t k = 0; k < t->count; k++) {
            if (strcmp(t->shares[k].revision, now->shares[k].revision) != 0 ||
                t->shares[k].percent != now->shares[k].percent) {
                return false;
            }
        }
    }
    return true;
}

/* What a revision had that is there no more goes to the newest. */
static void drop_deleted(const struct view *v, struct rollout *state)
{
    for (size_t i = 0; i < state->count; i++) {
        struct rollout_target *t = &state->targets[i];
        for (size_t k = t->count; t->count > 1 && k-- > 0;) {
            CLEANUP(jfree)
            json_t *revision =
                v->env->get(v->env->arg, KIND_REVISION, meta_ns(v->route), t->shares[k].revision);
            if (revision == NULL) {
                rollout_drop(t, k);
            }
        }
    }
}

/*
 * The state of the last run: the annotation, or where there is none what is routed (which then has
 * no times yet).
 */
static void previous(const struct view *v, const struct rollout *routed, int64_t duration_s,
                     struct rollout *out)
{
    const char *text = meta_annotation(v->route, ANNOTATION_ROLLOUT);
    if (text[0] == '\0' || rollout_parse(out, slice_str(text), NULL) < 0) {
        read_status(v, out);
        rollout_restart(out, v->env->now_ns);
    } else if (is_routed(out, routed)) {
        rollout_observe(out, v->env->now_ns, duration_s);
    }
    drop_deleted(v, out);
}

/* Writes the annotation; removes it once it has nothing to say that status does not say too. */
static void keep_state(const struct view *v, const struct rollout *state,
                       const struct rollout *routed, struct plan *plan)
{
    const char *before = meta_annotation(v->route, ANNOTATION_ROLLOUT);
    bool over = rollout_done(state) && (before[0] == '\0' || is_routed(state, routed));
    char *text = over ? NULL : rollout_text(state);
    if (strcmp(before, text == NULL ? "" : text) != 0) {
        plan_patch(plan, KIND_ROUTE, meta_name(v->route),
                   json_pack("{s:{s:{s:o}}}", "metadata", "annotations", ANNOTATION_ROLLOUT,
                             text == NULL ? json_null() : json_string(text)));
    }
    free(text);
}

/* The shares of the moment, in *out; plans the state and the next step. */
static void roll_out(const struct view *v, const struct targets *targets, struct plan *plan,
                     struct rollout *out)
{
    int64_t duration_s = duration_of(v);
    targets_goal(targets, out);
    if (duration_s == 0 && meta_annotation(v->route, ANNOTATION_ROLLOUT)[0] == '\0') {
        return;
    }
    struct rollout routed;
    read_status(v, &routed);
    if (duration_s > 0) {
        struct rollout before;
        previous(v, &routed, duration_s, &before);
        int64_t next_ns = rollout_step(out, &before, v->env->now_ns);
        rollout_fini(&before);
        if (next_ns > 0) {
            int64_t wait_ns = next_ns - v->env->now_ns;
            plan_again(plan, wait_ns <= 0 ? 1 : (uint64_t)(wait_ns / 1000000 + 1));
        }
    }
    keep_state(v, out, &routed, plan);
    rollout_fini(&routed);
}

/* --- status ------------------------------------------------------------------------------------
 */

static struct condition ingress_of(const json_t *route, bool complete, bool rolling)
{
    struct condition c = {"IngressReady", STATUS_TRUE, "", "", false};
    if (complete && rolling) {
        return (struct condition){"IngressReady", STATUS_UNKNOWN, "RolloutInProgress",
                                  "A gradual rollout of the latest revision(s) is in progress.",
                                  false};
    }
    if (complete) {
        return c;
    }
    c = condition_get(route, "IngressReady");
    if (!condition_observed(route) || c.status[0] == '\0') {
        return (struct condition){"IngressReady", STATUS_UNKNOWN, "IngressNotConfigured",
                                  "Ingress has not yet been reconciled.", false};
    }
    return c;
}

void reconcile_route(const struct reconcile_env *env, const json_t *route, struct plan *plan)
{
    struct view v = {env, route};
    struct targets targets;
    struct rollout shares;
    char taken[OBJECT_BUF];
    char text[2 * ERROR_MSG_MAX];
    if (meta_deleting(route)) {
        return;
    }
    targets_init(&targets, env, route);
    rollout_init(&shares);
    bool complete = strcmp(targets.status, STATUS_TRUE) == 0;
    if (complete) {
        roll_out(&v, &targets, plan, &shares);
    }
    struct condition conditions[3] = {
        {"AllTrafficAssigned", targets.status, targets.reason, targets.message, false},
        certificate_of(&v),
        ingress_of(route, complete, !rollout_done(&shares)),
    };
    if (!placeholders_sync(env, route, !complete, plan, taken)) {
        snprintf(text, sizeof(text),
                 "There is an existing placeholder Service \"%s\" that we do not own.", taken);
        conditions[2] = (struct condition){"IngressReady", STATUS_FALSE, "NotOwned", text, false};
    }
    json_t *status = json_pack("{s:I,s:o}", "observedGeneration",
                               (json_int_t)jpeek_i64(route, "metadata.generation"), "conditions",
                               conditions_build(conditions, 3, route, env->now));
    json_t *before = jpeek_arr(route, "status.traffic");
    if (complete) {
        json_object_set_new(status, "traffic", targets_status(&targets, &shares, url_of, &v));
    } else if (before != NULL) {
        json_object_set(status, "traffic", before);
    }
    set_addresses(&v, status);
    gateway_sync_route(env, route, status, plan);
    plan_status(plan, KIND_ROUTE, route, status);
    rollout_fini(&shares);
    targets_fini(&targets);
}
