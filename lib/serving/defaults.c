// SPDX-License-Identifier: Apache-2.0
/*
 * What an object leaves open is filled in here, as Knative's webhook does.
 * Happy path: Service, Configuration and Revision get their pod template completed, Service and
 * Route their traffic. Failure modes: a shape that cannot be completed (a list where an object
 * belongs) is ERR_INVALID with its path; missing parts are left for serving_validate to name.
 */
#include "serving/defaults.h"

#include "base/num.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "serving/domain_mapping.h"
#include "serving/names.h"

enum {
    TIMEOUT_S = 300,
    TIMEOUT_MAX_S = 600,
    CONCURRENCY_MAX = 1000,
};

void serving_config_init(struct serving_config *config)
{
    *config = (struct serving_config){
        .timeout_s = TIMEOUT_S,
        .max_timeout_s = TIMEOUT_MAX_S,
        .max_concurrency = CONCURRENCY_MAX,
        .allow_concurrency_zero = true,
    };
    autoscaler_config_default(&config->autoscaler);
}

static int read_int(const json_t *data, const char *key, int64_t min, int64_t *out,
                    struct error *err)
{
    const json_t *value = json_object_get(data, key);
    if (value == NULL) {
        return 0;
    }
    int rc = num_parse_i64(slice_str(json_string_value(value)), min, INT64_C(1) << 31, out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", key) : 0;
}

int serving_config_read(struct serving_config *config, const json_t *data, struct error *err)
{
    struct serving_config next = *config;
    int rc = read_int(data, "revision-timeout-seconds", 1, &next.timeout_s, err);
    if (rc == 0) {
        rc = read_int(data, "max-revision-timeout-seconds", 1, &next.max_timeout_s, err);
    }
    if (rc == 0) {
        rc = read_int(data, "revision-response-start-timeout-seconds", 0,
                      &next.response_start_timeout_s, err);
    }
    if (rc == 0) {
        rc = read_int(data, "revision-idle-timeout-seconds", 0, &next.idle_timeout_s, err);
    }
    if (rc == 0) {
        rc = read_int(data, "container-concurrency", 0, &next.concurrency, err);
    }
    if (rc == 0) {
        rc = read_int(data, "container-concurrency-max-limit", 1, &next.max_concurrency, err);
    }
    const json_t *zero = json_object_get(data, "allow-container-concurrency-zero");
    if (rc == 0 && zero != NULL) {
        rc = num_parse_bool(slice_str(json_string_value(zero)), &next.allow_concurrency_zero, err);
        rc = rc < 0 ? error_prefix(err, rc, "allow-container-concurrency-zero") : 0;
    }
    if (rc == 0 && next.timeout_s > next.max_timeout_s) {
        rc = error_set(err, ERR_INVALID,
                       "revision-timeout-seconds (%lld) is above max-revision-timeout-seconds "
                       "(%lld)",
                       (long long)next.timeout_s, (long long)next.max_timeout_s);
    }
    if (rc == 0) {
        *config = next;
    }
    return rc;
}

/* --- the pod template
 * ------------------------------------------------------------------------------ */

static void set_int(json_t *object, const char *key, int64_t value)
{
    json_object_set_new(object, key, json_integer(value));
}

static bool absent(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL || json_is_null(value);
}

static void default_probe(json_t *container)
{
    json_t *probe = json_object_get(container, "readinessProbe");
    if (!json_is_object(probe)) {
        if (!absent(container, "readinessProbe")) {
            return; /* of a wrong type: validation says so */
        }
        json_object_set_new(container, "readinessProbe", json_object());
        probe = json_object_get(container, "readinessProbe");
    }
    if (absent(probe, "httpGet") && absent(probe, "tcpSocket") && absent(probe, "exec") &&
        absent(probe, "grpc")) {
        json_object_set_new(probe, "tcpSocket", json_pack("{s:i}", "port", 0));
    }
    if (jpeek_i64(probe, "successThreshold") == 0) {
        set_int(probe, "successThreshold", 1);
    }
    if (jpeek_i64(probe, "periodSeconds") != 0) {
        if (jpeek_i64(probe, "failureThreshold") == 0) {
            set_int(probe, "failureThreshold", 3);
        }
        if (jpeek_i64(probe, "timeoutSeconds") == 0) {
            set_int(probe, "timeoutSeconds", 1);
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
        size_t j;
        const json_t *volume;
        json_array_foreach(json_object_get(spec, "volumes"), j, volume)
        {
            bool same = slice_eq(jpeek_str(volume, "name"), jpeek_str(mount, "name"));
            if (same && absent(volume, "emptyDir") && absent(volume, "persistentVolumeClaim") &&
                absent(volume, "ephemeral") && json_is_object(mount)) {
                json_object_set_new(mount, "readOnly", json_true());
            }
        }
    }
}

static bool name_taken(const json_t *containers, const char *name)
{
    size_t i;
    const json_t *container;
    json_array_foreach(containers, i, container)
    {
        if (slice_eq_str(jpeek_str(container, "name"), name)) {
            return true;
        }
    }
    return false;
}

static void default_container_name(const json_t *containers, json_t *container, size_t *next)
{
    char name[NAME_BUF];
    if (jpeek_str(container, "name").len > 0) {
        return;
    }
    bool alone = json_array_size(containers) == 1;
    snprintf(name, sizeof(name), alone ? USER_CONTAINER_NAME : USER_CONTAINER_NAME "-%zu", *next);
    while (name_taken(containers, name)) {
        snprintf(name, sizeof(name), USER_CONTAINER_NAME "-%zu", ++*next);
    }
    ++*next;
    json_object_set_new(container, "name", json_string(name));
}

static int default_containers(json_t *spec, const char *path, struct error *err)
{
    json_t *containers = json_object_get(spec, "containers");
    size_t next = 0;
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        if (!json_is_object(container)) {
            return error_set(err, ERR_INVALID, "%s.containers[%zu]: must be an object, is %s", path,
                             i, jtype_name(container));
        }
        default_container_name(containers, container, &next);
        if (absent(container, "resources")) {
            json_object_set_new(container, "resources", json_object());
        }
        if (json_array_size(containers) == 1 || jpeek_arr(container, "ports") != NULL) {
            default_probe(container);
        }
        default_mounts(spec, container);
    }
    return 0;
}

static int default_revision_spec(const struct serving_config *config, json_t *spec,
                                 const char *path, bool creating, struct error *err)
{
    if (jpeek_i64(spec, "timeoutSeconds") == 0 &&
        (absent(spec, "timeoutSeconds") ||
         json_is_integer(json_object_get(spec, "timeoutSeconds")))) {
        set_int(spec, "timeoutSeconds", config->timeout_s);
    }
    int64_t timeout_s = jpeek_i64(spec, "timeoutSeconds");
    if (absent(spec, "responseStartTimeoutSeconds") && config->response_start_timeout_s != 0 &&
        config->response_start_timeout_s < timeout_s) {
        set_int(spec, "responseStartTimeoutSeconds", config->response_start_timeout_s);
    }
    if (absent(spec, "idleTimeoutSeconds") && config->idle_timeout_s != 0 &&
        config->idle_timeout_s < timeout_s) {
        set_int(spec, "idleTimeoutSeconds", config->idle_timeout_s);
    }
    if (absent(spec, "containerConcurrency")) {
        set_int(spec, "containerConcurrency", config->concurrency);
    }
    if (creating && absent(spec, "enableServiceLinks")) {
        json_object_set_new(spec, "enableServiceLinks", json_false());
    }
    return default_containers(spec, path, err);
}

/* The same named revision stays as it is, whatever the defaults say today. */
static bool same_named_revision(const json_t *object, const json_t *old)
{
    struct slice name = jpeek_str(object, "spec.template.metadata.name");
    return old != NULL && name.len > 0 &&
           slice_eq(name, jpeek_str(old, "spec.template.metadata.name")) &&
           jequal(jget(object, "spec.template"), jget(old, "spec.template"));
}

static int default_template(const struct serving_config *config, json_t *object, const json_t *old,
                            struct error *err)
{
    json_t *spec = jpeek_obj(object, "spec.template.spec");
    if (spec == NULL || same_named_revision(object, old)) {
        return 0;
    }
    return default_revision_spec(config, spec, "spec.template.spec", old == NULL, err);
}

/* --- traffic
 * ----------------------------------------------------------------------------------------- */

static void default_traffic(json_t *object, bool fill)
{
    json_t *spec = json_object_get(object, "spec");
    if (!json_is_object(spec)) {
        return;
    }
    json_t *traffic = json_object_get(spec, "traffic");
    if (fill &&
        (absent(spec, "traffic") || (json_is_array(traffic) && json_array_size(traffic) == 0))) {
        json_object_set_new(spec, "traffic",
                            json_pack("[{s:b,s:i}]", "latestRevision", 1, "percent", 100));
        return;
    }
    size_t i;
    json_t *target;
    json_array_foreach(traffic, i, target)
    {
        if (json_is_object(target) && absent(target, "latestRevision")) {
            bool named = jpeek_str(target, "revisionName").len > 0;
            json_object_set_new(target, "latestRevision", json_boolean(!named));
        }
    }
}

int serving_default(const struct serving_config *config, const struct kind *kind, json_t *object,
                    const json_t *old, struct error *err)
{
    if (!json_is_object(object)) {
        return error_set(err, ERR_INVALID, "must be an object, is %s", jtype_name(object));
    }
    switch ((int)kind->id) {
    case KIND_SERVICE:
        default_traffic(object, true);
        return default_template(config, object, old, err);
    case KIND_CONFIGURATION:
        return default_template(config, object, old, err);
    case KIND_ROUTE:
        default_traffic(object, false);
        return 0;
    case KIND_REVISION: {
        json_t *spec = jpeek_obj(object, "spec");
        return old == NULL && spec != NULL ? default_revision_spec(config, spec, "spec", true, err)
                                           : 0;
    }
    case KIND_DOMAINMAPPING:
        domain_mapping_default(object);
        return 0;
    default:
        return 0;
    }
}
