// SPDX-License-Identifier: Apache-2.0
/* A table of kinds by their names, so that no kind needs to be known to the table of the API. */
#include "serving/object_types.h"

#include "json/jget.h"

static const struct {
    const char *group;
    const char *kind;
    enum type_id spec;
} rows[OBJECT_OTHER] = {
    [OBJECT_SERVICE] = {"serving.knative.dev", "Service", TYPE_ServiceSpec},
    [OBJECT_CONFIGURATION] = {"serving.knative.dev", "Configuration", TYPE_ConfigurationSpec},
    [OBJECT_REVISION] = {"serving.knative.dev", "Revision", TYPE_RevisionSpec},
    [OBJECT_ROUTE] = {"serving.knative.dev", "Route", TYPE_RouteSpec},
    [OBJECT_POD_AUTOSCALER] = {"autoscaling.internal.knative.dev", "PodAutoscaler",
                               TYPE_PodAutoscalerSpec},
    [OBJECT_DOMAIN_MAPPING] = {"serving.knative.dev", "DomainMapping", TYPE_DomainMappingSpec},
};

enum object_type object_type(const struct kind *kind)
{
    size_t i = 0;
    while (i < OBJECT_OTHER &&
           (strcmp(rows[i].group, kind->group) != 0 || strcmp(rows[i].kind, kind->kind) != 0)) {
        i++;
    }
    return (enum object_type)i;
}

enum type_id object_spec_type(enum object_type type)
{
    return rows[type].spec;
}

static int check_part(const json_t *object, const char *key, enum type_id type, struct error *err)
{
    const json_t *part = json_object_get(object, key);
    return part == NULL || json_is_null(part) ? 0 : type_check(part, type, key, err);
}

int object_check_types(enum object_type type, const json_t *object, struct error *err)
{
    if (!json_is_object(object)) {
        return error_set(err, ERR_INVALID, "must be an object, is %s", jtype_name(object));
    }
    int rc = check_part(object, "metadata", TYPE_ObjectMeta, err);
    return rc < 0 ? rc : check_part(object, "spec", rows[type].spec, err);
}
