// SPDX-License-Identifier: Apache-2.0
/* Rules of security contexts, and what is told about values that Kubernetes leaves unsafe. */
#include "serving/rules.h"

static void check_ids(struct rules *r, const json_t *context, const char *const *fields)
{
    for (; *fields != NULL; fields++) {
        int64_t id = rule_int(context, *fields);
        if (id < 0 || id > INT32_MAX) {
            problem_bounds(r->p, *fields, id, 0, INT32_MAX);
        }
    }
}

/* The one capability that may be added under secure defaults. */
static bool only_low_ports(const json_t *add)
{
    return json_array_size(add) == 1 &&
           slice_eq_str(slice_str(json_string_value(json_array_get(add, 0))), "NET_BIND_SERVICE");
}

static bool capability_field(const struct rules *r, const json_t *capabilities, const char *field)
{
    return strcmp(field, "drop") == 0 || rule_on(r, FEATURE_ADD_CAPABILITIES) ||
           (rule_secure_defaults(&r->config->features) &&
            only_low_ports(json_object_get(capabilities, "add")));
}

static bool context_field(const struct rules *r, const json_t *context, const char *field)
{
    static const char *const allowed[] = {
        "capabilities", "readOnlyRootFilesystem",   "runAsUser",      "runAsGroup",
        "runAsNonRoot", "allowPrivilegeEscalation", "seccompProfile",
    };
    (void)r;
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        if (strcmp(allowed[i], field) == 0) {
            return true;
        }
    }
    return strcmp(field, "privileged") == 0 && !rule_true(context, field);
}

void rules_security_context(struct rules *r, const json_t *context)
{
    static const char *const ids[] = {"runAsUser", "runAsGroup", NULL};
    if (context == NULL) {
        return;
    }
    rule_only_if(r, context, TYPE_SecurityContext, context_field);
    check_ids(r, context, ids);
    size_t mark = problems_mark(r->p);
    rule_only_if(r, rule_member(context, "capabilities"), TYPE_Capabilities, capability_field);
    problems_via(r->p, mark, "capabilities");
}

/* A profile that says no more than its type, and one of two types. */
static bool plain_profile(const json_t *profile)
{
    struct slice type = rule_text(profile, "type");
    return rule_member(profile, "localhostProfile") == NULL &&
           (slice_eq_str(type, "RuntimeDefault") || slice_eq_str(type, "Unconfined"));
}

static bool pod_context_field(const struct rules *r, const json_t *context, const char *field)
{
    static const char *const allowed[] = {"runAsUser", "runAsGroup",         "runAsNonRoot",
                                          "fsGroup",   "supplementalGroups", "seccompProfile"};
    if (!rule_open(r, FEATURE_SECURITY_CONTEXT)) {
        return strcmp(field, "seccompProfile") == 0 && rule_secure_defaults(&r->config->features) &&
               plain_profile(rule_member(context, field));
    }
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        if (strcmp(allowed[i], field) == 0) {
            return true;
        }
    }
    return false;
}

void rules_pod_security_context(struct rules *r, const json_t *context)
{
    static const char *const ids[] = {"runAsUser", "runAsGroup", "fsGroup", NULL};
    size_t i;
    const json_t *group;
    if (context == NULL) {
        return;
    }
    rule_only_if(r, context, TYPE_PodSecurityContext, pod_context_field);
    check_ids(r, context, ids);
    json_array_foreach(json_object_get(context, "supplementalGroups"), i, group)
    {
        int64_t id = json_integer_value(group);
        if (id < 0 || id > INT32_MAX) {
            size_t mark = problems_mark(r->p);
            problem_bounds(r->p, "", id, 0, INT32_MAX);
            problems_via_index(r->p, mark, i);
            problems_via(r->p, mark, "supplementalGroups");
        }
    }
}

static void warn(struct rules *r, const char *field)
{
    problem_add(r->p, field,
                "Kubernetes default value is insecure, Knative may default this to secure in a "
                "future release");
    problem_warns(r->p);
}

static void warn_of_profile(struct rules *r, const json_t *pod, const json_t *context)
{
    const json_t *outer = rule_member(pod, "seccompProfile");
    const json_t *inner = rule_member(context, "seccompProfile");
    if (outer == NULL && inner == NULL) {
        warn(r, "seccompProfile");
    } else if (rule_text(outer, "type").len == 0 && rule_text(inner, "type").len == 0) {
        warn(r, "seccompProfile.type");
    }
}

void rules_security_warnings(struct rules *r, const json_t *pod, const json_t *context)
{
    const json_t *capabilities = rule_member(context, "capabilities");
    const json_t *drop = rule_member(capabilities, "drop");
    if (r->config->processes || rule_secure_defaults(&r->config->features)) {
        return;
    }
    if (rule_member(pod, "runAsNonRoot") == NULL && rule_member(context, "runAsNonRoot") == NULL) {
        warn(r, "runAsNonRoot");
    }
    if (rule_member(context, "allowPrivilegeEscalation") == NULL) {
        warn(r, "allowPrivilegeEscalation");
    }
    warn_of_profile(r, pod, context);
    if (capabilities == NULL) {
        warn(r, "capabilities");
    } else if (json_array_size(drop) == 0) {
        warn(r, "capabilities.drop");
    } else if (slice_eq_str(slice_str(json_string_value(json_array_get(drop, 0))), "all")) {
        problem_invalid(r->p, "capabilities.drop", SLICE_LIT("all"));
        problem_details(r->p, "Must be spelled as 'ALL'");
        problem_warns(r->p);
    }
}
