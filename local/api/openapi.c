// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a document is built as a JSON tree. Each structure becomes a definition the first time that
 * something refers to it; a structure of Kubernetes that kinds of ours share gets a second
 * definition, which has only what these kinds have.
 */

#include "local/api/openapi.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/jparse.h"
#include "serving/schema.h"
#include "local/api/openapi_pb.h"
#include "local/api/strategic_fields.h"

#define DOCUMENT_MAX (4u << 20)
#define NAME_MAX_LEN 160

struct document {
    json_t *definitions; /* borrowed from root */
    json_t *paths;       /* borrowed from root */
    json_t *root;
    bool v2;
    bool custom; /* the kind that is written is one of ours */
};

static void set(json_t *object, const char *key, json_t *value)
{
    REQUIRE(json_object_set_new(object, key, value) == 0);
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text[0] != '\0') {
        set(object, key, json_string(text));
    }
}

static json_t *gvk_of(const struct kind *kind)
{
    return json_pack("{s:s, s:s, s:s}", "group", kind->group, "kind", kind->kind, "version",
                     kind->version);
}

/* --- definitions --------------------------------------------------------------------------- */

static const char *definition_name(const struct document *d, const struct schema *schema,
                                   char buf[NAME_MAX_LEN])
{
    bool meta =
        schema == schema_row(SCHEMA_OBJECT_META) || schema == schema_row(SCHEMA_OWNER_REFERENCE);
    const char *package = d->custom && !meta ? "dev.knative.serving.v1" : schema->package;
    (void)snprintf(buf, NAME_MAX_LEN, "%s.%s", package, schema->name);
    return buf;
}

static void define(struct document *d, const struct schema *schema, const struct kind *kind);

static json_t *reference(struct document *d, const struct schema *schema)
{
    char name[NAME_MAX_LEN], text[NAME_MAX_LEN + 40];
    define(d, schema, NULL);
    (void)snprintf(text, sizeof(text), "#/%s/%s", d->v2 ? "definitions" : "components/schemas",
                   definition_name(d, schema, name));
    if (d->v2) {
        return json_pack("{s:s}", "$ref", text);
    }
    return json_pack("{s:[{s:s}]}", "allOf", "$ref", text);
}

static json_t *typed(const char *type, const char *format)
{
    json_t *out = json_pack("{s:s}", "type", type);
    set_text(out, "format", format);
    return out;
}

static json_t *flexible(const struct document *d, const char *format, const char *number)
{
    if (d->custom && !d->v2) {
        return json_pack("{s:[{s:s},{s:s}], s:b}", "anyOf", "type", "integer", "type", "string",
                         "x-kubernetes-int-or-string", 1);
    }
    if (d->v2) {
        return typed("string", format);
    }
    json_t *out = json_pack("{s:[{s:s},{s:s}]}", "oneOf", "type", number, "type", "string");
    set_text(out, "format", format);
    return out;
}

/* One element of a field. */
static json_t *element(struct document *d, const struct schema_field *f)
{
    json_t *open;
    if (schema_is_open(f, d->custom)) {
        open = typed("object", "");
        if (d->custom) {
            set(open, "x-kubernetes-preserve-unknown-fields", json_true());
        }
        return open;
    }
    switch ((enum schema_type)f->type) {
    case SCHEMA_TYPE_OBJECT:
        return reference(d, schema_row((enum schema_id)f->ref));
    case SCHEMA_TYPE_INT32:
        return typed("integer", "int32");
    case SCHEMA_TYPE_INT64:
        return typed("integer", "int64");
    case SCHEMA_TYPE_BOOL:
        return typed("boolean", "");
    case SCHEMA_TYPE_TIME:
    case SCHEMA_TYPE_MICRO_TIME:
        return typed("string", "date-time");
    case SCHEMA_TYPE_BYTES:
        return typed("string", "byte");
    case SCHEMA_TYPE_QUANTITY:
        return flexible(d, "", "number");
    case SCHEMA_TYPE_INT_OR_STRING:
        return flexible(d, "int-or-string", "integer");
    case SCHEMA_TYPE_OPEN:
    case SCHEMA_TYPE_STRING:
        break;
    }
    return typed("string", "");
}

static void add_list_rules(const struct document *d, json_t *out, const struct schema_field *f)
{
    const char *key = f->keys != NULL ? f->keys : f->merge;
    if (f->merge != NULL && !d->custom) {
        set_text(out, "x-kubernetes-patch-merge-key", f->merge);
        set_text(out, "x-kubernetes-patch-strategy", "merge");
    }
    if (key != NULL && (f->keys != NULL || !d->custom)) {
        set_text(out, "x-kubernetes-list-type", key[0] == '\0' ? "set" : "map");
        if (key[0] != '\0') {
            set(out, "x-kubernetes-list-map-keys", json_pack("[s]", key));
        }
    }
}

static json_t *property(struct document *d, const struct schema_field *f)
{
    json_t *one = element(d, f), *out = one;
    if (f->shape == SCHEMA_LIST) {
        out = typed("array", "");
        set(out, "items", one);
        add_list_rules(d, out, f);
    } else if (f->shape == SCHEMA_MAP) {
        out = typed("object", "");
        set(out, "additionalProperties", one);
    }
    set_text(out, "description", f->description);
    if (f->initial != NULL && d->custom) {
        set(out, "default", json_string(f->initial));
    }
    return out;
}

static void add_head(struct document *d, json_t *properties)
{
    json_t *version = typed("string", ""), *name = typed("string", "");
    set_text(version, "description", "Version of the schema of this object");
    set_text(name, "description", "What this object is");
    set(properties, "apiVersion", version);
    set(properties, "kind", name);
    json_t *metadata = reference(d, schema_row(SCHEMA_OBJECT_META));
    set_text(metadata, "description", "Name, labels and what the server knows of the object");
    set(properties, "metadata", metadata);
}

/* kind: of the root of a kind; NULL: of a part. */
static void define(struct document *d, const struct schema *schema, const struct kind *kind)
{
    char name[NAME_MAX_LEN];
    definition_name(d, schema, name);
    if (json_object_get(d->definitions, name) != NULL) {
        return;
    }
    json_t *out = typed("object", ""), *properties = json_object(), *required = json_array();
    set(d->definitions, name, out);
    set_text(out, "description", schema->description);
    if (kind != NULL) {
        add_head(d, properties);
        set(out, "x-kubernetes-group-version-kind", json_pack("[o]", gvk_of(kind)));
    }
    size_t at = 0;
    const struct schema_field *f;
    while ((f = schema_next(schema, d->custom, &at)) != NULL) {
        set(properties, f->name, property(d, f));
        if (schema_is_required(f, d->custom)) {
            REQUIRE(json_array_append_new(required, json_string(f->name)) == 0);
        }
    }
    set(out, "properties", properties);
    if (json_array_size(required) > 0) {
        REQUIRE(json_object_set(out, "required", required) == 0);
    }
    json_decref(required);
    if (schema->keeps) {
        set(out, "x-kubernetes-preserve-unknown-fields", json_true());
    }
}

/* --- paths --------------------------------------------------------------------------------- */

static json_t *parameter(const struct document *d, const char *name)
{
    if (d->v2) {
        return json_pack("{s:s, s:s, s:s, s:b}", "name", name, "in", "query", "type", "string",
                         "uniqueItems", 1);
    }
    return json_pack("{s:s, s:s, s:{s:s, s:b}}", "name", name, "in", "query", "schema", "type",
                     "string", "uniqueItems", 1);
}

static json_t *patch_types(const struct kind *kind)
{
    json_t *content = json_object();
    set(content, "application/json-patch+json", json_object());
    set(content, "application/merge-patch+json", json_object());
    if (strategic_type_of(kind->id) != NULL) {
        set(content, "application/strategic-merge-patch+json", json_object());
    }
    return json_pack("{s:o, s:b}", "content", content, "required", 1);
}

static void add_operation(const struct document *d, json_t *path, const struct kind *kind,
                          const char *method, const char *action)
{
    json_t *parameters = json_array();
    if (strcmp(action, "get") != 0 && strcmp(action, "list") != 0) {
        REQUIRE(json_array_append_new(parameters, parameter(d, "dryRun")) == 0);
        if (strcmp(action, "delete") != 0) {
            REQUIRE(json_array_append_new(parameters, parameter(d, "fieldValidation")) == 0);
        }
    }
    json_t *operation = json_pack("{s:o, s:{s:{s:s}}, s:s, s:o}", "parameters", parameters,
                                  "responses", "200", "description", "OK", "x-kubernetes-action",
                                  action, "x-kubernetes-group-version-kind", gvk_of(kind));
    if (strcmp(action, "patch") == 0 && !d->v2) {
        set(operation, "requestBody", patch_types(kind));
    }
    set(path, method, operation);
}

static void add_paths(const struct document *d, const struct kind *kind)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "/%s/%s%s/%s", kind->group[0] == '\0' ? "api" : "apis",
                     kind_api_version(kind), kind->namespaced ? "/namespaces/{namespace}" : "",
                     kind->plural);
    json_t *collection = json_object(), *object = json_object();
    set(d->paths, text, collection);
    (void)snprintf(text + n, sizeof(text) - (size_t)n, "/{name}");
    set(d->paths, text, object);
    add_operation(d, collection, kind, "get", "list");
    add_operation(d, collection, kind, "post", "post");
    add_operation(d, object, kind, "get", "get");
    add_operation(d, object, kind, "put", "put");
    add_operation(d, object, kind, "patch", "patch");
    add_operation(d, object, kind, "delete", "delete");
}

/* --- documents ----------------------------------------------------------------------------- */

static void begin(struct document *d, bool v2)
{
    *d = (struct document){.v2 = v2, .root = json_object()};
    set_text(d->root, v2 ? "swagger" : "openapi", v2 ? "2.0" : "3.0.0");
    set(d->root, "info", json_pack("{s:s, s:s}", "title", "Lull", "version", LULL_VERSION));
    d->paths = json_object();
    set(d->root, "paths", d->paths);
    d->definitions = json_object();
    if (v2) {
        set(d->root, "definitions", d->definitions);
    } else {
        set(d->root, "components", json_pack("{s:o}", "schemas", d->definitions));
    }
}

static void add_kind(struct document *d, const struct kind *kind)
{
    d->custom = kind_is_custom(kind);
    define(d, schema_of(kind), kind);
    add_paths(d, kind);
}

static json_t *tree_v2(void)
{
    struct document d;
    begin(&d, true);
    for (int i = 0; i < KIND_COUNT; i++) {
        add_kind(&d, kind_row((enum kind_id)i));
    }
    return d.root;
}

static void print(json_t *tree, struct strbuf *out)
{
    struct error err;
    REQUIRE(jdump(tree, out, &err) == 0 || !strbuf_ok(out));
    json_decref(tree);
}

void openapi_v2(struct strbuf *out)
{
    print(tree_v2(), out);
}

void openapi_v2_protobuf(struct strbuf *out)
{
    json_t *tree = tree_v2();
    openapi_pb(tree, out);
    json_decref(tree);
}

void openapi_v3(const struct kind *head, struct strbuf *out)
{
    struct document d;
    begin(&d, false);
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (strcmp(kind_api_version(kind), kind_api_version(head)) == 0) {
            add_kind(&d, kind);
        }
    }
    print(d.root, out);
}

/* --- which there are ----------------------------------------------------------------------- */

/* The first row of the group and version of this one. */
static const struct kind *head_of(const struct kind *kind)
{
    int i = 0;
    while (strcmp(kind_api_version(kind_row((enum kind_id)i)), kind_api_version(kind)) != 0) {
        i++;
    }
    return kind_row((enum kind_id)i);
}

static const char *path_of(const struct kind *kind, char buf[NAME_MAX_LEN])
{
    (void)snprintf(buf, NAME_MAX_LEN, "%s/%s", kind->group[0] == '\0' ? "api" : "apis",
                   kind_api_version(kind));
    return buf;
}

static void hash(const struct strbuf *text, char out[OPENAPI_HASH_MAX])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    REQUIRE(EVP_Digest(text->ptr, text->len, digest, NULL, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < (OPENAPI_HASH_MAX - 1) / 2; i++) {
        (void)snprintf(out + 2 * i, 3, "%02X", digest[i]);
    }
}

void openapi_hash(struct openapi_hashes *out)
{
    *out = (struct openapi_hashes){0};
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (head_of(kind) == kind) {
            CLEANUP(strbuf_fini) struct strbuf text;
            strbuf_init(&text, DOCUMENT_MAX);
            openapi_v3(kind, &text);
            hash(&text, out->of[i]);
        }
    }
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, DOCUMENT_MAX);
    openapi_v2(&text);
    hash(&text, out->v2);
}

void openapi_index(const struct openapi_hashes *hashes, struct strbuf *out)
{
    char path[NAME_MAX_LEN];
    bool first = true;
    (void)strbuf_append_str(out, "{\"paths\":{");
    for (int i = 0; i < KIND_COUNT; i++) {
        if (hashes->of[i][0] != '\0') {
            path_of(kind_row((enum kind_id)i), path);
            (void)strbuf_appendf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}",
                                 first ? "" : ",", path, path, hashes->of[i]);
            first = false;
        }
    }
    (void)strbuf_append_str(out, "}}");
}

const struct kind *openapi_find(struct slice path)
{
    static const char root[] = "/openapi/v3/";
    char own[NAME_MAX_LEN];
    path = slice_sub(path, sizeof(root) - 1, path.len);
    for (int i = 0; i < KIND_COUNT; i++) {
        if (slice_eq_str(path, path_of(kind_row((enum kind_id)i), own))) {
            return kind_row((enum kind_id)i);
        }
    }
    return NULL;
}
