// SPDX-License-Identifier: Apache-2.0
/*
 * What an object leaves open is filled in here, as Knative's webhook does.
 * Happy path: the spec is checked for its shape, brought into its normal form and completed: pod
 * template, traffic, who made it. Failure modes: a value of a wrong type is ERR_INVALID with its
 * path, before anything is changed; missing parts are left for serving_validate to name.
 */
#include "serving/defaults.h"

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"
#include "serving/name_template.h"
#include "serving/names.h"
#include "serving/object_types.h"
#include "serving/rules.h"

static void set_int(json_t *object, const char *key, int64_t value)
{
    REQUIRE(json_object_set_new(object, key, json_integer(value)) == 0);
}

static void set_bool(json_t *object, const char *key, bool value)
{
    REQUIRE(json_object_set_new(object, key, json_boolean(value)) == 0);
}

/* --- containers ---------------------------------------------------------------------------- */

static void default_resources(const struct serving_config *config, json_t *container)
{
    static const char *const names[RESOURCE_COUNT] = {"cpu", "memory", "ephemeral-storage"};
    json_t *resources = jobject_at(container, "resources");
    for (size_t i = 0; i < RESOURCE_COUNT; i++) {
        const char *const values[] = {config->requests[i], config->limits[i]};
        static const char *const keys[] = {"requests", "limits"};
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            if (values[k][0] != '\0' &&
                json_object_get(rule_member(resources, keys[k]), names[i]) == NULL) {
                jset_text(jobject_at(resources, keys[k]), names[i], values[k]);
            }
        }
    }
}

static void default_probes(json_t *container, bool serving)
{
    static const char *const handlers[] = {"tcpSocket", "httpGet", "exec", "grpc"};
    static const char *const probes[] = {"readinessProbe", "livenessProbe", "startupProbe"};
    json_t *probe = serving ? jobject_at(container, probes[0]) : rule_member(container, probes[0]);
    bool handled = false;
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        handled = handled || rule_member(probe, handlers[i]) != NULL;
    }
    if (serving && !handled) {
        REQUIRE(json_object_set_new(probe, "tcpSocket", json_pack("{s:i}", "port", 0)) == 0);
    }
    if (probe != NULL && rule_int(probe, "successThreshold") == 0) {
        set_int(probe, "successThreshold", 1);
    }
    if (probe != NULL && rule_int(probe, "periodSeconds") != 0) {
        if (rule_int(probe, "failureThreshold") == 0) {
            set_int(probe, "failureThreshold", 3);
        }
        if (rule_int(probe, "timeoutSeconds") == 0) {
            set_int(probe, "timeoutSeconds", 1);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        json_t *grpc = rule_member(rule_member(container, probes[i]), "grpc");
        if (grpc != NULL && rule_member(grpc, "service") == NULL) {
            jset_text(grpc, "service", "");
        }
    }
}

/* Mounts are read-only unless the volume is one to write to. */
static void default_mounts(const json_t *spec, json_t *container)
{
    size_t i;
    json_t *mount;
    json_array_foreach(json_object_get(container, "volumeMounts"), i, mount)
    {
        struct slice name = rule_text(mount, "name");
        bool writable = false;
        size_t j;
        const json_t *volume;
        json_array_foreach(json_object_get(spec, "volumes"), j, volume)
        {
            writable = writable ||
                       (rule_volume_writable(volume) && slice_eq(rule_text(volume, "name"), name));
        }
        if (!writable) {
            set_bool(mount, "readOnly", true);
        }
    }
}

/* The names that users gave, in both lists. */
static json_t *names_taken(const json_t *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    json_t *names = json_object();
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        const json_t *container;
        json_array_foreach(json_object_get(spec, lists[l]), i, container)
        {
            const json_t *name = rule_member(container, "name");
            const char *text = name == NULL ? "" : json_string_value(name);
            REQUIRE(json_object_set_new(names, text, json_true()) == 0);
        }
    }
    return names;
}

static void default_names(json_t *containers, const json_t *taken, const char *template,
                          const json_t *metadata)
{
    CLEANUP(strbuf_fini) struct strbuf base;
    strbuf_init(&base, 1024);
    name_template_print(slice_str(template), metadata, &base);
    size_t next = 0;
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        if (rule_text(container, "name").len > 0) {
            continue;
        }
        if (json_array_size(containers) == 1 && json_object_get(taken, base.ptr) == NULL) {
            jset_text(container, "name", base.ptr);
            continue;
        }
        char name[NAME_BUF];
        do {
            char suffix[24];
            snprintf(suffix, sizeof(suffix), "-%zu", next++);
            name_child(name, base.ptr, suffix);
        } while (json_object_get(taken, name) != NULL);
        jset_text(container, "name", name);
    }
}

/* --- secure-pod-defaults ------------------------------------------------------------------- */

static bool needs_low_port(const json_t *container)
{
    size_t i;
    const json_t *port;
    json_array_foreach(json_object_get(container, "ports"), i, port)
    {
        if (rule_int(port, "containerPort") < 1024) {
            return true;
        }
    }
    return false;
}

static void default_security(const struct serving_config *config, const json_t *pod,
                             json_t *container)
{
    if (!rule_secure_defaults(&config->features)) {
        return;
    }
    json_t *context = jobject_at(container, "securityContext");
    if (rule_member(context, "allowPrivilegeEscalation") == NULL) {
        set_bool(context, "allowPrivilegeEscalation", false);
    }
    if (rule_text(rule_member(pod, "seccompProfile"), "type").len == 0) {
        json_t *profile = jobject_at(context, "seccompProfile");
        if (rule_text(profile, "type").len == 0) {
            jset_text(profile, "type", "RuntimeDefault");
        }
    }
    if (rule_member(context, "capabilities") == NULL) {
        json_t *capabilities = jobject_at(context, "capabilities");
        if (needs_low_port(container)) {
            REQUIRE(json_object_set_new(capabilities, "add",
                                        json_pack("[s]", "NET_BIND_SERVICE")) == 0);
        }
        REQUIRE(json_object_set_new(capabilities, "drop", json_pack("[s]", "ALL")) == 0);
    }
    if (feature_enabled(&config->features, FEATURE_SECURE_POD_DEFAULTS) &&
        rule_member(pod, "runAsNonRoot") == NULL && rule_member(context, "runAsNonRoot") == NULL) {
        set_bool(context, "runAsNonRoot", true);
    }
}

/* --- a revision ---------------------------------------------------------------------------- */

static void default_timeouts(const struct serving_config *config, json_t *spec)
{
    if (rule_int(spec, "timeoutSeconds") == 0) {
        set_int(spec, "timeoutSeconds", config->timeout_s);
    }
    int64_t timeout_s = rule_int(spec, "timeoutSeconds");
    if (rule_member(spec, "idleTimeoutSeconds") == NULL && config->idle_timeout_s != 0 &&
        config->idle_timeout_s < timeout_s) {
        set_int(spec, "idleTimeoutSeconds", config->idle_timeout_s);
    }
    if (rule_member(spec, "responseStartTimeoutSeconds") == NULL &&
        config->response_start_timeout_s != 0 && config->response_start_timeout_s < timeout_s) {
        set_int(spec, "responseStartTimeoutSeconds", config->response_start_timeout_s);
    }
    if (rule_member(spec, "containerConcurrency") == NULL) {
        set_int(spec, "containerConcurrency", config->concurrency);
    }
}

/* metadata: of the Service or Configuration around it, for names; NULL: none. */
static void default_revision_spec(const struct serving_config *config, json_t *spec,
                                  const json_t *metadata, bool creating)
{
    json_t *containers = rule_member(spec, "containers");
    json_t *init = rule_member(spec, "initContainers");
    const json_t *pod = rule_member(spec, "securityContext");
    CLEANUP(jfree) json_t *taken = names_taken(spec);
    size_t i;
    json_t *container;
    default_timeouts(config, spec);
    default_names(containers, taken, config->container_name, metadata);
    default_names(init, taken, config->init_container_name, metadata);
    json_array_foreach(containers, i, container)
    {
        bool serving = json_array_size(containers) == 1 ||
                       json_array_size(json_object_get(container, "ports")) > 0;
        default_resources(config, container);
        default_probes(container, serving);
        default_mounts(spec, container);
        default_security(config, pod, container);
        if (creating && config->service_links_set &&
            rule_member(spec, "enableServiceLinks") == NULL) {
            set_bool(spec, "enableServiceLinks", config->service_links);
        }
    }
    json_array_foreach(init, i, container)
    {
        default_security(config, pod, container);
    }
}

/* A revision that the user named stays as it is, whatever the defaults say today. */
static bool keeps_name(const json_t *template, const json_t *old_template)
{
    struct slice name = rule_text(rule_member(template, "metadata"), "name");
    return name.len > 0 && slice_eq(name, rule_text(rule_member(old_template, "metadata"), "name"));
}

static void default_template(const struct serving_config *config, json_t *spec,
                             const json_t *old_spec, const json_t *metadata, bool creating)
{
    json_t *template = jobject_at(spec, "template");
    if (old_spec == NULL || !keeps_name(template, rule_member(old_spec, "template"))) {
        default_revision_spec(config, jobject_at(template, "spec"), metadata, creating);
    }
}

/* --- traffic ------------------------------------------------------------------------------- */

static void default_traffic(json_t *spec, bool in_service)
{
    json_t *traffic = rule_member(spec, "traffic");
    size_t i;
    json_t *target;
    if (in_service && json_array_size(traffic) == 0) {
        REQUIRE(json_object_set_new(
                    spec, "traffic",
                    json_pack("[{s:b,s:i}]", "latestRevision", 1, "percent", 100)) == 0);
        return;
    }
    json_array_foreach(traffic, i, target)
    {
        if (rule_member(target, "latestRevision") == NULL) {
            set_bool(target, "latestRevision", rule_text(target, "revisionName").len == 0);
        }
        if (rule_member(target, "percent") == NULL) {
            set_int(target, "percent", 0);
        }
    }
}

/* --- kinds --------------------------------------------------------------------------------- */

static void default_spec(const struct serving_config *config, enum object_type type, json_t *object,
                         const json_t *old_spec, bool creating, bool updating)
{
    json_t *spec = jobject_at(object, "spec");
    const json_t *metadata = rule_member(object, "metadata");
    switch (type) {
    case OBJECT_SERVICE:
        default_template(config, spec, old_spec, metadata, creating);
        default_traffic(spec, true);
        break;
    case OBJECT_CONFIGURATION:
        default_template(config, spec, old_spec, metadata, creating);
        break;
    case OBJECT_REVISION:
        if (!updating) {
            default_revision_spec(config, spec, NULL, creating);
        }
        break;
    case OBJECT_ROUTE:
        default_traffic(spec, false);
        break;
    case OBJECT_DOMAIN_MAPPING: {
        json_t *ref = jobject_at(spec, "ref");
        struct slice ns = rule_text(metadata, "namespace");
        if (rule_text(ref, "namespace").len == 0 && ns.len > 0) {
            REQUIRE(json_object_set_new(ref, "namespace", json_stringn(ns.ptr, ns.len)) == 0);
        }
        break;
    }
    case OBJECT_POD_AUTOSCALER:
    case OBJECT_OTHER:
        break;
    }
}

static void default_scaling_class(const struct serving_config *config, json_t *object)
{
    json_t *annotations = jobject_at(jobject_at(object, "metadata"), "annotations");
    if (json_object_get(annotations, ANNOTATION_CLASS) == NULL) {
        jset_text(annotations, ANNOTATION_CLASS, config->autoscaler.pod_autoscaler_class);
    }
    if (json_object_get(annotations, ANNOTATION_METRIC) == NULL) {
        struct slice class = rule_text(annotations, ANNOTATION_CLASS);
        jset_text(annotations, ANNOTATION_METRIC,
                  slice_eq_str(class, CLASS_KPA)   ? "concurrency"
                  : slice_eq_str(class, CLASS_HPA) ? "cpu"
                                                   : "");
    }
}

/* Who made it and who changed it last. A Configuration or Route that something owns is not a
 * user's. old_spec: NULL on a create. */
static void note_user(enum object_type type, json_t *object, const json_t *old_spec,
                      const char *user)
{
    bool owned =
        json_array_size(json_object_get(rule_member(object, "metadata"), "ownerReferences")) > 0;
    bool noted = type == OBJECT_SERVICE || type == OBJECT_DOMAIN_MAPPING ||
                 ((type == OBJECT_CONFIGURATION || type == OBJECT_ROUTE) && !owned);
    if (!noted || user == NULL) {
        return;
    }
    bool same = old_spec != NULL &&
                type_equal(old_spec, json_object_get(object, "spec"), object_spec_type(type));
    if (same) {
        return;
    }
    json_t *annotations = jobject_at(jobject_at(object, "metadata"), "annotations");
    if (old_spec == NULL) {
        jset_text(annotations, ANNOTATION_CREATOR, user);
    }
    jset_text(annotations, ANNOTATION_LAST_MODIFIER, user);
}

int serving_default_request(const struct serving_config *config,
                            const struct serving_request *request, json_t *object,
                            struct error *err)
{
    enum object_type type = object_type(request->kind);
    bool updating = request->old != NULL;
    if (type == OBJECT_OTHER) {
        return 0;
    }
    int rc = object_check_types(type, object, err);
    if (rc < 0) {
        return rc;
    }
    /* What is stored counts as it would be defaulted today: the user changed nothing there. */
    CLEANUP(jfree) json_t *old = NULL;
    if (updating && object_check_types(type, request->old, NULL) == 0) {
        old = json_deep_copy(request->old);
        type_normalise(jobject_at(old, "spec"), object_spec_type(type));
        default_spec(config, type, old, NULL, false, false);
    }
    const json_t *old_spec = rule_member(old, "spec");
    type_normalise(jobject_at(object, "spec"), object_spec_type(type));
    default_spec(config, type, object, old_spec, !updating, updating);
    if (type == OBJECT_POD_AUTOSCALER) {
        default_scaling_class(config, object);
    }
    note_user(type, object, old_spec, request->user);
    return 0;
}

int serving_default(const struct serving_config *config, const struct kind *kind, json_t *object,
                    const json_t *old, struct error *err)
{
    struct serving_request request = {.kind = kind, .old = old};
    return serving_default_request(config, &request, object, err);
}
