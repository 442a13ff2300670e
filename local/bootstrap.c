// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: one list of writes, all started at once (the store keeps their order), counted down as
 * they complete. An object that exists is fine; config-network is patched then.
 */

#include "local/bootstrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/feature_flags.h"
#include "serving/names.h"

#define BASE64_MAX (64u << 10)

struct bootstrap {
    struct bootstrap_options options;
    size_t waiting;
    int rc;
    struct error err;
    bootstrap_cb cb;
    void *arg;
};

static void finish_one(struct bootstrap *b)
{
    if (--b->waiting > 0) {
        return;
    }
    bootstrap_cb cb = b->cb;
    void *arg = b->arg;
    int rc = b->rc;
    struct error err = b->err;
    free(b);
    cb(rc, &err, arg);
}

static void on_written(int rc, struct object *object, const struct error *err, void *arg)
{
    struct bootstrap *b = arg;
    if (rc < 0 && b->rc == 0) {
        b->rc = rc;
        b->err = *err;
    }
    finish_one(b);
}

/* Takes body. */
static int ensure(struct bootstrap *b, const char *resource, const char *ns, json_t *body,
                  struct error *err)
{
    int rc = store_create(b->options.store, resource, ns, body, STORE_USER, on_written, b, err);
    json_decref(body);
    if (rc == 0) {
        b->waiting++;
    }
    return rc == ERR_EXISTS ? 0 : rc;
}

static int ensure_namespace(struct bootstrap *b, const char *name, struct error *err)
{
    json_t *body = json_pack("{s:{s:s, s:{s:s}}, s:{s:[s]}, s:{s:s}}", "metadata", "name", name,
                             "labels", "kubernetes.io/metadata.name", name, "spec", "finalizers",
                             "kubernetes", "status", "phase", "Active");
    REQUIRE(body != NULL);
    return ensure(b, "namespaces", "", body, err);
}

/* Whether tls-secrets says something already. */
static bool has_tls_secrets(const struct bootstrap *b)
{
    const struct object *o =
        store_get(b->options.store, "configmaps", b->options.system_namespace, CONFIG_NETWORK);
    CLEANUP(jfree) json_t *map = o == NULL ? NULL : object_tree(o);
    return jpeek_str(map, "data.tls-secrets").len > 0;
}

static json_t *network_data(const struct bootstrap *b)
{
    char port[16], address[96];
    (void)snprintf(port, sizeof(port), "%u", b->options.public_port);
    (void)snprintf(address, sizeof(address), "http://127.0.0.1:%u/_lull/{{.Namespace}}/{{.Name}}",
                   b->options.local_port);
    json_t *data = json_pack("{s:s, s:s}", "external-port", port, "address-template", address);
    REQUIRE(data != NULL);
    if (b->options.tls_port != 0) {
        (void)snprintf(port, sizeof(port), "%u", b->options.tls_port);
        json_object_set_new(data, "external-tls-port", json_string(port));
    }
    if (b->options.tls_port != 0 && !has_tls_secrets(b)) {
        json_object_set_new(data, "tls-secrets", json_string(INGRESS_SECRET));
    }
    return data;
}

static json_t *config_data(const struct bootstrap *b, const char *name)
{
    if (strcmp(name, CONFIG_NETWORK) == 0) {
        json_t *data = network_data(b);
        /* One person's machine: whoever may map a domain may also claim it. Not set again later. */
        REQUIRE(json_object_set_new(data, "autocreate-cluster-domain-claims",
                                    json_string("true")) == 0);
        return data;
    }
    if (strcmp(name, CONFIG_DOMAIN) == 0) {
        return json_pack("{s:s}", "localhost", "");
    }
    if (strcmp(name, CONFIG_FEATURES) == 0) {
        /* The node agent knows the fields of a Pod, so that variables may be made of them. */
        return json_pack("{s:s}", feature_key(FEATURE_FIELD_REF), "enabled");
    }
    return json_object();
}

static int ensure_config(struct bootstrap *b, const char *name, struct error *err)
{
    const char *ns = b->options.system_namespace;
    if (strcmp(name, CONFIG_NETWORK) == 0 &&
        store_get(b->options.store, "configmaps", ns, name) != NULL) {
        json_t *patch = json_pack("{s:o}", "data", network_data(b));
        int rc = store_patch(b->options.store, "configmaps", ns, name, STORE_SUB_NONE, patch,
                             STORE_USER, on_written, b, err);
        json_decref(patch);
        b->waiting += rc == 0 ? 1 : 0;
        return rc;
    }
    json_t *body =
        json_pack("{s:{s:s}, s:o}", "metadata", "name", name, "data", config_data(b, name));
    REQUIRE(body != NULL);
    return ensure(b, "configmaps", ns, body, err);
}

static json_t *base64_of(const char *text)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, BASE64_MAX);
    base64_append(&out, slice_str(text));
    return json_stringn(out.ptr, out.len);
}

/* What the ingress shows, new at each start. */
static int ensure_ingress(struct bootstrap *b, struct error *err)
{
    const char *ns = b->options.system_namespace;
    if (b->options.tls_port == 0) {
        return 0;
    }
    json_t *data = json_pack("{s:o, s:o}", "tls.crt", base64_of(b->options.ingress->cert_pem),
                             "tls.key", base64_of(b->options.ingress->key_pem));
    if (store_get(b->options.store, "secrets", ns, INGRESS_SECRET) == NULL) {
        return ensure(b, "secrets", ns,
                      json_pack("{s:{s:s}, s:s, s:o}", "metadata", "name", INGRESS_SECRET, "type",
                                "kubernetes.io/tls", "data", data),
                      err);
    }
    json_t *patch = json_pack("{s:o}", "data", data);
    int rc = store_patch(b->options.store, "secrets", ns, INGRESS_SECRET, STORE_SUB_NONE, patch,
                         STORE_USER, on_written, b, err);
    json_decref(patch);
    b->waiting += rc == 0 ? 1 : 0;
    return rc;
}

int bootstrap_start(const struct bootstrap_options *options, bootstrap_cb cb, void *arg,
                    struct error *err)
{
    static const char *const configs[] = {CONFIG_AUTOSCALER, CONFIG_DEFAULTS,     CONFIG_NETWORK,
                                          CONFIG_DOMAIN,     CONFIG_FEATURES,     CONFIG_GC,
                                          CONFIG_DEPLOYMENT, CONFIG_OBSERVABILITY};
    struct bootstrap *b = NEW(struct bootstrap);
    b->options = *options;
    b->cb = cb;
    b->arg = arg;
    int rc = ensure_namespace(b, "default", err);
    if (rc == 0) {
        rc = ensure_namespace(b, options->system_namespace, err);
    }
    if (rc == 0) {
        rc = ensure_ingress(b, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(configs) && rc == 0; i++) {
        rc = ensure_config(b, configs[i], err);
    }
    if (b->waiting == 0 && rc == 0) {
        /* Everything is there: a change that changes nothing still completes later. */
        rc = ensure_config(b, CONFIG_NETWORK, err);
    }
    if (rc < 0 && b->waiting == 0) {
        free(b);
        return rc;
    }
    if (rc < 0) {
        b->rc = rc;
        b->err = *err;
    }
    return 0;
}
