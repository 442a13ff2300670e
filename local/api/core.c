// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: Kubernetes' own kinds get the defaults that everyday clients see, and are refused for what
 * a kube-apiserver refuses, with its words and all causes at once. What only a cluster has (virtual
 * addresses, node ports) is not made up. Types were looked at before (coerce.c).
 */

#include "local/api/core.h"

#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/rules.h"
#include "local/api/base64.h"
#include "local/api/causes.h"
#include "local/api/scaling.h"

#define DATA_BYTES_MAX (1u << 20)
#define KEY_MAX        253
#define IMMUTABLE      "Forbidden: field is immutable when `immutable` is set"

/* --- Namespace ----------------------------------------------------------------------------- */

static void default_namespace(json_t *object, const json_t *old)
{
    jset_text(jobject_at(jobject_at(object, "metadata"), "labels"), "kubernetes.io/metadata.name",
              jpeek_cstr(old == NULL ? object : old, "metadata.name"));
    if (old == NULL) {
        json_t *finalizers = json_array();
        REQUIRE(json_array_append_new(finalizers, json_string("kubernetes")) == 0);
        REQUIRE(json_object_set_new(jobject_at(object, "spec"), "finalizers", finalizers) == 0);
        jset_text(jobject_at(object, "status"), "phase", "Active");
    }
}

/* --- ConfigMap and Secret ------------------------------------------------------------------ */

/* Adds what is wrong with a key of `member`. */
static void check_key(json_t *causes, const char *member, const char *key)
{
    CLEANUP(cleanup_free) char *field = xasprintf("%s[%s]", member, key);
    size_t len = strlen(key);
    bool fine = len > 0;
    if (len > KEY_MAX) {
        cause_add(causes, field, "Invalid value: \"%.1000s\": must be no more than %d characters",
                  key, KEY_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        char c = key[i];
        fine = fine && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.');
    }
    if (!fine) {
        cause_add(causes, field,
                  "Invalid value: \"%.1000s\": a valid config key must consist of alphanumeric "
                  "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', "
                  "regex used for validation is '[-._a-zA-Z0-9]+')",
                  key);
    }
    if (strcmp(key, ".") == 0 || strcmp(key, "..") == 0) {
        cause_add(causes, field, "Invalid value: \"%s\": must not be '%s'", key, key);
    } else if (strncmp(key, "..", 2) == 0) {
        cause_add(causes, field, "Invalid value: \"%.1000s\": must not start with '..'", key);
    }
}

/* Adds what is wrong with the keys of `member`; the bytes of its values. */
static size_t check_data(json_t *causes, const json_t *object, const char *member, bool encoded)
{
    size_t total = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(object, member), key, value)
    {
        check_key(causes, member, key);
        size_t len = json_string_length(value);
        total += encoded ? len / 4 * 3 : len;
    }
    return total;
}

static bool same_data(const json_t *a, const json_t *b)
{
    return (json_object_size(a) == 0 && json_object_size(b) == 0) || jequal(a, b);
}

/* What must not change when `immutable` is set. */
static void check_immutable(json_t *causes, const json_t *object, const json_t *old,
                            const char *second)
{
    const char *const members[] = {"data", second};
    if (!jpeek_bool(old, "immutable")) {
        return;
    }
    if (!jpeek_bool(object, "immutable")) {
        cause_add(causes, "immutable", IMMUTABLE);
    }
    for (size_t i = 0; i < ARRAY_LEN(members) && members[i] != NULL; i++) {
        if (!same_data(json_object_get(object, members[i]), json_object_get(old, members[i]))) {
            cause_add(causes, members[i], IMMUTABLE);
        }
    }
}

static void check_configmap(json_t *causes, const json_t *object, const json_t *old)
{
    const json_t *binary = json_object_get(object, "binaryData");
    const char *key;
    json_t *value;
    size_t total = check_data(causes, object, "data", false);
    total += check_data(causes, object, "binaryData", true);
    json_object_foreach(json_object_get(object, "data"), key, value)
    {
        if (json_object_get(binary, key) != NULL) {
            CLEANUP(cleanup_free) char *field = xasprintf("data[%s]", key);
            cause_add(causes, field,
                      "Invalid value: \"%.1000s\": duplicate of key present in binaryData", key);
        }
    }
    if (total > DATA_BYTES_MAX) {
        cause_add(causes, "[]", "Too long: may not be more than %u bytes", DATA_BYTES_MAX);
    }
    check_immutable(causes, object, old, "binaryData");
}

/* stringData goes into data; a type is Opaque. */
static void default_secret(json_t *object)
{
    if (!field_is_set(object, "type")) {
        jset_text(object, "type", "Opaque");
    }
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(object, "stringData"), key, value)
    {
        struct slice text = slice_of(json_string_value(value), json_string_length(value));
        REQUIRE(json_object_set_new(jobject_at(object, "data"), key, base64_json(text)) == 0);
    }
    (void)json_object_del(object, "stringData");
}

static void require_key(json_t *causes, const json_t *object, const char *key)
{
    if (json_object_get(json_object_get(object, "data"), key) == NULL) {
        CLEANUP(cleanup_free) char *field = xasprintf("data[%s]", key);
        cause_add(causes, field, "Required value");
    }
}

/* A key that holds a JSON document, as registries' credentials do. */
static void require_json(json_t *causes, const json_t *object, const char *key)
{
    const json_t *text = json_object_get(json_object_get(object, "data"), key);
    struct error err;
    CLEANUP(strbuf_fini) struct strbuf plain;
    CLEANUP(jfree) json_t *tree = NULL;
    strbuf_init(&plain, DATA_BYTES_MAX * 2);
    require_key(causes, object, key);
    if (text != NULL && (base64_decode(slice_of(json_string_value(text), json_string_length(text)),
                                       &plain, &err) < 0 ||
                         jparse(strbuf_slice(&plain), DATA_BYTES_MAX * 2, &tree, &err) < 0)) {
        CLEANUP(cleanup_free) char *field = xasprintf("data[%s]", key);
        cause_add(causes, field, "Invalid value: \"<secret contents redacted>\": %.900s", err.msg);
    }
}

static void check_secret(json_t *causes, const json_t *object, const json_t *old)
{
    const json_t *data = json_object_get(object, "data");
    const char *type = jpeek_cstr(object, "type");
    if (check_data(causes, object, "data", true) > DATA_BYTES_MAX) {
        cause_add(causes, "data", "Too long: may not be more than %u bytes", DATA_BYTES_MAX);
    }
    if (strcmp(type, "kubernetes.io/dockerconfigjson") == 0) {
        require_json(causes, object, ".dockerconfigjson");
    } else if (strcmp(type, "kubernetes.io/dockercfg") == 0) {
        require_json(causes, object, ".dockercfg");
    } else if (strcmp(type, "kubernetes.io/tls") == 0) {
        require_key(causes, object, "tls.crt");
        require_key(causes, object, "tls.key");
    } else if (strcmp(type, "kubernetes.io/ssh-auth") == 0) {
        require_key(causes, object, "ssh-privatekey");
    } else if (strcmp(type, "kubernetes.io/basic-auth") == 0 &&
               json_object_get(data, "username") == NULL &&
               json_object_get(data, "password") == NULL) {
        require_key(causes, object, "username");
        require_key(causes, object, "password");
    } else if (strcmp(type, "kubernetes.io/service-account-token") == 0 &&
               jpeek_str(object, "metadata.annotations.`kubernetes.io/service-account.name`").len ==
                   0) {
        cause_add(causes, "metadata.annotations[kubernetes.io/service-account.name]",
                  "Required value");
    }
    if (old != NULL && strcmp(type, jpeek_cstr(old, "type")) != 0) {
        cause_add(causes, "type", "Invalid value: \"%.1000s\": field is immutable", type);
    }
    check_immutable(causes, object, old, NULL);
}

/* --- Service ------------------------------------------------------------------------------- */

static void default_text(json_t *object, const char *key, const char *value)
{
    if (!field_is_set(object, key)) {
        jset_text(object, key, value);
    }
}

static void default_list(json_t *object, const char *key, const char *value)
{
    if (json_array_size(json_object_get(object, key)) == 0) {
        REQUIRE(json_object_set_new(object, key, json_pack("[s]", value)) == 0);
    }
}

static void default_port(json_t *port)
{
    const json_t *target = json_object_get(port, "targetPort");
    default_text(port, "protocol", "TCP");
    if (!field_is_set(port, "targetPort") ||
        (json_is_integer(target) && json_integer_value(target) == 0)) {
        REQUIRE(json_object_set(port, "targetPort", json_object_get(port, "port")) == 0 ||
                json_object_get(port, "port") == NULL);
    }
}

static void default_addresses(json_t *spec)
{
    const char *address = jpeek_cstr(spec, "clusterIP");
    bool both = strcmp(address, "None") == 0 && json_object_size(jget(spec, "selector")) == 0;
    if (address[0] != '\0') {
        default_list(spec, "clusterIPs", address);
    }
    if (!field_is_set(spec, "ipFamilyPolicy") && both) {
        jset_text(spec, "ipFamilyPolicy", "RequireDualStack");
        if (json_array_size(json_object_get(spec, "ipFamilies")) == 0) {
            REQUIRE(json_object_set_new(spec, "ipFamilies", json_pack("[s,s]", "IPv4", "IPv6")) ==
                    0);
        }
    }
    default_text(spec, "ipFamilyPolicy", "SingleStack");
    default_list(spec, "ipFamilies", "IPv4");
}

/* No address is made up: nothing here would answer at it. */
static void default_service(json_t *object, const json_t *old)
{
    json_t *spec = jobject_at(object, "spec");
    size_t i;
    json_t *port;
    default_text(spec, "type", "ClusterIP");
    default_text(spec, "sessionAffinity", "None");
    if (strcmp(jpeek_cstr(spec, "sessionAffinity"), "ClientIP") == 0 &&
        !field_is_set(spec, "sessionAffinityConfig")) {
        REQUIRE(json_object_set_new(spec, "sessionAffinityConfig",
                                    json_pack("{s:{s:i}}", "clientIP", "timeoutSeconds", 10800)) ==
                0);
    }
    json_array_foreach(json_object_get(spec, "ports"), i, port)
    {
        default_port(port);
    }
    const char *type = jpeek_cstr(spec, "type");
    if (strcmp(type, "ExternalName") != 0) {
        default_text(spec, "internalTrafficPolicy", "Cluster");
        default_addresses(spec);
    }
    bool balanced = strcmp(type, "LoadBalancer") == 0;
    if (balanced || strcmp(type, "NodePort") == 0) {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if (balanced && !field_is_set(spec, "allocateLoadBalancerNodePorts")) {
        REQUIRE(json_object_set_new(spec, "allocateLoadBalancerNodePorts", json_true()) == 0);
    }
    if (old == NULL) {
        (void)jobject_at(jobject_at(object, "status"), "loadBalancer");
    }
}

/* Adds all that is wrong with a text of a field. */
static void check_text(json_t *causes, const char *field, const char *value,
                       size_t (*words)(struct slice, const char *, struct strbuf *))
{
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&why, 1024);
    if (words(slice_str(value), "; ", &why) > 0) {
        cause_add(causes, field, "Invalid value: \"%.500s\": %s", value, why.ptr);
    }
}

static void check_port(json_t *causes, const json_t *ports, size_t index)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const json_t *port = json_array_get(ports, index);
    const char *name = jpeek_cstr(port, "name");
    char field[64];
    (void)snprintf(field, sizeof(field), "spec.ports[%zu].name", index);
    if (name[0] == '\0' && json_array_size(ports) > 1) {
        cause_add(causes, field, "Required value");
    } else if (name[0] != '\0') {
        check_text(causes, field, name, words_dns1123_label);
        for (size_t i = 0; i < index; i++) {
            if (strcmp(name, jpeek_cstr(json_array_get(ports, i), "name")) == 0) {
                cause_add(causes, field, "Duplicate value: \"%.500s\"", name);
                break;
            }
        }
    }
    (void)snprintf(field, sizeof(field), "spec.ports[%zu].port", index);
    int64_t number = jpeek_i64(port, "port");
    if (number < 1 || number > 65535) {
        cause_add(causes, field, "Invalid value: %lld: must be between 1 and 65535, inclusive",
                  (long long)number);
    }
    (void)snprintf(field, sizeof(field), "spec.ports[%zu].protocol", index);
    cause_unless_one_of(causes, field, jpeek_cstr(port, "protocol"), protocols);
    (void)snprintf(field, sizeof(field), "spec.ports[%zu].targetPort", index);
    const json_t *target = json_object_get(port, "targetPort");
    if (json_is_integer(target) &&
        (json_integer_value(target) < 1 || json_integer_value(target) > 65535)) {
        cause_add(causes, field, "Invalid value: %lld: must be between 1 and 65535, inclusive",
                  (long long)json_integer_value(target));
    }
}

static void check_service(json_t *causes, const json_t *object)
{
    static const char *const affinities[] = {"ClientIP", "None", NULL};
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort",
                                        NULL};
    const json_t *spec = json_object_get(object, "spec");
    const json_t *ports = json_object_get(spec, "ports");
    const char *type = jpeek_cstr(spec, "type");
    bool named = strcmp(type, "ExternalName") == 0;
    const char *host = jpeek_cstr(spec, "externalName");
    if (json_array_size(ports) == 0 && !named &&
        strcmp(jpeek_cstr(spec, "clusterIP"), "None") != 0) {
        cause_add(causes, "spec.ports", "Required value");
    }
    for (size_t i = 0; i < json_array_size(ports); i++) {
        check_port(causes, ports, i);
    }
    cause_unless_one_of(causes, "spec.sessionAffinity", jpeek_cstr(spec, "sessionAffinity"),
                        affinities);
    cause_unless_one_of(causes, "spec.type", type, types);
    if (named && host[0] == '\0') {
        cause_add(causes, "spec.externalName", "Required value");
    } else if (named) {
        size_t len = strlen(host);
        CLEANUP(cleanup_free)
        char *plain = xasprintf("%.*s", (int)len - (host[len - 1] == '.'), host);
        check_text(causes, "spec.externalName", plain, words_dns1123_subdomain);
    }
}

/* --- Deployment ---------------------------------------------------------------------------- */

static bool selects(const json_t *selector, const json_t *labels)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)selector, key, value)
    {
        if (!jequal(json_object_get(labels, key), value)) {
            return false;
        }
    }
    return true;
}

static void check_deployment(json_t *causes, const json_t *object, const json_t *old)
{
    const json_t *selector = jget(object, "spec.selector");
    const json_t *labels = jget(object, "spec.template.metadata.labels");
    int64_t replicas = jpeek_i64(object, "spec.replicas");
    if (replicas < 0 || replicas > INT32_MAX) {
        cause_add(causes, "spec.replicas",
                  "Invalid value: %lld: must be greater than or equal to 0", (long long)replicas);
    }
    if (json_object_size(selector) == 0) {
        cause_add(causes, "spec.selector", "Required value");
    }
    if (json_object_size(selector) == 0 || !selects(jget(selector, "matchLabels"), labels)) {
        CLEANUP(cleanup_free) char *text = labels == NULL ? xstrdup("null") : jdump_str(labels);
        cause_add(causes, "spec.template.metadata.labels",
                  "Invalid value: %.1500s: `selector` does not match template `labels`", text);
    }
    if (old != NULL && !jequal(selector, jget(old, "spec.selector"))) {
        CLEANUP(cleanup_free) char *text = jdump_str(selector);
        cause_add(causes, "spec.selector", "Invalid value: %.1500s: field is immutable", text);
    }
    if (json_array_size(jget(object, "spec.template.spec.containers")) == 0) {
        cause_add(causes, "spec.template.spec.containers", "Required value");
    }
}

static void default_deployment(json_t *object)
{
    json_t *spec = jobject_at(object, "spec");
    if (!field_is_set(spec, "replicas")) {
        REQUIRE(json_object_set_new(spec, "replicas", json_integer(1)) == 0);
    }
}

/* --- all ----------------------------------------------------------------------------------- */

json_t *core_admit(enum kind_id id, json_t *object, const json_t *old)
{
    json_t *causes = json_array();
    REQUIRE(causes != NULL);
    if (id == KIND_NAMESPACE) {
        default_namespace(object, old);
    } else if (id == KIND_CONFIGMAP) {
        check_configmap(causes, object, old);
    } else if (id == KIND_SECRET) {
        default_secret(object);
        check_secret(causes, object, old);
    } else if (id == KIND_CORE_SERVICE) {
        default_service(object, old);
        check_service(causes, object);
    } else if (id == KIND_DEPLOYMENT) {
        default_deployment(object);
        check_deployment(causes, object, old);
    } else if (id == KIND_HPA) {
        scaling_default(object);
        scaling_check(causes, object);
    }
    if (json_array_size(causes) > 0) {
        return causes;
    }
    json_decref(causes);
    return NULL;
}
