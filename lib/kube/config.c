// SPDX-License-Identifier: Apache-2.0
/*
 * Credentials. Happy path: the file is read, libyaml makes a tree of it (JSON is YAML too), the
 * current context names a cluster and a user, their fields are copied, files they name are read.
 * Failure modes: every error names the file and the field; a user that needs a helper program is
 * refused with that reason. Nothing is kept open.
 */
#include "kube/config.h"

#include <yaml.h>

#include "base/base64.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/strbuf.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
};

#define SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

struct kubeconfig {
    const char *path;
    yaml_document_t *doc;
};

/* --- the tree of a kubeconfig -------------------------------------------------------------------
 */

static const yaml_node_t *yaml_field(const struct kubeconfig *k, const yaml_node_t *map,
                                     const char *key)
{
    if (map == NULL || map->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *name = yaml_document_get_node(k->doc, p->key);
        if (name != NULL && name->type == YAML_SCALAR_NODE &&
            strcmp((const char *)name->data.scalar.value, key) == 0) {
            return yaml_document_get_node(k->doc, p->value);
        }
    }
    return NULL;
}

/* NULL when missing, empty or no scalar. */
static const char *yaml_text(const struct kubeconfig *k, const yaml_node_t *map, const char *key)
{
    const yaml_node_t *node = yaml_field(k, map, key);
    if (node == NULL || node->type != YAML_SCALAR_NODE || node->data.scalar.length == 0) {
        return NULL;
    }
    return (const char *)node->data.scalar.value;
}

/* The entry called `name` of the list `lists`; its content stands under `item`. */
static const yaml_node_t *yaml_named(const struct kubeconfig *k, const char *lists,
                                     const char *name, const char *item)
{
    const yaml_node_t *list = yaml_field(k, yaml_document_get_root_node(k->doc), lists);
    if (list == NULL || list->type != YAML_SEQUENCE_NODE || name == NULL) {
        return NULL;
    }
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top;
         i++) {
        const yaml_node_t *entry = yaml_document_get_node(k->doc, *i);
        const char *is = yaml_text(k, entry, "name");
        if (is != NULL && strcmp(is, name) == 0) {
            return yaml_field(k, entry, item);
        }
    }
    return NULL;
}

/* --- fields that are files or base64
 * -------------------------------------------------------------- */

/* NULL when text is no base64. */
static char *decoded(const char *text)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, FILE_BYTES_MAX);
    return base64_decode(slice_str(text), &out, NULL) == 0 ? strbuf_take(&out, NULL) : NULL;
}

static int read_text(const char *path, char **out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, FILE_BYTES_MAX);
    int rc = fs_read_file(path, FILE_BYTES_MAX, &text, err);
    if (rc < 0) {
        return rc;
    }
    *out = strbuf_take(&text, NULL);
    return 0;
}

/* A path that stands in the kubeconfig: relative to its folder. */
static char *beside(const struct kubeconfig *k, const char *path)
{
    const char *slash = strrchr(k->path, '/');
    if (path[0] == '/' || slash == NULL) {
        return xstrdup(path);
    }
    return xasprintf("%.*s/%s", (int)(slash - k->path), k->path, path);
}

/* KEY-data in base64, else the file named by KEY, else nothing. */
static int field_pem(const struct kubeconfig *k, const yaml_node_t *map, const char *key,
                     char **out, struct error *err)
{
    CLEANUP(cleanup_free) char *data_key = xasprintf("%s-data", key);
    const char *data = yaml_text(k, map, data_key);
    if (data != NULL) {
        *out = decoded(data);
        return *out != NULL
                   ? 0
                   : error_set(err, ERR_INVALID, "%s: %s is not base64", k->path, data_key);
    }
    const char *file = yaml_text(k, map, key);
    if (file == NULL) {
        return 0;
    }
    CLEANUP(cleanup_free) char *path = beside(k, file);
    int rc = read_text(path, out, err);
    return rc < 0 ? error_prefix(err, rc, "%s: %s", k->path, key) : 0;
}

/* --- loading
 * -------------------------------------------------------------------------------------- */

static char *server_of(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/') {
        len--;
    }
    return xstrndup(text, len);
}

static int read_cluster(const struct kubeconfig *k, const yaml_node_t *cluster,
                        struct kube_config *out, struct error *err)
{
    const char *server = yaml_text(k, cluster, "server");
    const char *insecure = yaml_text(k, cluster, "insecure-skip-tls-verify");
    if (server == NULL) {
        return error_set(err, ERR_INVALID, "%s: the cluster of its context has no server", k->path);
    }
    out->server = server_of(server);
    out->insecure = insecure != NULL && strcmp(insecure, "true") == 0;
    return field_pem(k, cluster, "certificate-authority", &out->ca_pem, err);
}

static int read_user(const struct kubeconfig *k, const yaml_node_t *user, struct kube_config *out,
                     struct error *err)
{
    const char *token = yaml_text(k, user, "token");
    const char *token_file = yaml_text(k, user, "tokenFile");
    if (token_file != NULL) {
        out->token_file = beside(k, token_file);
    } else if (token != NULL) {
        out->token = xstrdup(token);
    }
    int rc = field_pem(k, user, "client-certificate", &out->client_cert_pem, err);
    if (rc == 0) {
        rc = field_pem(k, user, "client-key", &out->client_key_pem, err);
    }
    if (rc < 0) {
        return rc;
    }
    bool has_any = out->token != NULL || out->token_file != NULL || out->client_cert_pem != NULL;
    if (!has_any &&
        (yaml_field(k, user, "exec") != NULL || yaml_field(k, user, "auth-provider") != NULL)) {
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: its user logs in through a helper program, which is not supported; "
                         "give it a token or a client certificate",
                         k->path);
    }
    return 0;
}

static int read_context(const struct kubeconfig *k, const char *context, struct kube_config *out,
                        struct error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(k->doc);
    const char *name = context != NULL ? context : yaml_text(k, root, "current-context");
    if (name == NULL) {
        return error_set(err, ERR_INVALID, "%s: current-context is not set", k->path);
    }
    const yaml_node_t *ctx = yaml_named(k, "contexts", name, "context");
    if (ctx == NULL) {
        return error_set(err, ERR_INVALID, "%s: there is no context \"%s\"", k->path, name);
    }
    const yaml_node_t *cluster = yaml_named(k, "clusters", yaml_text(k, ctx, "cluster"), "cluster");
    if (cluster == NULL) {
        return error_set(err, ERR_INVALID, "%s: the cluster of context \"%s\" is missing", k->path,
                         name);
    }
    const char *ns = yaml_text(k, ctx, "namespace");
    out->ns = xstrdup(ns == NULL ? "default" : ns);
    int rc = read_cluster(k, cluster, out, err);
    if (rc == 0) {
        rc = read_user(k, yaml_named(k, "users", yaml_text(k, ctx, "user"), "user"), out, err);
    }
    return rc;
}

int kube_config_load_file(const char *path, const char *context, struct kube_config *out,
                          struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, FILE_BYTES_MAX);
    int rc = fs_read_file(path, FILE_BYTES_MAX, &text, err);
    if (rc < 0) {
        return rc;
    }
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) {
        return error_set(err, ERR_NOMEM, "%s: cannot start the YAML reader", path);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    if (!yaml_parser_load(&parser, &doc)) {
        rc = error_set(err, ERR_INVALID, "%s: line %zu: %s", path, parser.problem_mark.line + 1,
                       parser.problem == NULL ? "no YAML" : parser.problem);
        yaml_parser_delete(&parser);
        return rc;
    }
    struct kubeconfig k = {.path = path, .doc = &doc};
    struct kube_config config = {0};
    rc = read_context(&k, context, &config, err);
    yaml_document_delete(&doc);
    yaml_parser_delete(&parser);
    if (rc < 0) {
        kube_config_fini(&config);
        return rc;
    }
    *out = config;
    return 0;
}

int kube_config_load_in_cluster(struct kube_config *out, struct error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    if (host == NULL || host[0] == '\0' || port == NULL || port[0] == '\0') {
        return error_set(err, ERR_NOT_FOUND, "KUBERNETES_SERVICE_HOST is not set: this is no pod");
    }
    struct kube_config config = {0};
    bool v6 = strchr(host, ':') != NULL;
    config.server = xasprintf("https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    config.token_file = xstrdup(SERVICE_ACCOUNT_DIR "/token");
    int rc = read_text(SERVICE_ACCOUNT_DIR "/ca.crt", &config.ca_pem, err);
    if (rc == 0 && read_text(SERVICE_ACCOUNT_DIR "/namespace", &config.ns, NULL) < 0) {
        config.ns = xstrdup("default");
    }
    if (rc < 0) {
        kube_config_fini(&config);
        return error_prefix(err, rc, "the pod's service account");
    }
    *out = config;
    return 0;
}

/* The first file of a colon-separated list that exists, in new memory; NULL: none. */
static char *first_existing(const char *list)
{
    struct slice rest = slice_str(list);
    struct slice part;
    while (slice_split(&rest, ':', &part)) {
        char *path = slice_dup(part);
        if (part.len > 0 && fs_exists(path)) {
            return path;
        }
        free(path);
    }
    return NULL;
}

int kube_config_load(const char *path, struct kube_config *out, struct error *err)
{
    if (path != NULL && path[0] != '\0') {
        return kube_config_load_file(path, NULL, out, err);
    }
    const char *env = getenv("KUBECONFIG");
    if (env != NULL && env[0] != '\0') {
        CLEANUP(cleanup_free) char *found = first_existing(env);
        return found != NULL
                   ? kube_config_load_file(found, NULL, out, err)
                   : error_set(err, ERR_NOT_FOUND, "KUBECONFIG=%s: there is no such file", env);
    }
    if (getenv("KUBERNETES_SERVICE_HOST") != NULL) {
        return kube_config_load_in_cluster(out, err);
    }
    const char *home = getenv("HOME");
    CLEANUP(cleanup_free) char *usual = xasprintf("%s/.kube/config", home == NULL ? "" : home);
    if (home != NULL && fs_exists(usual)) {
        return kube_config_load_file(usual, NULL, out, err);
    }
    return error_set(err, ERR_NOT_FOUND,
                     "no API server is known: no kubeconfig was given, KUBECONFIG is not set, this "
                     "is no pod, and %s does not exist",
                     usual);
}

void kube_config_fini(struct kube_config *config)
{
    free(config->server);
    free(config->ca_pem);
    free(config->client_cert_pem);
    free(config->client_key_pem);
    free(config->token);
    free(config->token_file);
    free(config->ns);
    *config = (struct kube_config){0};
}
