// SPDX-License-Identifier: Apache-2.0
/* Rules of a container's environment. */
#include "base/mem.h"
#include "serving/gotext.h"
#include "serving/rules.h"

static void check_source(struct rules *r, const json_t *source)
{
    static const char *const allowed[] = {"configMapKeyRef", "secretKeyRef", NULL};
    static const char *const more[] = {"configMapKeyRef", "secretKeyRef", "fieldRef",
                                       "resourceFieldRef", NULL};
    size_t mark = problems_mark(r->p);
    rule_only(r, source, TYPE_EnvVarSource, rule_open(r, FEATURE_FIELD_REF) ? more : allowed);
    problems_via(r->p, mark, "valueFrom");
}

static bool reserved(struct slice name, enum container_role role)
{
    bool beside = role == CONTAINER_SIDECAR || role == CONTAINER_INIT; /* these may have a PORT */
    return (!beside && slice_eq_str(name, "PORT")) || slice_eq_str(name, "K_SERVICE") ||
           slice_eq_str(name, "K_CONFIGURATION") || slice_eq_str(name, "K_REVISION");
}

void rules_env(struct rules *r, const json_t *container, enum container_role role)
{
    static const char *const allowed[] = {"name", "value", "valueFrom", NULL};
    size_t start = problems_mark(r->p);
    size_t i;
    const json_t *env;
    json_array_foreach(json_object_get(container, "env"), i, env)
    {
        struct slice name = rule_text(env, "name");
        size_t mark = problems_mark(r->p);
        rule_only(r, env, TYPE_EnvVar, allowed);
        if (name.len == 0) {
            problem_missing(r->p, "name");
        } else if (reserved(name, role)) {
            CLEANUP(cleanup_free) char *quoted = go_quoted(name);
            problem_add(r->p, "name", "%s is a reserved environment variable", quoted);
        }
        check_source(r, rule_member(env, "valueFrom"));
        problems_via_index(r->p, mark, i);
    }
    problems_via(r->p, start, "env");
}

/* As in the reference, what is found of one entry also stands in the paths of those before it. */
void rules_env_from(struct rules *r, const json_t *container)
{
    static const char *const allowed[] = {"prefix", "configMapRef", "secretRef", NULL};
    size_t start = problems_mark(r->p);
    size_t i;
    const json_t *source;
    json_array_foreach(json_object_get(container, "envFrom"), i, source)
    {
        bool secret = rule_member(source, "secretRef") != NULL;
        bool config_map = rule_member(source, "configMapRef") != NULL;
        size_t mark = problems_mark(r->p);
        rule_only(r, source, TYPE_EnvFromSource, allowed);
        problems_via_index(r->p, mark, i);
        if (secret) {
            problems_via_index(r->p, start, i);
            problems_via(r->p, start, "secretRef");
        }
        if (config_map) {
            problems_via_index(r->p, start, i);
            problems_via(r->p, start, "configMapRef");
        }
        if (secret == config_map) {
            problem_add(r->p, "configMapRef",
                        secret ? "expected exactly one, got both"
                               : "expected exactly one, got neither");
            problem_path(r->p, "secretRef");
        }
    }
    problems_via(r->p, start, "envFrom");
}
