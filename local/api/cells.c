// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a column with a path is looked up with a small JSONPath reader (names, quoted names, one
 * filter form); a column without one is computed by a function that is found by kind and name.
 * What is not there becomes null, which kubectl prints as <none> or nothing.
 */

#include "local/api/cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"

#define STEP_MAX 128

/* --- JSONPath ------------------------------------------------------------------------------ */

/* Copies a name up to one of `stops`, without backslashes; returns where it stopped. */
static const char *take_name(const char *at, const char *stops, char out[STEP_MAX])
{
    size_t n = 0;
    while (*at != '\0' && strchr(stops, *at) == NULL) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
        }
        if (n + 1 < STEP_MAX) {
            out[n++] = *at;
        }
        at++;
    }
    out[n] = '\0';
    return at;
}

/* at: after `[?(@.`, as in `type=="Ready")].status`. */
static const char *take_filter(const char *at, json_t **value)
{
    char key[STEP_MAX], wanted[STEP_MAX];
    at = take_name(at, "=", key);
    at += strspn(at, "=\"");
    at = take_name(at, "\"", wanted);
    at += strspn(at, "\")]");
    json_t *found = NULL, *item;
    size_t i;
    json_array_foreach(*value, i, item)
    {
        if (found == NULL && slice_eq_str(jpeek_str(item, key), wanted)) {
            found = item;
        }
    }
    *value = found;
    return at;
}

json_t *cells_at(const json_t *root, const char *path)
{
    json_t *value = (json_t *)(uintptr_t)root;
    char name[STEP_MAX];
    while (*path != '\0' && value != NULL) {
        if (strncmp(path, "[?(@.", 5) == 0) {
            path = take_filter(path + 5, &value);
        } else if (strncmp(path, "['", 2) == 0) {
            path = take_name(path + 2, "'", name);
            path += strspn(path, "']");
            value = json_object_get(value, name);
        } else if (path[0] == '[' && path[1] >= '0' && path[1] <= '9') {
            value = json_array_get(value, strtoul(path + 1, NULL, 10));
            path += strcspn(path, "]");
            path += *path == ']';
        } else {
            path += *path == '.' ? 1 : 0;
            path = take_name(path, ".[", name);
            value = json_object_get(value, name);
        }
    }
    return value;
}

/* --- ages ---------------------------------------------------------------------------------- */

char *cells_age(int64_t seconds, char *buf, size_t size)
{
    int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24, years = days / 365;
    if (seconds < 0) {
        (void)snprintf(buf, size, "%s", seconds < -1 ? "<invalid>" : "0s");
    } else if (seconds < 120) {
        (void)snprintf(buf, size, "%" PRId64 "s", seconds);
    } else if (minutes < 10 && seconds % 60 != 0) {
        (void)snprintf(buf, size, "%" PRId64 "m%" PRId64 "s", minutes, seconds % 60);
    } else if (minutes < 180) {
        (void)snprintf(buf, size, "%" PRId64 "m", minutes);
    } else if (hours < 8 && minutes % 60 != 0) {
        (void)snprintf(buf, size, "%" PRId64 "h%" PRId64 "m", hours, minutes % 60);
    } else if (hours < 48) {
        (void)snprintf(buf, size, "%" PRId64 "h", hours);
    } else if (days < 8 && hours % 24 != 0) {
        (void)snprintf(buf, size, "%" PRId64 "d%" PRId64 "h", days, hours % 24);
    } else if (days < 365 * 2) {
        (void)snprintf(buf, size, "%" PRId64 "d", days);
    } else if (years < 8 && days % 365 != 0) {
        (void)snprintf(buf, size, "%" PRId64 "y%" PRId64 "d", years, days % 365);
    } else {
        (void)snprintf(buf, size, "%" PRId64 "y", years);
    }
    return buf;
}

static void append_age(json_t *value, int64_t wall_ns, struct strbuf *out)
{
    int64_t then_ns;
    struct error err;
    struct slice text = slice_str(json_string_value(value));
    if (text.len == 0 || clock_parse_rfc3339(text, &then_ns, &err) < 0) {
        (void)strbuf_append_str(out, "\"<unknown>\"");
        return;
    }
    char age[CELLS_AGE_MAX];
    int64_t seconds = (wall_ns - then_ns) / (int64_t)CLOCK_NS_PER_S;
    (void)strbuf_append_json(out,
                             slice_str(cells_age(seconds < 0 ? 0 : seconds, age, sizeof(age))));
}

/* --- computed cells ------------------------------------------------------------------------ */

static void deployment_ready(const json_t *o, struct strbuf *out)
{
    (void)strbuf_appendf(out, "\"%" PRId64 "/%" PRId64 "\"", jpeek_i64(o, "status.readyReplicas"),
                         jpeek_i64(o, "spec.replicas"));
}

static void pod_ready(const json_t *o, struct strbuf *out)
{
    size_t i, ready = 0;
    json_t *status;
    json_array_foreach(jpeek_arr(o, "status.containerStatuses"), i, status)
    {
        ready += jpeek_bool(status, "ready") ? 1 : 0;
    }
    (void)strbuf_appendf(out, "\"%zu/%zu\"", ready,
                         json_array_size(jpeek_arr(o, "spec.containers")));
}

static void pod_status(const json_t *o, struct strbuf *out)
{
    struct slice text = jpeek_str(o, "status.phase");
    if (jpeek_str(o, "status.reason").len > 0) {
        text = jpeek_str(o, "status.reason");
    }
    size_t i;
    json_t *status;
    json_array_foreach(jpeek_arr(o, "status.containerStatuses"), i, status)
    {
        struct slice waiting = jpeek_str(status, "state.waiting.reason");
        struct slice ended = jpeek_str(status, "state.terminated.reason");
        text = waiting.len > 0 ? waiting : ended.len > 0 ? ended : text;
    }
    if (jget(o, "metadata.deletionTimestamp") != NULL) {
        text = SLICE_LIT("Terminating");
    }
    (void)strbuf_append_json(out, text);
}

static void pod_restarts(const json_t *o, struct strbuf *out)
{
    size_t i;
    int64_t restarts = 0;
    json_t *status;
    json_array_foreach(jpeek_arr(o, "status.containerStatuses"), i, status)
    {
        restarts += jpeek_i64(status, "restartCount");
    }
    (void)strbuf_appendf(out, "\"%" PRId64 "\"", restarts);
}

static void data_count(const json_t *o, struct strbuf *out)
{
    (void)strbuf_appendf(out, "%zu",
                         json_object_size(jpeek_obj(o, "data")) +
                             json_object_size(jpeek_obj(o, "binaryData")));
}

static void secrets_count(const json_t *o, struct strbuf *out)
{
    (void)strbuf_appendf(out, "%zu", json_array_size(jpeek_arr(o, "secrets")));
}

static void event_object(const json_t *o, struct strbuf *out)
{
    char text[320];
    struct slice kind = jpeek_str(o, "involvedObject.kind");
    size_t n = 0;
    for (; n < kind.len && n < 60; n++) {
        char c = kind.ptr[n];
        text[n] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    (void)snprintf(text + n, sizeof(text) - n, "/%s", jpeek_cstr(o, "involvedObject.name"));
    (void)strbuf_append_json(out, slice_str(text));
}

static void nothing(const json_t *o, struct strbuf *out)
{
    (void)strbuf_append_str(out, "\"<none>\"");
}

/* Appends the texts as one, or <none>. */
static void append_joined(const struct strbuf *text, struct strbuf *out)
{
    (void)strbuf_append_json(out, text->len > 0 ? strbuf_slice(text) : SLICE_LIT("<none>"));
}

static void event_source(const json_t *o, struct strbuf *out)
{
    struct slice part = jpeek_str(o, "source.component"), host = jpeek_str(o, "source.host");
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 4096);
    (void)strbuf_append_slice(&text, part.len > 0 ? part : jpeek_str(o, "reportingComponent"));
    (void)strbuf_appendf(&text, "%s%.*s", host.len > 0 ? ", " : "", SLICE_FMT(host));
    (void)strbuf_append_json(out, strbuf_slice(&text));
}

static void append_labels(const json_t *labels, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64u << 10);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        (void)strbuf_appendf(&text, "%s%s=%s", text.len > 0 ? "," : "", key,
                             json_is_string(value) ? json_string_value(value) : "");
    }
    append_joined(&text, out);
}

static void service_selector(const json_t *o, struct strbuf *out)
{
    append_labels(jpeek_obj(o, "spec.selector"), out);
}

static void deployment_selector(const json_t *o, struct strbuf *out)
{
    append_labels(jpeek_obj(o, "spec.selector.matchLabels"), out);
}

static void append_members(const json_t *list, const char *path, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64u << 10);
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        struct slice member = jpeek_str(item, path);
        (void)strbuf_appendf(&text, "%s%.*s", i > 0 ? "," : "", SLICE_FMT(member));
    }
    append_joined(&text, out);
}

static void deployment_containers(const json_t *o, struct strbuf *out)
{
    append_members(jpeek_arr(o, "spec.template.spec.containers"), "name", out);
}

static void deployment_images(const json_t *o, struct strbuf *out)
{
    append_members(jpeek_arr(o, "spec.template.spec.containers"), "image", out);
}

static void service_address(const json_t *o, struct strbuf *out)
{
    struct slice ip = jpeek_str(o, "spec.clusterIP");
    (void)strbuf_append_json(out, ip.len > 0 ? ip : SLICE_LIT("<none>"));
}

static void service_external(const json_t *o, struct strbuf *out)
{
    struct slice name = jpeek_str(o, "spec.externalName");
    struct slice ip = jpeek_str(o, "spec.externalIPs[0]");
    (void)strbuf_append_json(out, name.len > 0 ? name : ip.len > 0 ? ip : SLICE_LIT("<none>"));
}

static void service_ports(const json_t *o, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 64u << 10);
    size_t i;
    json_t *port;
    json_array_foreach(jpeek_arr(o, "spec.ports"), i, port)
    {
        struct slice protocol = jpeek_str(port, "protocol");
        int64_t node = jpeek_i64(port, "nodePort");
        (void)strbuf_appendf(&text, "%s%" PRId64, i > 0 ? "," : "", jpeek_i64(port, "port"));
        if (node > 0) {
            (void)strbuf_appendf(&text, ":%" PRId64, node);
        }
        (void)strbuf_appendf(&text, "/%.*s",
                             SLICE_FMT(protocol.len > 0 ? protocol : SLICE_LIT("TCP")));
    }
    append_joined(&text, out);
}

static void hpa_reference(const json_t *o, struct strbuf *out)
{
    CLEANUP(cleanup_free)
    char *text = xasprintf("%s/%s", jpeek_cstr(o, "spec.scaleTargetRef.kind"),
                           jpeek_cstr(o, "spec.scaleTargetRef.name"));
    (void)strbuf_append_json(out, slice_str(text));
}

/* The status of the metric of this name. */
static const json_t *hpa_current(const json_t *o, const char *name)
{
    size_t i;
    json_t *metric;
    json_array_foreach(jpeek_arr(o, "status.currentMetrics"), i, metric)
    {
        if (strcmp(jpeek_cstr(metric, "resource.name"), name) == 0) {
            return jpeek_obj(metric, "resource.current");
        }
    }
    return NULL;
}

static void hpa_target(const json_t *o, const json_t *metric, struct strbuf *out)
{
    const char *name = jpeek_cstr(metric, "resource.name");
    const char *amount = jpeek_cstr(metric, "resource.target.averageValue");
    const json_t *now = hpa_current(o, name);
    if (strcmp(jpeek_cstr(metric, "type"), "Resource") != 0) {
        (void)strbuf_append_str(out, "<unknown>"); /* there is no number, whatever is wanted */
        return;
    }
    (void)strbuf_appendf(out, "%s: ", name);
    if (now == NULL) {
        (void)strbuf_append_str(out, "<unknown>");
    } else if (amount[0] != '\0') {
        (void)strbuf_append_slice(out, jpeek_str(now, "averageValue"));
    } else {
        (void)strbuf_appendf(out, "%" PRId64 "%%", jpeek_i64(now, "averageUtilization"));
    }
    if (amount[0] != '\0') {
        (void)strbuf_appendf(out, "/%s", amount);
    } else {
        (void)strbuf_appendf(out, "/%" PRId64 "%%",
                             jpeek_i64(metric, "resource.target.averageUtilization"));
    }
}

/* The first two metrics, and how many more there are. */
static void hpa_targets(const json_t *o, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    const json_t *metrics = jpeek_arr(o, "spec.metrics");
    size_t count = json_array_size(metrics), shown = count < 2 ? count : 2;
    strbuf_init(&text, 4096);
    for (size_t i = 0; i < shown; i++) {
        (void)strbuf_append_str(&text, i > 0 ? ", " : "");
        hpa_target(o, json_array_get(metrics, i), &text);
    }
    if (count > shown) {
        (void)strbuf_appendf(&text, " + %zu more...", count - shown);
    }
    append_joined(&text, out);
}

static const struct computed {
    enum kind_id kind;
    const char *column;
    void (*append)(const json_t *o, struct strbuf *out);
} computed[] = {
    {KIND_DEPLOYMENT, "Ready", deployment_ready},
    {KIND_POD, "Ready", pod_ready},
    {KIND_POD, "Status", pod_status},
    {KIND_POD, "Restarts", pod_restarts},
    {KIND_CONFIGMAP, "Data", data_count},
    {KIND_SECRET, "Data", data_count},
    {KIND_SERVICEACCOUNT, "Secrets", secrets_count},
    {KIND_EVENT, "Object", event_object},
    {KIND_EVENT, "Source", event_source},
    {KIND_POD, "Nominated Node", nothing},
    {KIND_POD, "Readiness Gates", nothing},
    {KIND_HPA, "Reference", hpa_reference},
    {KIND_HPA, "Targets", hpa_targets},
    {KIND_DEPLOYMENT, "Containers", deployment_containers},
    {KIND_DEPLOYMENT, "Images", deployment_images},
    {KIND_DEPLOYMENT, "Selector", deployment_selector},
    {KIND_CORE_SERVICE, "Cluster-IP", service_address},
    {KIND_CORE_SERVICE, "External-IP", service_external},
    {KIND_CORE_SERVICE, "Port(s)", service_ports},
    {KIND_CORE_SERVICE, "Selector", service_selector},
};

static void append_computed(const struct kind *kind, const char *column, const json_t *o,
                            struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(computed); i++) {
        if (computed[i].kind == kind->id && strcmp(computed[i].column, column) == 0) {
            computed[i].append(o, out);
            return;
        }
    }
    (void)strbuf_append_str(out, "null");
}

/* --- the table ----------------------------------------------------------------------------- */

/* Events are called by what they say: their name stands among the wide columns. */
static bool names_itself(const struct kind *kind)
{
    for (size_t i = 0; i < kind->n_columns; i++) {
        if (strcmp(kind->columns[i].name, "Name") == 0) {
            return true;
        }
    }
    return false;
}

void cells_columns(const struct kind *kind, struct strbuf *out)
{
    bool first = names_itself(kind);
    (void)strbuf_appendf(out, "\"columnDefinitions\":[%s",
                         first ? ""
                               : "{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
                                 "\"description\":\"Name\",\"priority\":0}");
    for (size_t i = 0; i < kind->n_columns; i++) {
        const struct kind_column *c = &kind->columns[i];
        bool date = strcmp(c->type, "date") == 0;
        (void)strbuf_appendf(out, "%s{\"name\":\"%s\",\"type\":\"%s\",\"format\":\"%s\",",
                             first ? "" : ",", c->name, date ? "string" : c->type, c->format);
        (void)strbuf_append_str(out, "\"description\":");
        (void)strbuf_append_json(out, slice_str(c->description));
        (void)strbuf_appendf(out, ",\"priority\":%d}", c->priority);
        first = false;
    }
    (void)strbuf_append_char(out, ']');
}

static void append_value(json_t *value, struct strbuf *out)
{
    struct error err;
    if (value == NULL) {
        (void)strbuf_append_str(out, "null");
    } else if (json_is_string(value)) {
        (void)strbuf_append_json(out,
                                 slice_of(json_string_value(value), json_string_length(value)));
    } else if (jdump(value, out, &err) < 0) {
        (void)strbuf_append_str(out, "null");
    }
}

void cells_metadata(const json_t *object, struct strbuf *out)
{
    struct error err;
    (void)strbuf_append_str(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":"
                                 "\"meta.k8s.io/v1\",\"metadata\":");
    REQUIRE(jdump(json_object_get(object, "metadata"), out, &err) == 0 || !strbuf_ok(out));
    (void)strbuf_append_char(out, '}');
}

static void append_object(const json_t *object, enum cells_include include, struct strbuf *out)
{
    struct error err;
    if (include == CELLS_NONE) {
        return;
    }
    (void)strbuf_append_str(out, ",\"object\":");
    if (include == CELLS_OBJECT) {
        REQUIRE(jdump(object, out, &err) == 0 || !strbuf_ok(out));
        return;
    }
    cells_metadata(object, out);
}

void cells_row(const struct kind *kind, const json_t *object, enum cells_include include,
               int64_t wall_ns, struct strbuf *out)
{
    (void)strbuf_append_str(out, "{\"cells\":[");
    bool first = names_itself(kind);
    if (!first) {
        (void)strbuf_append_json(out, jpeek_str(object, "metadata.name"));
    }
    for (size_t i = 0; i < kind->n_columns; i++) {
        const struct kind_column *c = &kind->columns[i];
        (void)strbuf_append_str(out, first ? "" : ",");
        first = false;
        if (c->path[0] == '\0') {
            append_computed(kind, c->name, object, out);
        } else if (strcmp(c->type, "date") == 0) {
            append_age(cells_at(object, c->path), wall_ns, out);
        } else {
            append_value(cells_at(object, c->path), out);
        }
    }
    (void)strbuf_append_char(out, ']');
    append_object(object, include, out);
    (void)strbuf_append_char(out, '}');
}
