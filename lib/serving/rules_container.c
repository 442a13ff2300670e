// SPDX-License-Identifier: Apache-2.0
/* Rules of one container. Failure modes: problems with paths below the container. */
#include "base/mem.h"
#include "serving/gotext.h"
#include "serving/names.h"
#include "serving/rules.h"

static void check_port_fields(struct rules *r, const json_t *port)
{
    static const char *const allowed[] = {"containerPort", "name", "protocol", NULL};
    static const int reserved[] = {8012, 8013, 8022, 9090, 9091, 8008};
    int64_t number = rule_int(port, "containerPort");
    rule_only(r, port, TYPE_ContainerPort, allowed);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (number == reserved[i]) {
            problem_add(r->p, "containerPort", "invalid value: %d is a reserved port", reserved[i]);
            problem_details(r->p, "%d is a reserved port, please use a different value",
                            reserved[i]);
        }
    }
    if (number < 0 || number > 65535) {
        problem_bounds(r->p, "containerPort", number, 0, 65535);
    }
}

static void check_ports(struct rules *r, const json_t *ports, enum container_role role)
{
    size_t i;
    const json_t *port;
    size_t mark = problems_mark(r->p);
    json_array_foreach(ports, i, port)
    {
        if (role == CONTAINER_INIT || i == 0) {
            check_port_fields(r, port);
        }
    }
    port = json_array_get(ports, 0);
    if (role != CONTAINER_INIT && port != NULL) {
        struct slice name = rule_text(port, "name");
        struct slice protocol = rule_text(port, "protocol");
        if (protocol.len > 0 && !slice_eq_str(protocol, "TCP")) {
            problem_invalid(r->p, "protocol", protocol);
        }
        if (name.len > 0 && !slice_eq_str(name, "h2c") && !slice_eq_str(name, "http1")) {
            problem_add(r->p, "", "Port name %.*s is not allowed", SLICE_FMT(name));
            problem_details(r->p, "Name must be empty, or one of: 'h2c', 'http1'");
        }
    }
    problems_via(r->p, mark, "ports");
}

static void check_image(struct rules *r, struct slice image)
{
    if (image.len == 0) {
        problem_missing(r->p, "image");
    } else if (!image_reference_valid(image)) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(image);
        problem_add(r->p, "image", "Failed to parse image reference");
        problem_details(r->p, "image: %s, error: could not parse reference: %.*s", quoted,
                        SLICE_FMT(image));
    }
}

static void check_fields(struct rules *r, const json_t *container)
{
    static const char *const allowed[] = {"name",
                                          "args",
                                          "command",
                                          "env",
                                          "workingDir",
                                          "envFrom",
                                          "image",
                                          "imagePullPolicy",
                                          "livenessProbe",
                                          "ports",
                                          "readinessProbe",
                                          "resources",
                                          "securityContext",
                                          "startupProbe",
                                          "terminationMessagePath",
                                          "volumeMounts",
                                          "terminationMessagePolicy",
                                          NULL};
    static const char *const resources[] = {"limits", "requests", NULL};
    struct slice policy = rule_text(container, "terminationMessagePolicy");
    rule_only(r, container, TYPE_Container, allowed);
    if (slice_eq_str(rule_text(container, "name"), QUEUE_CONTAINER_NAME)) {
        problem_add(r->p, "name", "\"%s\" is a reserved container name", QUEUE_CONTAINER_NAME);
    }
    size_t mark = problems_mark(r->p);
    rule_only(r, rule_member(container, "resources"), TYPE_ResourceRequirements, resources);
    problems_via(r->p, mark, "resources");
    if (policy.len > 0 && !slice_eq_str(policy, "File") &&
        !slice_eq_str(policy, "FallbackToLogsOnError")) {
        problem_invalid(r->p, "terminationMessagePolicy", policy);
    }
}

static void check_init(struct rules *r, const json_t *container)
{
    static const char *const refused[] = {"livenessProbe", "readinessProbe", "startupProbe",
                                          "lifecycle"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (rule_member(container, refused[i]) != NULL) {
            problem_add(r->p, refused[i], "field not allowed in an init container");
        }
    }
}

void rules_container(struct rules *r, const json_t *container, const json_t *volumes,
                     enum container_role role, const struct serving_port *port)
{
    if (role == CONTAINER_INIT) {
        check_init(r, container);
    } else {
        rules_probes(r, container, port);
    }
    if (type_is_zero(container, TYPE_Container)) {
        problem_missing(r->p, "");
        return;
    }
    check_fields(r, container);
    rules_env(r, container, role);
    rules_env_from(r, container);
    check_image(r, rule_text(container, "image"));
    check_ports(r, rule_member(container, "ports"), role);
    size_t mark = problems_mark(r->p);
    rules_security_context(r, rule_member(container, "securityContext"));
    problems_via(r->p, mark, "securityContext");
    mark = problems_mark(r->p);
    rules_mounts(r, rule_member(container, "volumeMounts"), volumes);
    problems_via(r->p, mark, "volumeMounts");
}
