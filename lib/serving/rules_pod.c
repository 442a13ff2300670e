// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of a pod spec: which of its fields may be set, how its containers fit together. Failure
 * modes: problems with paths below the spec.
 */
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "serving/gotext.h"
#include "serving/rules.h"

bool rule_secure_defaults(const struct features *features)
{
    enum feature_value value = feature_get(features, FEATURE_SECURE_POD_DEFAULTS);
    return value == FEATURE_ENABLED || value == FEATURE_ROOT_BOUNDED;
}

static int compare_fields(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void rule_only_if(struct rules *r, const json_t *object, enum type_id type, rule_allowed_cb allowed)
{
    size_t count;
    const struct type_field *fields = type_fields(type, &count);
    const char *refused[128];
    size_t n = 0;
    REQUIRE(count <= ARRAY_LEN(refused));
    for (size_t i = 0; i < count; i++) {
        if (type_field_set(object, &fields[i]) && !allowed(r, object, fields[i].json)) {
            refused[n++] = fields[i].json;
        }
    }
    qsort(refused, n, sizeof(refused[0]), compare_fields);
    for (size_t i = 0; i < n; i++) {
        if (i == 0) {
            problem_disallowed(r->p, refused[i]);
        } else {
            problem_path(r->p, refused[i]);
        }
    }
}

static bool in_list(const char *field, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, field) == 0) {
            return true;
        }
    }
    return false;
}

void rule_only(struct rules *r, const json_t *object, enum type_id type, const char *const *allowed)
{
    size_t count;
    const struct type_field *fields = type_fields(type, &count);
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (!type_field_set(object, &fields[i]) || in_list(fields[i].json, allowed)) {
            continue;
        }
        if (first) {
            problem_disallowed(r->p, fields[i].json);
        } else {
            problem_path(r->p, fields[i].json);
        }
        first = false;
    }
}

/* --- fields of the pod spec ---------------------------------------------------------------- */

static bool pod_field(const struct rules *r, const json_t *spec, const char *field)
{
    static const char *const always[] = {"serviceAccountName",
                                         "containers",
                                         "volumes",
                                         "imagePullSecrets",
                                         "enableServiceLinks",
                                         "timeoutSeconds",
                                         "idleTimeoutSeconds",
                                         "containerConcurrency",
                                         "responseStartTimeoutSeconds",
                                         NULL};
    static const struct {
        const char *field;
        enum feature feature;
    } gated[] = {
        {"affinity", FEATURE_AFFINITY},
        {"topologySpreadConstraints", FEATURE_TOPOLOGY_SPREAD},
        {"hostAliases", FEATURE_HOST_ALIASES},
        {"nodeSelector", FEATURE_NODE_SELECTOR},
        {"runtimeClassName", FEATURE_RUNTIME_CLASS},
        {"tolerations", FEATURE_TOLERATIONS},
        {"securityContext", FEATURE_SECURITY_CONTEXT},
        {"securityContext", FEATURE_SECURE_POD_DEFAULTS},
        {"shareProcessNamespace", FEATURE_SHARE_PROCESS_NAMESPACE},
        {"priorityClassName", FEATURE_PRIORITY_CLASS},
        {"schedulerName", FEATURE_SCHEDULER_NAME},
        {"initContainers", FEATURE_INIT_CONTAINERS},
        {"dnsPolicy", FEATURE_DNS_POLICY},
        {"dnsConfig", FEATURE_DNS_CONFIG},
        {"hostIPC", FEATURE_HOST_IPC},
        {"hostPID", FEATURE_HOST_PID},
        {"hostNetwork", FEATURE_HOST_NETWORK},
    };
    if (strcmp(field, "automountServiceAccountToken") == 0) {
        return !rule_true(spec, field); /* it may only be turned off */
    }
    for (size_t i = 0; i < ARRAY_LEN(gated); i++) {
        if (strcmp(gated[i].field, field) == 0 && rule_open(r, gated[i].feature)) {
            return true;
        }
    }
    return in_list(field, always);
}

/* --- containers together ------------------------------------------------------------------- */

/* The names of all volumes that containers mount, as keys. */
static json_t *mounted_volumes(const json_t *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    json_t *names = json_object();
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        const json_t *container;
        json_array_foreach(json_object_get(spec, lists[l]), i, container)
        {
            size_t j;
            const json_t *mount;
            json_array_foreach(json_object_get(container, "volumeMounts"), j, mount)
            {
                const char *name = json_string_value(json_object_get(mount, "name"));
                REQUIRE(json_object_set_new(names, name == NULL ? "" : name, json_true()) == 0);
            }
        }
    }
    return names;
}

static struct serving_port check_ports(struct rules *r, const json_t *containers)
{
    struct serving_port port = {.name = SLICE_LIT("http")};
    size_t count = 0;
    size_t mark = problems_mark(r->p);
    size_t i;
    const json_t *container;
    json_array_foreach(containers, i, container)
    {
        const json_t *ports = json_object_get(container, "ports");
        if (json_array_size(ports) > 0) {
            struct slice name = rule_text(json_array_get(ports, 0), "name");
            count += json_array_size(ports);
            port.name = name.len > 0 ? name : SLICE_LIT("http");
        }
    }
    if (count == 0 && json_array_size(containers) > 1) {
        problem_missing(r->p, "ports");
    }
    if (count > 1) {
        problem_add(r->p, "ports", "more than one container port is set");
        problem_details(r->p, "Only a single port is allowed across all containers");
    }
    problems_via(r->p, mark, "containers[*]");
    return port;
}

static void duplicate_name(struct rules *r, struct slice name)
{
    CLEANUP(cleanup_free) char *quoted = go_quoted(name);
    problem_add(r->p, "name", "duplicate container name %s", quoted);
}

/* As in the reference, a duplicate's place also goes before the problems of earlier containers. */
static void check_init_containers(struct rules *r, const json_t *spec)
{
    const json_t *init = rule_member(spec, "initContainers");
    const json_t *volumes = rule_member(spec, "volumes");
    size_t start = problems_mark(r->p);
    size_t i;
    const json_t *container;
    if (json_array_size(init) == 0) {
        return;
    }
    if (!rule_on(r, FEATURE_INIT_CONTAINERS)) {
        problem_add(r->p, NULL,
                    "pod spec support for init-containers is off, but found %zu init containers",
                    json_array_size(init));
        return;
    }
    struct map names;
    map_init(&names, MAP_COPY_KEYS);
    json_array_foreach(json_object_get(spec, "containers"), i, container)
    {
        (void)map_set(&names, rule_text(container, "name"), &names);
    }
    json_array_foreach(init, i, container)
    {
        struct slice name = rule_text(container, "name");
        if (map_get(&names, name) != NULL) {
            duplicate_name(r, name);
            problems_via_index(r->p, start, i);
            problems_via(r->p, start, "containers");
        }
        size_t mark = problems_mark(r->p);
        rules_container(r, container, volumes, CONTAINER_INIT, NULL);
        problems_via_index(r->p, mark, i);
        problems_via(r->p, mark, "containers");
    }
    map_fini(&names);
}

static void check_several(struct rules *r, const json_t *containers, const json_t *volumes,
                          const struct serving_port *port)
{
    size_t start = problems_mark(r->p);
    size_t i;
    const json_t *container;
    if (!rule_on(r, FEATURE_MULTI_CONTAINER)) {
        problem_add(r->p, NULL, "multi-container is off, but found %zu containers",
                    json_array_size(containers));
        return;
    }
    struct map names;
    map_init(&names, MAP_COPY_KEYS);
    json_array_foreach(containers, i, container)
    {
        struct slice name = rule_text(container, "name");
        bool serving = json_array_size(json_object_get(container, "ports")) > 0;
        if (map_set(&names, name, &names) != NULL) {
            duplicate_name(r, name);
            problems_via_index(r->p, start, i);
            problems_via(r->p, start, "containers");
        }
        size_t mark = problems_mark(r->p);
        rules_container(r, container, volumes, serving ? CONTAINER_SERVING : CONTAINER_SIDECAR,
                        serving ? port : NULL);
        problems_via_index(r->p, mark, i);
        problems_via(r->p, mark, "containers");
    }
    map_fini(&names);
}

static void check_containers(struct rules *r, const json_t *spec, const struct serving_port *port)
{
    const json_t *containers = rule_member(spec, "containers");
    const json_t *volumes = rule_member(spec, "volumes");
    size_t mark = problems_mark(r->p);
    if (json_array_size(containers) == 0) {
        problem_missing(r->p, "containers");
    } else if (json_array_size(containers) == 1) {
        rules_container(r, json_array_get(containers, 0), volumes, CONTAINER_ONLY, port);
        problems_via(r->p, mark, "containers[0]");
    } else {
        check_several(r, containers, volumes, port);
    }
}

static void check_service_account(struct rules *r, const json_t *spec)
{
    struct slice name = rule_text(spec, "serviceAccountName");
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    struct slice rest;
    struct slice word;
    if (name.len == 0 || words_dns1123_subdomain(name, "\n", &words) == 0) {
        return;
    }
    rest = strbuf_slice(&words);
    while (slice_split(&rest, '\n', &word)) { /* a problem for each reason */
        problem_invalid(r->p, "serviceAccountName", name);
        problem_details(r->p, "%.*s", SLICE_FMT(word));
    }
}

void rules_pod_spec(struct rules *r, const json_t *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    const json_t *pod = rule_member(spec, "securityContext");
    CLEANUP(jfree) json_t *mounted = mounted_volumes(spec);
    rule_only_if(r, spec, TYPE_RevisionSpec, pod_field);
    size_t mark = problems_mark(r->p);
    rules_pod_security_context(r, pod);
    problems_via(r->p, mark, "securityContext");
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        const json_t *container;
        json_array_foreach(json_object_get(spec, lists[l]), i, container)
        {
            mark = problems_mark(r->p);
            rules_security_warnings(r, pod, rule_member(container, "securityContext"));
            problems_via(r->p, mark, "securityContext");
            problems_via_index(r->p, mark, i);
            problems_via(r->p, mark, lists[l]);
        }
    }
    mark = problems_mark(r->p);
    rules_volumes(r, rule_member(spec, "volumes"), mounted);
    problems_via(r->p, mark, "volumes");
    check_init_containers(r, spec);
    struct serving_port port = check_ports(r, rule_member(spec, "containers"));
    check_containers(r, spec, &port);
    check_service_account(r, spec);
}
