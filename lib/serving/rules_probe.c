// SPDX-License-Identifier: Apache-2.0
/* Rules of probes. Failure modes: no or several handlers, a port that is not the container's, a
 * readiness probe that mixes its two ways of trying. */
#include "base/mem.h"
#include "serving/rules.h"

/* The port of an HTTP or TCP handler. */
static void check_handler_port(struct rules *r, const json_t *handler, const char *path,
                               const struct serving_port *port)
{
    const json_t *value = rule_member(handler, "port");
    struct slice name = rule_text(handler, "port");
    bool named = name.len > 0;
    if (port != NULL && named && !slice_eq(name, port->name)) {
        problem_invalid(r->p, path, name);
        problem_details(r->p, "Probe port must match container port");
    }
    if (port == NULL && !named && json_integer_value(value) == 0) {
        /* the way Go prints a port of zero or of an empty name */
        problem_invalid(r->p, path, json_is_string(value) ? SLICE_EMPTY : SLICE_LIT("0"));
        problem_details(r->p, "Probe port must be specified");
    }
}

static void check_handlers(struct rules *r, const json_t *probe, const struct serving_port *port)
{
    static const char *const keys[] = {"httpGet", "tcpSocket", "exec", "grpc"};
    static const char *const names[] = {"httpGet", "tcpSocket", "exec", "gRPC"};
    static const char *const paths[] = {"httpGet.port", "tcpSocket.port"};
    size_t start = problems_mark(r->p);
    const char *found[ARRAY_LEN(keys)];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const json_t *handler = rule_member(probe, keys[i]);
        if (handler == NULL) {
            continue;
        }
        problems_via(r->p, start, keys[i]); /* of those before it, as in the reference */
        found[count++] = names[i];
        if (i < ARRAY_LEN(paths)) {
            check_handler_port(r, handler, paths[i], port);
        }
    }
    if (count == 0) {
        problem_add(r->p, keys[0], "expected exactly one, got neither");
        for (size_t i = 1; i < ARRAY_LEN(keys); i++) {
            problem_path(r->p, keys[i]);
        }
    } else if (count > 1) {
        problem_add(r->p, found[0], "expected exactly one, got both");
        for (size_t i = 1; i < count; i++) {
            problem_path(r->p, found[i]);
        }
    }
}

static void check_probe(struct rules *r, const json_t *probe, const struct serving_port *port)
{
    if (probe != NULL) {
        check_handlers(r, probe, port);
    }
}

static void check_least(struct rules *r, const json_t *probe, const char *field, int64_t min)
{
    int64_t value = rule_int(probe, field);
    if (value < min) {
        problem_bounds(r->p, field, value, min, INT32_MAX);
    }
}

static void check_readiness(struct rules *r, const json_t *probe, const struct serving_port *port)
{
    static const char *const numbers[] = {"failureThreshold", "timeoutSeconds"};
    if (probe == NULL) {
        return;
    }
    check_probe(r, probe, port);
    check_least(r, probe, "periodSeconds", 0);
    check_least(r, probe, "initialDelaySeconds", 0);
    check_least(r, probe, "successThreshold", 1);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (rule_int(probe, "periodSeconds") != 0) {
            check_least(r, probe, numbers[i], 1);
        } else if (rule_int(probe, numbers[i]) != 0) { /* 0 asks for our own quick tries */
            problem_add(r->p, numbers[i], "%s is disallowed when periodSeconds is zero",
                        numbers[i]);
        }
    }
}

/* Without multi-container-probing nothing of a sidecar's probe may be set. */
static void refuse_probe(struct rules *r, const json_t *probe)
{
    static const char *const handlers[] = {"exec", "httpGet", "tcpSocket", "grpc"};
    bool handled = false;
    size_t count;
    const struct type_field *fields = type_fields(TYPE_Probe, &count);
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        bool handler = false;
        for (size_t h = 0; h < ARRAY_LEN(handlers); h++) {
            handler = handler || strcmp(handlers[h], fields[i].json) == 0;
        }
        if (!type_field_set(probe, &fields[i]) || (handler && handled)) {
            continue;
        }
        handled = handled || handler;
        /* the four handlers are one struct without a name of its own */
        const char *name = handler ? "" : fields[i].json;
        if (first) {
            problem_disallowed(r->p, name);
        } else {
            problem_path(r->p, name);
        }
        first = false;
    }
}

void rules_probes(struct rules *r, const json_t *container, const struct serving_port *port)
{
    static const char *const keys[] = {"livenessProbe", "readinessProbe", "startupProbe"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const json_t *probe = rule_member(container, keys[i]);
        size_t mark = problems_mark(r->p);
        if (port == NULL && !rule_on(r, FEATURE_MULTI_CONTAINER_PROBING)) {
            refuse_probe(r, probe);
        } else if (i == 1) {
            check_readiness(r, probe, port);
        } else {
            check_probe(r, probe, port);
        }
        problems_via(r->p, mark, keys[i]);
    }
}
