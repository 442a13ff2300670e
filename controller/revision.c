// SPDX-License-Identifier: Apache-2.0
/*
 * Revision → Deployment + PodAutoscaler; readiness and failures come back.
 * Happy path: both are made at once; when the initial replicas have been ready, so is the Revision.
 * Its routing state follows the Routes that send traffic to it, the PodAutoscaler's reachability
 * follows that. Failure modes: see health.c. A Deployment is never changed after it was made: its
 * scale is the autoscaler's, its template follows from a spec that cannot change.
 */
#include "base/clock.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/build.h"
#include "controller/health.h"
#include "controller/hpa.h"
#include "controller/meta.h"
#include "controller/routing.h"

static int64_t age_ms(const struct reconcile_env *env, const json_t *revision)
{
    int64_t made_ns = 0;
    struct slice made = jpeek_str(revision, "metadata.creationTimestamp");
    if (clock_parse_rfc3339(made, &made_ns, NULL) < 0 || env->now_ns < made_ns) {
        return 0;
    }
    return (env->now_ns - made_ns) / 1000000;
}

static void sync_pod_autoscaler(const json_t *revision, const json_t *actual, struct plan *plan)
{
    if (actual == NULL) {
        plan_create(plan, KIND_PODAUTOSCALER, meta_name(revision), build_pod_autoscaler(revision));
        return;
    }
    const char *wanted = build_reachability(revision);
    if (!slice_eq_str(jpeek_str(actual, "spec.reachability"), wanted)) {
        plan_patch(plan, KIND_PODAUTOSCALER, meta_name(revision),
                   json_pack("{s:{s:s}}", "spec", "reachability", wanted));
    }
}

/* Whether it takes requests right now: for people, Ready does not depend on it. */
static struct condition active_of(const json_t *autoscaler, const json_t *deployment,
                                  const struct replicas *replicas)
{
    struct condition active = condition_get(autoscaler, "Active");
    if (active.status[0] == '\0') {
        if (replicas->ready > 0) {
            active = (struct condition){"Active", STATUS_TRUE, "", "", true};
        } else if (deployment != NULL && jpeek_i64(deployment, "spec.replicas") == 0) {
            active = (struct condition){"Active", STATUS_FALSE, "NoTraffic",
                                        "The target is not receiving traffic.", true};
        } else {
            active = (struct condition){"Active", STATUS_UNKNOWN, "Deploying", "", true};
        }
    }
    active.info = true;
    return active;
}

/* --- images ------------------------------------------------------------------------------- */

/* The status has the answer already, from when the Deployment was made. */
static bool status_tells(const json_t *revision)
{
    return json_array_size(jpeek_arr(revision, "status.containerStatuses")) > 0;
}

/* What it has, in the form of struct digests; a new object. */
static json_t *images_of_status(const json_t *revision)
{
    static const char *const lists[] = {"status.containerStatuses", "status.initContainerStatuses"};
    json_t *images = json_object();
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        size_t k;
        const json_t *one;
        json_array_foreach(jpeek_arr(revision, lists[i]), k, one)
        {
            json_object_set_new(images, jpeek_cstr(one, "name"),
                                json_string(jpeek_cstr(one, "imageDigest")));
        }
    }
    return images;
}

/* [{name, imageDigest}]; images: NULL: none known but those in the names. */
static json_t *container_statuses(const json_t *revision, const char *spec_path,
                                  const json_t *images)
{
    json_t *list = json_array();
    size_t i;
    const json_t *container;
    json_array_foreach(jpeek_arr(revision, spec_path), i, container)
    {
        const char *name = jpeek_cstr(container, "name");
        const char *image = jpeek_cstr(container, "image");
        const char *fixed = json_string_value(json_object_get(images, name));
        bool own = strstr(image, "@sha256:") != NULL;
        const char *digest = fixed != NULL && fixed[0] != '\0' ? fixed : own ? image : NULL;
        json_array_append_new(list, json_pack("{s:s,s:s*}", "name", name, "imageDigest", digest));
    }
    return list;
}

static void add_container_statuses(const json_t *revision, const struct digests *digests,
                                   json_t *status)
{
    if (status_tells(revision)) {
        json_object_set(status, "containerStatuses",
                        jpeek_arr(revision, "status.containerStatuses"));
        json_t *init = jpeek_arr(revision, "status.initContainerStatuses");
        if (init != NULL) {
            json_object_set(status, "initContainerStatuses", init);
        }
        return;
    }
    if (digests->state != DIGESTS_KNOWN) {
        return;
    }
    json_object_set_new(status, "containerStatuses",
                        container_statuses(revision, "spec.containers", digests->images));
    if (json_array_size(jpeek_arr(revision, "spec.initContainers")) > 0) {
        json_object_set_new(status, "initContainerStatuses",
                            container_statuses(revision, "spec.initContainers", digests->images));
    }
}

static void fix_images(json_t *containers, const json_t *images)
{
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        json_t *fixed = json_object_get(images, jpeek_cstr(container, "name"));
        if (json_string_length(fixed) > 0) {
            json_object_set(container, "image", fixed);
        }
    }
}

/* The Deployment runs what the tags stood for when the Revision was made, for ever. */
static json_t *deployment_of(const struct reconcile_env *env, const json_t *revision,
                             const struct digests *digests)
{
    CLEANUP(jfree) json_t *fixed = json_deep_copy(revision);
    fix_images(jpeek_arr(fixed, "spec.containers"), digests->images);
    fix_images(jpeek_arr(fixed, "spec.initContainers"), digests->images);
    return build_deployment(env->settings, fixed);
}

/* Nothing is made before the digests are known: which image would run is not certain. */
static void wait_for_digests(const struct reconcile_env *env, const json_t *revision,
                             const struct digests *digests, struct plan *plan)
{
    static const char resolving[] = "ResolvingDigests";
    struct condition conditions[2] = {
        {"ResourcesAvailable", STATUS_UNKNOWN, resolving, "", false},
        {"ContainerHealthy", STATUS_UNKNOWN, resolving, "", false},
    };
    if (digests->state == DIGESTS_FAILED) {
        conditions[0] = (struct condition){"ResourcesAvailable", STATUS_UNKNOWN, "", "", false};
        conditions[1] = (struct condition){"ContainerHealthy", STATUS_FALSE, "ContainerMissing",
                                           digests->message, false};
        plan_again(plan, digests->again_ms + 1);
        if (!condition_is(revision, "ContainerHealthy", STATUS_FALSE)) {
            plan_event(plan, true, "ContainerMissing", "%s", digests->message);
        }
    }
    plan_status(plan, KIND_REVISION, revision,
                json_pack("{s:I,s:o}", "observedGeneration",
                          (json_int_t)jpeek_i64(revision, "metadata.generation"), "conditions",
                          conditions_build(conditions, 2, revision, env->now)));
}

/* --- status -------------------------------------------------------------------------------- */

static void set_status(const struct reconcile_env *env, const json_t *revision,
                       const json_t *autoscaler, const struct health_input *in,
                       const struct digests *digests, struct plan *plan)
{
    struct health health;
    health_decide(in, &health);
    if (health.again_ms > 0) {
        plan_again(plan, health.again_ms);
    }
    struct condition conditions[3] = {health.resources, health.container,
                                      active_of(autoscaler, in->deployment, &in->replicas)};
    bool was_ready = object_is_ready(revision);
    struct condition ready = conditions_ready(conditions, 3);
    if (!was_ready && strcmp(ready.status, STATUS_TRUE) == 0) {
        plan_event(plan, false, "RevisionReady", "Revision becomes ready");
    } else if (health.silent &&
               strcmp(condition_get(revision, "ResourcesAvailable").message, health.message) != 0) {
        plan_event(plan, true, "NotListening", "%s", health.message);
    } else if (strcmp(ready.status, STATUS_FALSE) == 0 &&
               !condition_is(revision, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    json_t *status = json_pack("{s:I,s:o,s:I,s:I}", "observedGeneration",
                               (json_int_t)jpeek_i64(revision, "metadata.generation"), "conditions",
                               conditions_build(conditions, 3, revision, env->now),
                               "actualReplicas", (json_int_t)in->replicas.ready, "desiredReplicas",
                               (json_int_t)jpeek_i64(in->deployment, "spec.replicas"));
    add_container_statuses(revision, digests, status);
    plan_status(plan, KIND_REVISION, revision, status);
}

/* A spec that breaks a rule (made by hand) is told, and nothing is made of it. */
static bool refuse(const struct reconcile_env *env, const json_t *revision, struct plan *plan)
{
    struct error err = {0};
    const struct kind *kind = kind_row(KIND_REVISION);
    if (serving_validate(&env->settings->defaults, kind, revision, NULL, &err) == 0) {
        return false;
    }
    const struct condition conditions[2] = {
        {"ResourcesAvailable", STATUS_FALSE, "InvalidSpec", err.msg, false},
        {"ContainerHealthy", STATUS_UNKNOWN, "", "", false},
    };
    plan_status(plan, KIND_REVISION, revision,
                json_pack("{s:I,s:o}", "observedGeneration",
                          (json_int_t)jpeek_i64(revision, "metadata.generation"), "conditions",
                          conditions_build(conditions, 2, revision, env->now)));
    return true;
}

void reconcile_revision(const struct reconcile_env *env, const json_t *revision, struct plan *plan)
{
    char name[NAME_BUF];
    const char *ns = meta_ns(revision);
    if (meta_deleting(revision)) {
        return;
    }
    name_deployment(name, meta_name(revision));
    CLEANUP(jfree) json_t *deployment = env->get(env->arg, KIND_DEPLOYMENT, ns, name);
    CLEANUP(jfree)
    json_t *autoscaler = env->get(env->arg, KIND_PODAUTOSCALER, ns, meta_name(revision));
    if (deployment == NULL && refuse(env, revision, plan)) {
        return;
    }
    struct digests digests = {.state = DIGESTS_KNOWN};
    if (status_tells(revision)) {
        digests.images = images_of_status(revision);
    } else if (env->digests != NULL) {
        env->digests(env->arg, revision, &digests);
    }
    CLEANUP(jfree) MAYBE_UNUSED json_t *images = digests.images; /* freed at the end */
    if (deployment == NULL && digests.state != DIGESTS_KNOWN) {
        routing_sync_revision(env, revision, plan);
        wait_for_digests(env, revision, &digests, plan);
        return;
    }
    if (deployment == NULL) {
        plan_create(plan, KIND_DEPLOYMENT, name, deployment_of(env, revision, &digests));
    }
    sync_pod_autoscaler(revision, autoscaler, plan);
    routing_sync_revision(env, revision, plan);
    struct health_input in = {
        .revision = revision,
        .deployment = deployment,
        .deployment_foreign = deployment != NULL && !meta_controlled_by(deployment, revision),
        .initial_scale = build_initial_scale(env->settings, revision),
        .age_ms = age_ms(env, revision),
        .deadline_ms = build_progress_deadline_s(env->settings, revision) * 1000,
        .one_machine = env->settings->sidecar_image[0] == '\0',
        .port = env->settings->sidecar_image[0] == '\0' ? 0 : build_user_port(revision),
    };
    env->replicas(env->arg, ns, meta_name(revision), &in.replicas);
    if (autoscaler != NULL) {
        hpa_sync(env, revision, autoscaler, deployment, &in.replicas, plan);
    }
    set_status(env, revision, autoscaler, &in, &digests, plan);
}
