// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Four caches: PodAutoscalers and their Deployments and Pods in all namespaces, and the one
 * ConfigMap. Each event updates the revision of its label; what may change the plan is looked at
 * again at once. A Deployment's event only brings the number of replicas: most of them are echoes
 * of our own writes, and a foreign one is answered at the next tick.
 * Failure modes: a config-autoscaler that cannot be used leaves the settings as they were.
 */
#include "base/clock.h"
#include "serving/kinds.h"
#include "serving/names.h"
#include "autoscaler/engine.h"

/* --- PodAutoscalers ------------------------------------------------------------------------ */

static void on_pa(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    struct revision *rev = engine_make(e, entry->ns, entry->name);
    revision_set_pa(rev, entry->value, &e->config, loop_now_ms(e->loop), clock_wall_ns());
    engine_follow_backlog(e, rev);
    engine_evaluate(e, rev, ENGINE_CHANGED);
}

static bool same_settings(const struct pa_object *a, const struct pa_object *b)
{
    return a->generation == b->generation && a->reachable == b->reachable;
}

static void on_pa_update(void *arg, const struct kube_entry *entry, const void *old)
{
    struct engine *e = arg;
    struct pa_object *pa = entry->value;
    struct revision *rev = engine_make(e, entry->ns, entry->name);
    if (e->standby && rev->has_pa) {
        revision_adopt(rev, pa, loop_now_ms(e->loop), clock_wall_ns());
    }
    /* Annotations do not count in the generation, so settings are always taken over; but an echo
     * of our own status is no reason to plan anew. */
    revision_set_pa(rev, pa, &e->config, loop_now_ms(e->loop), clock_wall_ns());
    engine_follow_backlog(e, rev);
    if (!same_settings(pa, old)) {
        engine_evaluate(e, rev, ENGINE_CHANGED);
    }
}

static void on_pa_delete(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    struct revision *rev = engine_find(e, slice_str(entry->ns), slice_str(entry->name));
    if (rev != NULL) {
        revision_clear_pa(rev);
        engine_release(e, rev);
    }
}

/* --- Deployments --------------------------------------------------------------------------- */

static void on_deployment(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    const struct deployment_object *deployment = entry->value;
    struct revision *rev = engine_make(e, entry->ns, deployment->revision);
    bool first = !rev->has_deployment;
    bool own = rev->patch != NULL && deployment->replicas == rev->patching;
    rev->foreign = rev->foreign || (!first && deployment->replicas != rev->replicas && !own);
    rev->has_deployment = true;
    rev->replicas = deployment->replicas;
    if (first) {
        engine_evaluate(e, rev, ENGINE_CHANGED);
    }
}

static void on_deployment_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_deployment(arg, entry);
}

static void on_deployment_delete(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    const struct deployment_object *deployment = entry->value;
    struct revision *rev = engine_find(e, slice_str(entry->ns), slice_str(deployment->revision));
    if (rev != NULL) {
        rev->has_deployment = false;
        rev->replicas = -1;
        engine_release(e, rev);
    }
}

/* --- Pods ---------------------------------------------------------------------------------- */

static int project_pod(void *arg, const json_t *object, void *value, struct error *err)
{
    struct engine *e = arg;
    return pod_object_project(&e->options.pod_address, object, value, err);
}

static void on_pod(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    const struct pod_object *pod = entry->value;
    struct revision *rev = engine_make(e, entry->ns, pod->revision);
    int32_t ready = rev->ready;
    revision_set_pod(rev, entry->name, pod);
    if (rev->ready != ready || pod->failing) {
        engine_evaluate(e, rev, ENGINE_CHANGED);
    }
}

static void on_pod_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_pod(arg, entry);
}

static void on_pod_delete(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    const struct pod_object *pod = entry->value;
    struct revision *rev = engine_find(e, slice_str(entry->ns), slice_str(pod->revision));
    if (rev != NULL) {
        revision_remove_pod(rev, entry->name);
        engine_evaluate(e, rev, ENGINE_CHANGED);
        engine_release(e, rev);
    }
}

/* --- config-autoscaler --------------------------------------------------------------------- */

static void resolve_again(void *arg, const struct kube_entry *entry)
{
    struct engine *e = arg;
    struct revision *rev = engine_find(e, slice_str(entry->ns), slice_str(entry->name));
    if (rev != NULL && rev->has_pa) {
        revision_resolve(rev, entry->value, &e->config, loop_now_ms(e->loop));
        engine_evaluate(e, rev, ENGINE_CHANGED);
    }
}

static void use_config(struct engine *e, const struct config_object *config)
{
    if (!config->valid) {
        e->config_err = config->err;
        LOG_ERROR("config-autoscaler cannot be used, the former settings stay",
                  LOG_ERR(&config->err));
        return;
    }
    e->config_err = (struct error){0};
    e->config = config->config;
    if (e->pas != NULL) {
        kube_cache_each(e->pas, resolve_again, e);
    }
}

static void on_config(void *arg, const struct kube_entry *entry)
{
    use_config(arg, entry->value);
}

static void on_config_update(void *arg, const struct kube_entry *entry, const void *old)
{
    use_config(arg, entry->value);
}

static void on_config_delete(void *arg, const struct kube_entry *entry)
{
    struct config_object defaults = {.valid = true};
    autoscaler_config_default(&defaults.config);
    use_config(arg, &defaults);
}

static void on_synced(void *arg)
{
    engine_begin_when_synced(arg);
}

/* --- start and close ----------------------------------------------------------------------- */

/* What autoscaler/objects.c does not look at. */
static const char *const pa_without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                         NULL};
static const char *const deployment_without[] = {"metadata.managedFields",
                                                 "metadata.annotations",
                                                 "metadata.ownerReferences",
                                                 "spec.selector",
                                                 "spec.strategy",
                                                 "spec.template",
                                                 "status",
                                                 NULL};
static const char *const pod_without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                          "spec", NULL};

int engine_watch_start(struct engine *e, struct error *err)
{
    struct kube_cache_options config = {
        .kind = KUBE_KIND(kind_row(KIND_CONFIGMAP)),
        .ns = e->system_namespace,
        .field_selector = "metadata.name=" CONFIG_AUTOSCALER,
        .value_size = sizeof(struct config_object),
        .project = config_object_project,
        .on_add = on_config,
        .on_update = on_config_update,
        .on_delete = on_config_delete,
        .on_synced = on_synced,
        .arg = e,
    };
    struct kube_cache_options pas = {
        .kind = KUBE_KIND(kind_row(KIND_PODAUTOSCALER)),
        .without = pa_without,
        .value_size = sizeof(struct pa_object),
        .project = pa_object_project,
        .release = pa_object_release,
        .on_add = on_pa,
        .on_update = on_pa_update,
        .on_delete = on_pa_delete,
        .on_synced = on_synced,
        .arg = e,
    };
    struct kube_cache_options deployments = {
        .kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
        .label_selector = LABEL_REVISION,
        .without = deployment_without,
        .value_size = sizeof(struct deployment_object),
        .project = deployment_object_project,
        .release = deployment_object_release,
        .on_add = on_deployment,
        .on_update = on_deployment_update,
        .on_delete = on_deployment_delete,
        .on_synced = on_synced,
        .arg = e,
    };
    struct kube_cache_options pods = {
        .kind = KUBE_KIND(kind_row(KIND_POD)),
        .label_selector = LABEL_REVISION,
        .without = pod_without,
        .value_size = sizeof(struct pod_object),
        .project = project_pod,
        .release = pod_object_release,
        .on_add = on_pod,
        .on_update = on_pod_update,
        .on_delete = on_pod_delete,
        .on_synced = on_synced,
        .arg = e,
    };
    int rc = kube_cache_start(e->client, &config, &e->config_maps, err);
    rc = rc < 0 ? rc : kube_cache_start(e->client, &pas, &e->pas, err);
    rc = rc < 0 ? rc : kube_cache_start(e->client, &deployments, &e->deployments, err);
    rc = rc < 0 ? rc : kube_cache_start(e->client, &pods, &e->pods, err);
    return rc;
}

void engine_watch_close(struct engine *e)
{
    struct kube_cache *caches[] = {e->pods, e->deployments, e->pas, e->config_maps};
    for (size_t i = 0; i < ARRAY_LEN(caches); i++) {
        if (caches[i] != NULL) {
            kube_cache_close(caches[i], NULL, NULL);
        }
    }
}
