// SPDX-License-Identifier: Apache-2.0

/* Plan: one constant table per type that has such a list, from the leaves up to the kinds. */

#include "local/api/strategic_fields.h"

#include <string.h>

#define TYPE(fields)              \
    {                             \
        fields, ARRAY_LEN(fields) \
    }
#define MERGED(name, key, type) \
    {                           \
        name, true, key, type   \
    }
#define INSIDE(name, type)      \
    {                           \
        name, false, NULL, type \
    }

static const struct strategic_field metadata_fields[] = {
    MERGED("ownerReferences", "uid", NULL),
    MERGED("finalizers", NULL, NULL),
};
static const struct strategic_type metadata = TYPE(metadata_fields);

static const struct strategic_field conditions_fields[] = {MERGED("conditions", "type", NULL)};
static const struct strategic_type conditions = TYPE(conditions_fields);

/* --- Pods ---------------------------------------------------------------------------------- */

static const struct strategic_field container_fields[] = {
    MERGED("ports", "containerPort", NULL),
    MERGED("env", "name", NULL),
    MERGED("volumeMounts", "mountPath", NULL),
    MERGED("volumeDevices", "devicePath", NULL),
};
static const struct strategic_type container = TYPE(container_fields);

static const struct strategic_field pod_spec_fields[] = {
    MERGED("volumes", "name", NULL),
    MERGED("initContainers", "name", &container),
    MERGED("containers", "name", &container),
    MERGED("ephemeralContainers", "name", &container),
    MERGED("imagePullSecrets", "name", NULL),
    MERGED("hostAliases", "ip", NULL),
    MERGED("topologySpreadConstraints", "topologyKey", NULL),
    MERGED("resourceClaims", "name", NULL),
    MERGED("schedulingGates", "name", NULL),
};
static const struct strategic_type pod_spec = TYPE(pod_spec_fields);

static const struct strategic_field pod_status_fields[] = {
    MERGED("conditions", "type", NULL),
    MERGED("podIPs", "ip", NULL),
    MERGED("hostIPs", "ip", NULL),
    MERGED("resourceClaimStatuses", "name", NULL),
};
static const struct strategic_type pod_status = TYPE(pod_status_fields);

static const struct strategic_field pod_fields[] = {
    INSIDE("metadata", &metadata), INSIDE("spec", &pod_spec), INSIDE("status", &pod_status)};
static const struct strategic_type pod = TYPE(pod_fields);

static const struct strategic_field template_fields[] = {INSIDE("metadata", &metadata),
                                                         INSIDE("spec", &pod_spec)};
static const struct strategic_type template = TYPE(template_fields);

static const struct strategic_field deployment_spec_fields[] = {INSIDE("template", &template)};
static const struct strategic_type deployment_spec = TYPE(deployment_spec_fields);

static const struct strategic_field deployment_fields[] = {
    INSIDE("metadata", &metadata), INSIDE("spec", &deployment_spec), INSIDE("status", &conditions)};
static const struct strategic_type deployment = TYPE(deployment_fields);

/* --- the rest ------------------------------------------------------------------------------ */

static const struct strategic_field service_spec_fields[] = {MERGED("ports", "port", NULL)};
static const struct strategic_type service_spec = TYPE(service_spec_fields);

static const struct strategic_field service_fields[] = {
    INSIDE("metadata", &metadata), INSIDE("spec", &service_spec), INSIDE("status", &conditions)};
static const struct strategic_type service = TYPE(service_fields);

static const struct strategic_field namespace_fields[] = {INSIDE("metadata", &metadata),
                                                          INSIDE("status", &conditions)};
static const struct strategic_type namespace = TYPE(namespace_fields);

/* Of a ServiceAccount the secrets; the other kinds have no such field. */
static const struct strategic_field plain_fields[] = {INSIDE("metadata", &metadata),
                                                      MERGED("secrets", "name", NULL)};
static const struct strategic_type plain = TYPE(plain_fields);

const struct strategic_type *strategic_type_of(enum kind_id id)
{
    const struct kind *kind = kind_row(id);
    if (strcmp(kind->group, "apps") == 0) {
        return &deployment;
    }
    if (kind->group[0] != '\0') {
        return NULL; /* a custom resource on Kubernetes */
    }
    if (id == KIND_POD) {
        return &pod;
    }
    if (id == KIND_CORE_SERVICE) {
        return &service;
    }
    return id == KIND_NAMESPACE ? &namespace : &plain;
}

const struct strategic_field *strategic_field_of(const struct strategic_type *type,
                                                 const char *name)
{
    for (size_t i = 0; type != NULL && i < type->count; i++) {
        if (strcmp(type->fields[i].name, name) == 0) {
            return &type->fields[i];
        }
    }
    return NULL;
}
