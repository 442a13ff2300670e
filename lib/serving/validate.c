// SPDX-License-Identifier: Apache-2.0
/*
 * The rules that an object must obey, in Knative's words. Happy path: 0. Failure mode: ERR_INVALID
 * with the first broken rule and its path. No rule reads anything but the objects at hand.
 */
#include "base/map.h"
#include "base/num.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "serving/autoscaler_json.h"
#include "serving/defaults.h"
#include "serving/domain_mapping.h"
#include "serving/names.h"
#include "serving/traffic.h"

enum { PATH_MAX_LEN = 200 };

static int missing(struct error *err, const char *path, const char *field)
{
    return error_set(err, ERR_INVALID, "missing field(s): %s.%s", path, field);
}

static int check_name(const json_t *object, struct error *err)
{
    const char *name = jpeek_cstr(object, "metadata.name");
    if (name[0] == '\0') {
        return jpeek_str(object, "metadata.generateName").len > 0
                   ? 0
                   : error_set(err, ERR_INVALID, "name or generateName is required: metadata.name");
    }
    if (!name_is_dns1035(name)) {
        return error_set(err, ERR_INVALID,
                         "not a DNS 1035 label: [a DNS-1035 label must consist of lower case "
                         "alphanumeric characters or '-', start with an alphabetic character, and "
                         "end with an alphanumeric character]: metadata.name");
    }
    return 0;
}

/* --- annotations
 * --------------------------------------------------------------------------------------- */

static int check_outer_annotations(const json_t *object, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(jpeek_obj(object, "metadata.annotations"), key, value)
    {
        if (strncmp(key, AUTOSCALING_PREFIX, strlen(AUTOSCALING_PREFIX)) == 0) {
            return error_set(err, ERR_INVALID,
                             "invalid key name \"%s\": metadata.annotations: autoscaling "
                             "annotations must be put under spec.template.metadata.annotations to "
                             "work",
                             key);
        }
    }
    return 0;
}

/* --- containers
 * ------------------------------------------------------------------------------------------ */

static int check_port(const json_t *port, const char *path, struct error *err)
{
    static const int reserved[] = {8012, 8013, 8022, 9090, 9091, 8008};
    int64_t number = jpeek_i64(port, "containerPort");
    struct slice name = jpeek_str(port, "name");
    struct slice protocol = jpeek_str(port, "protocol");
    if (number < 0 || number > 65535) {
        return error_set(err, ERR_INVALID, "expected 0 <= %lld <= 65535: %s.containerPort",
                         (long long)number, path);
    }
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (number == reserved[i]) {
            return error_set(err, ERR_INVALID, "%lld is a reserved port: %s.containerPort",
                             (long long)number, path);
        }
    }
    if (name.len > 0 && !slice_eq_str(name, "http1") && !slice_eq_str(name, "h2c") &&
        !slice_eq_str(name, "user-port")) {
        return error_set(err, ERR_INVALID,
                         "Port name %.*s is not allowed: %s.name: Name must be empty, or one of: "
                         "'h2c', 'http1'",
                         SLICE_FMT(name), path);
    }
    if (protocol.len > 0 && !slice_eq_str(protocol, "TCP")) {
        return error_set(err, ERR_INVALID, "invalid value: %.*s: %s.protocol", SLICE_FMT(protocol),
                         path);
    }
    return 0;
}

static int check_env(const json_t *container, const char *path, struct error *err)
{
    static const char *const reserved[] = {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"};
    size_t i;
    const json_t *env;
    json_array_foreach(json_object_get(container, "env"), i, env)
    {
        struct slice name = jpeek_str(env, "name");
        if (name.len == 0) {
            return error_set(err, ERR_INVALID, "missing field(s): %s.env[%zu].name", path, i);
        }
        for (size_t r = 0; r < ARRAY_LEN(reserved); r++) {
            if (slice_eq_str(name, reserved[r])) {
                return error_set(err, ERR_INVALID,
                                 "\"%s\" is a reserved environment variable: "
                                 "%s.env[%zu].name",
                                 reserved[r], path, i);
            }
        }
    }
    return 0;
}

static int check_container(const json_t *container, const char *path, size_t *ports,
                           struct error *err)
{
    char port_path[PATH_MAX_LEN + 16];
    if (!json_is_object(container)) {
        return error_set(err, ERR_INVALID, "%s: must be an object, is %s", path,
                         jtype_name(container));
    }
    struct slice name = jpeek_str(container, "name");
    if (slice_eq_str(name, QUEUE_CONTAINER_NAME)) {
        return error_set(err, ERR_INVALID, "%s is a reserved container name: %s.name",
                         QUEUE_CONTAINER_NAME, path);
    }
    if (jpeek_str(container, "image").len == 0) {
        return missing(err, path, "image");
    }
    static const char *const refused[] = {"lifecycle", "stdin", "stdinOnce", "tty",
                                          "volumeDevices"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (json_object_get(container, refused[i]) != NULL) {
            return error_set(err, ERR_INVALID, "must not set the field(s): %s.%s", path,
                             refused[i]);
        }
    }
    const json_t *list = json_object_get(container, "ports");
    if (json_array_size(list) > 1) {
        return error_set(err, ERR_INVALID, "more than one container port is set: %s.ports", path);
    }
    *ports += json_array_size(list);
    if (json_array_size(list) == 1) {
        snprintf(port_path, sizeof(port_path), "%s.ports[0]", path);
        int rc = check_port(json_array_get(list, 0), port_path, err);
        if (rc < 0) {
            return rc;
        }
    }
    return check_env(container, path, err);
}

static int check_containers(const json_t *spec, const char *path, struct error *err)
{
    const json_t *containers = json_object_get(spec, "containers");
    char item[PATH_MAX_LEN];
    size_t ports = 0;
    size_t i;
    const json_t *container;
    if (!json_is_array(containers) || json_array_size(containers) == 0) {
        return missing(err, path, "containers");
    }
    json_array_foreach(containers, i, container)
    {
        snprintf(item, sizeof(item), "%s.containers[%zu]", path, i);
        int rc = check_container(container, item, &ports, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (json_array_size(containers) > 1 && ports == 0) {
        return missing(err, path, "containers.ports");
    }
    if (ports > 1) {
        return error_set(err, ERR_INVALID, "more than one container port is set: %s.containers",
                         path);
    }
    return 0;
}

/* --- the revision's own numbers
 * ------------------------------------------------------------------------------ */

static int check_range(const json_t *spec, const char *path, const char *key, int64_t min,
                       int64_t max, struct error *err)
{
    const json_t *value = json_object_get(spec, key);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < min || n > max) {
        return error_set(err, ERR_INVALID, "expected %lld <= %lld <= %lld: %s.%s", (long long)min,
                         (long long)n, (long long)max, path, key);
    }
    return 0;
}

static int check_revision_spec(const struct serving_config *config, const json_t *spec,
                               const char *path, struct error *err)
{
    if (!json_is_object(spec)) {
        return error_set(err, ERR_INVALID, "missing field(s): %s", path);
    }
    int rc = check_containers(spec, path, err);
    if (rc == 0) {
        rc = check_range(spec, path, "timeoutSeconds", 0, config->max_timeout_s, err);
    }
    int64_t timeout_s = jpeek_i64(spec, "timeoutSeconds");
    if (rc == 0) {
        rc = check_range(spec, path, "responseStartTimeoutSeconds", 0, timeout_s, err);
    }
    if (rc == 0) {
        rc = check_range(spec, path, "idleTimeoutSeconds", 0, timeout_s, err);
    }
    if (rc == 0) {
        rc = check_range(spec, path, "containerConcurrency", config->allow_concurrency_zero ? 0 : 1,
                         config->max_concurrency, err);
    }
    return rc;
}

/* A name for the revision that the user chose. */
static int check_byo_name(const json_t *object, const json_t *old, struct error *err)
{
    const char *name = jpeek_cstr(object, "spec.template.metadata.name");
    const char *parent = jpeek_cstr(object, "metadata.name");
    size_t len = strlen(parent);
    if (name[0] == '\0') {
        return 0;
    }
    if (!name_is_dns1035(name)) {
        return error_set(err, ERR_INVALID, "not a DNS 1035 label: %s: spec.template.metadata.name",
                         name);
    }
    if (strncmp(name, parent, len) != 0 || name[len] != '-') {
        return error_set(err, ERR_INVALID,
                         "\"%s\" must have prefix \"%s-\": spec.template.metadata.name", name,
                         parent);
    }
    if (old != NULL && slice_eq_str(jpeek_str(old, "spec.template.metadata.name"), name) &&
        !jequal(jget(object, "spec.template"), jget(old, "spec.template"))) {
        return error_set(err, ERR_INVALID,
                         "Saw the following changes without a name change (-old +new): "
                         "spec.template.metadata.name");
    }
    return 0;
}

static int check_template(const struct serving_config *config, const json_t *object,
                          const json_t *old, struct error *err)
{
    int rc = 0;
    if (jpeek_obj(object, "spec.template") == NULL) {
        return error_set(err, ERR_INVALID, "missing field(s): spec.template");
    }
    rc = check_revision_spec(config, jget(object, "spec.template.spec"), "spec.template.spec", err);
    if (rc == 0) {
        rc = autoscaler_annotations_validate(
            jpeek_obj(object, "spec.template.metadata.annotations"), &config->autoscaler,
            "spec.template.metadata.annotations", err);
    }
    return rc == 0 ? check_byo_name(object, old, err) : rc;
}

/* --- kinds
 * ------------------------------------------------------------------------------------------------------
 */

static int validate_service(const struct serving_config *config, const json_t *object,
                            const json_t *old, struct error *err)
{
    int rc = check_template(config, object, old, err);
    const json_t *traffic = jget(object, "spec.traffic");
    size_t i;
    const json_t *target;
    if (rc == 0) {
        rc = traffic_validate(traffic, "spec.traffic", err);
    }
    json_array_foreach(traffic, i, target)
    {
        if (rc == 0 && jpeek_str(target, "configurationName").len > 0) {
            rc = error_set(err, ERR_INVALID,
                           "must not set the field(s): spec.traffic[%zu].configurationName", i);
        }
    }
    return rc;
}

static int validate_route(const json_t *object, struct error *err)
{
    const json_t *traffic = jget(object, "spec.traffic");
    int rc = traffic_validate(traffic, "spec.traffic", err);
    size_t i;
    const json_t *target;
    json_array_foreach(traffic, i, target)
    {
        if (rc == 0 && jpeek_str(target, "configurationName").len == 0 &&
            jpeek_str(target, "revisionName").len == 0) {
            rc =
                error_set(err, ERR_INVALID,
                          "expected exactly one, got neither: spec.traffic[%zu].configurationName, "
                          "spec.traffic[%zu].revisionName",
                          i, i);
        }
    }
    return rc;
}

static int validate_revision(const struct serving_config *config, const json_t *object,
                             const json_t *old, struct error *err)
{
    if (old != NULL) {
        return jequal(jget(object, "spec"), jget(old, "spec"))
                   ? 0
                   : error_set(err, ERR_INVALID, "Immutable fields changed (-old +new): spec");
    }
    return check_revision_spec(config, jget(object, "spec"), "spec", err);
}

int serving_validate(const struct serving_config *config, const struct kind *kind,
                     const json_t *object, const json_t *old, struct error *err)
{
    bool ours = kind->id == KIND_SERVICE || kind->id == KIND_CONFIGURATION ||
                kind->id == KIND_ROUTE || kind->id == KIND_REVISION;
    if (kind->id == KIND_DOMAINMAPPING) {
        return domain_mapping_validate(object, err);
    }
    if (kind->id == KIND_CLUSTERDOMAINCLAIM) {
        return domain_claim_validate(object, err);
    }
    if (!ours) {
        return 0;
    }
    int rc = check_name(object, err);
    if (rc == 0 && kind->id != KIND_REVISION) {
        rc = check_outer_annotations(object, err);
    }
    if (rc < 0) {
        return rc;
    }
    switch ((int)kind->id) {
    case KIND_SERVICE:
        return validate_service(config, object, old, err);
    case KIND_CONFIGURATION:
        return check_template(config, object, old, err);
    case KIND_ROUTE:
        return validate_route(object, err);
    default:
        return validate_revision(config, object, old, err);
    }
}
