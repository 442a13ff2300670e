// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a message is written into a buffer of its own and appended with its number and length, so
 * the walk is a recursion along the tree. Extensions and defaults are YAML texts there; JSON is
 * YAML. Failure mode: a document beyond the buffer's bound leaves it failed.
 */

#include "local/api/openapi_pb.h"

#include <string.h>

#include "base/mem.h"
#include "json/jparse.h"

#define MESSAGE_MAX (4u << 20)

typedef void (*write_cb)(const json_t *value, struct strbuf *out);

static void put_varint(struct strbuf *out, uint64_t n)
{
    while (n >= 0x80) {
        (void)strbuf_append_char(out, (char)(n | 0x80));
        n >>= 7;
    }
    (void)strbuf_append_char(out, (char)n);
}

static void put_bytes(struct strbuf *out, unsigned field, struct slice bytes)
{
    put_varint(out, (uint64_t)field << 3 | 2);
    put_varint(out, bytes.len);
    (void)strbuf_append_slice(out, bytes);
}

static void put_text(struct strbuf *out, unsigned field, const json_t *text)
{
    if (json_is_string(text)) {
        put_bytes(out, field, slice_of(json_string_value(text), json_string_length(text)));
    }
}

static void put_message(struct strbuf *out, unsigned field, const json_t *value, write_cb write)
{
    if (value != NULL) {
        CLEANUP(strbuf_fini) struct strbuf message;
        strbuf_init(&message, MESSAGE_MAX);
        write(value, &message);
        out->failed = out->failed || !strbuf_ok(&message);
        put_bytes(out, field, strbuf_slice(&message));
    }
}

/* One message {1 name, 2 value} for each member. */
static void put_named(struct strbuf *out, unsigned field, const json_t *object, write_cb write)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        CLEANUP(strbuf_fini) struct strbuf message;
        strbuf_init(&message, MESSAGE_MAX);
        put_bytes(&message, 1, slice_str(key));
        put_message(&message, 2, value, write);
        out->failed = out->failed || !strbuf_ok(&message);
        put_bytes(out, field, strbuf_slice(&message));
    }
}

static void write_any(const json_t *value, struct strbuf *out)
{
    CLEANUP(cleanup_free) char *text = jdump_str(value);
    put_bytes(out, 2, slice_str(text));
}

static void put_extensions(struct strbuf *out, unsigned field, const json_t *object)
{
    CLEANUP(jfree) json_t *some = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (strncmp(key, "x-", 2) == 0) {
            REQUIRE(json_object_set(some, key, value) == 0);
        }
    }
    put_named(out, field, some, write_any);
}

static void write_schema(const json_t *schema, struct strbuf *out);

static void write_type(const json_t *type, struct strbuf *out)
{
    put_text(out, 1, type);
}

static void write_one_schema(const json_t *schema, struct strbuf *out)
{
    put_message(out, 1, schema, write_schema);
}

static void write_properties(const json_t *properties, struct strbuf *out)
{
    put_named(out, 1, properties, write_schema);
}

static void write_schema(const json_t *schema, struct strbuf *out)
{
    size_t i;
    json_t *name;
    put_text(out, 1, json_object_get(schema, "$ref"));
    put_text(out, 2, json_object_get(schema, "format"));
    put_text(out, 4, json_object_get(schema, "description"));
    put_message(out, 5, json_object_get(schema, "default"), write_any);
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        put_text(out, 19, name);
    }
    put_message(out, 21, json_object_get(schema, "additionalProperties"), write_one_schema);
    put_message(out, 22, json_object_get(schema, "type"), write_type);
    put_message(out, 23, json_object_get(schema, "items"), write_one_schema);
    put_message(out, 25, json_object_get(schema, "properties"), write_properties);
    put_extensions(out, 31, schema);
}

/* QueryParameterSubSchema within NonBodyParameter within Parameter within ParametersItem. */
static void write_query(const json_t *parameter, struct strbuf *out)
{
    put_text(out, 2, json_object_get(parameter, "in"));
    put_text(out, 4, json_object_get(parameter, "name"));
    put_text(out, 6, json_object_get(parameter, "type"));
}

static void write_non_body(const json_t *parameter, struct strbuf *out)
{
    put_message(out, 3, parameter, write_query);
}

static void write_parameter(const json_t *parameter, struct strbuf *out)
{
    put_message(out, 2, parameter, write_non_body);
}

static void write_item(const json_t *parameter, struct strbuf *out)
{
    put_message(out, 1, parameter, write_parameter);
}

static void write_operation(const json_t *operation, struct strbuf *out)
{
    size_t i;
    json_t *parameter;
    json_array_foreach(json_object_get(operation, "parameters"), i, parameter)
    {
        put_message(out, 8, parameter, write_item);
    }
    put_extensions(out, 13, operation);
}

static void write_path(const json_t *path, struct strbuf *out)
{
    put_message(out, 2, json_object_get(path, "get"), write_operation);
    put_message(out, 3, json_object_get(path, "put"), write_operation);
    put_message(out, 4, json_object_get(path, "post"), write_operation);
    put_message(out, 5, json_object_get(path, "delete"), write_operation);
    put_message(out, 8, json_object_get(path, "patch"), write_operation);
}

static void write_paths(const json_t *paths, struct strbuf *out)
{
    put_named(out, 2, paths, write_path);
}

static void write_info(const json_t *info, struct strbuf *out)
{
    put_text(out, 1, json_object_get(info, "title"));
    put_text(out, 2, json_object_get(info, "version"));
}

void openapi_pb(const json_t *document, struct strbuf *out)
{
    put_text(out, 1, json_object_get(document, "swagger"));
    put_message(out, 2, json_object_get(document, "info"), write_info);
    put_message(out, 8, json_object_get(document, "paths"), write_paths);
    put_message(out, 9, json_object_get(document, "definitions"), write_properties);
}
