// SPDX-License-Identifier: Apache-2.0
//
// Reading goes in Kubernetes' order: envFrom first, then env; the later one of two equal names
// wins. A row that cannot be read ends it with the kubelet's sentence, unless it is optional.
#include "local/agent/env.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"

#define VALUE_MAX (1u << 20)

static int row_add(struct env *env, const char *name, char *value, bool literal, struct error *err)
{
    if (!name[0] || strchr(name, '=')) {
        free(value);
        return error_set(err, ERR_INVALID, "\"%.120s\" cannot be the name of a variable", name);
    }
    if (env->count == ENV_MAX) {
        free(value);
        return error_set(err, ERR_TOO_BIG, "more than %d environment variables", ENV_MAX);
    }
    env->rows = xreallocarray(env->rows, env->count + 1, sizeof *env->rows);
    env->rows[env->count++] = (struct env_row){xstrdup(name), value, literal};
    return 0;
}

// From the bytes of an object; takes them.
static int value_add(struct env *env, const char *name, struct reference_value *value,
                     struct error *err)
{
    if (strlen(value->ptr) != value->len) {
        free(value->ptr);
        return error_set(err, ERR_INVALID,
                         "the value for %.120s has a NUL byte, which no environment variable can "
                         "have: mount it as a file instead",
                         name);
    }
    return row_add(env, name, value->ptr, true, err);
}

// ---- envFrom

static int all_add(struct env *env, const json_t *object, enum reference_kind kind,
                   const char *prefix, struct error *err)
{
    const char *key;
    json_t *ignored;
    json_object_foreach(json_object_get(object, "data"), key, ignored)
    {
        struct reference_value value;
        int rc = reference_value(object, kind, key, false, &value, err);
        if (rc > 0) {
            CLEANUP(cleanup_free) char *name = xasprintf("%s%s", prefix, key);
            rc = value_add(env, name, &value, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int from_add(struct env *env, const struct reference_source *source, const json_t *row,
                    struct error *err)
{
    static const char *const REFS[] = {
        [REFERENCE_CONFIG_MAP] = "configMapRef",
        [REFERENCE_SECRET] = "secretRef",
    };
    const char *prefix = jpeek_cstr(row, "prefix");

    for (enum reference_kind kind = 0; kind < ARRAY_LEN(REFS); kind++) {
        const json_t *ref = json_object_get(row, REFS[kind]);
        json_t *object = NULL;
        if (!ref) {
            continue;
        }
        int rc = reference_object(source, kind, jpeek_cstr(ref, "name"),
                                  jpeek_bool(ref, "optional"), &object, err);
        if (rc == 0 && object) {
            rc = all_add(env, object, kind, prefix, err);
        }
        json_decref(object);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

// ---- env

// 1: *out is filled; 0: optional, and not there.
static int key_read(const struct reference_source *source, enum reference_kind kind,
                    const json_t *ref, const char *ns, struct reference_value *out,
                    struct error *err)
{
    const char *name = jpeek_cstr(ref, "name"), *key = jpeek_cstr(ref, "key");
    bool optional = jpeek_bool(ref, "optional");
    json_t *object = NULL;

    int rc = reference_object(source, kind, name, optional, &object, err);
    if (rc == 0 && object) {
        rc = reference_value(object, kind, key, false, out, err);
        if (rc == 0 && !optional) {
            rc = error_set(err, ERR_NOT_FOUND, "couldn't find key %.253s in %s %s/%.253s", key,
                           kind == REFERENCE_SECRET ? "Secret" : "ConfigMap", ns, name);
        }
    }
    json_decref(object);
    return rc;
}

static int value_from_add(struct env *env, const struct reference_source *source, const json_t *pod,
                          const json_t *container, const json_t *row, struct error *err)
{
    const char *name = jpeek_cstr(row, "name");
    const char *ns = jpeek_cstr(pod, "metadata.namespace");
    const json_t *config = jpeek_obj(row, "valueFrom.configMapKeyRef");
    const json_t *secret = jpeek_obj(row, "valueFrom.secretKeyRef");
    const json_t *field = jpeek_obj(row, "valueFrom.fieldRef");
    const json_t *resource = jpeek_obj(row, "valueFrom.resourceFieldRef");
    struct reference_value value;
    char *text = NULL;

    if (config || secret) {
        int rc = key_read(source, config ? REFERENCE_CONFIG_MAP : REFERENCE_SECRET,
                          config ? config : secret, ns, &value, err);
        return rc > 0 ? value_add(env, name, &value, err) : rc;
    }
    int rc = field      ? reference_field(pod, jpeek_cstr(field, "fieldPath"), &text, err)
             : resource ? reference_resource(container, resource, &text, err)
                        : error_set(err, ERR_UNSUPPORTED,
                                    "env %.80s: valueFrom has none of configMapKeyRef, "
                                    "secretKeyRef, fieldRef, resourceFieldRef",
                                    name);
    return rc == 0 ? row_add(env, name, text, true, err) : rc;
}

int env_read(struct env *env, const struct reference_source *source, const json_t *pod,
             const json_t *container, struct error *err)
{
    size_t i;
    json_t *row;

    json_array_foreach(jpeek_arr(container, "envFrom"), i, row)
    {
        int rc = from_add(env, source, row, err);
        if (rc < 0) {
            return rc;
        }
    }
    json_array_foreach(jpeek_arr(container, "env"), i, row)
    {
        int rc = jpeek_obj(row, "valueFrom")
                     ? value_from_add(env, source, pod, container, row, err)
                     : row_add(env, jpeek_cstr(row, "name"), xstrdup(jpeek_cstr(row, "value")),
                               false, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

void env_set(struct env *env, const char *name, const char *value)
{
    bool found = false;

    for (size_t i = 0; i < env->count; i++) {
        if (strcmp(env->rows[i].name, name) == 0) {
            free(env->rows[i].value);
            env->rows[i].value = xstrdup(value);
            env->rows[i].literal = true;
            found = true;
        }
    }
    if (!found) {
        env->rows = xreallocarray(env->rows, env->count + 1, sizeof *env->rows);
        env->rows[env->count++] = (struct env_row){xstrdup(name), xstrdup(value), true};
    }
}

// ---- $(NAME)

static const char *value_of(const struct env *env, size_t before, struct slice name)
{
    for (size_t i = before; i-- > 0;) {
        if (slice_eq_str(name, env->rows[i].name)) {
            return env->rows[i].value;
        }
    }
    return NULL;
}

static void expand(const struct env *env, size_t before, const char *text, struct strbuf *out)
{
    while (*text) {
        const char *end = text[0] == '$' && text[1] == '(' ? strchr(text, ')') : NULL;
        const char *value =
            end ? value_of(env, before, slice_of(text + 2, (size_t)(end - text) - 2)) : NULL;
        if (value) {
            strbuf_append_str(out, value);
            text = end + 1;
        } else if (text[0] == '$' && text[1] == '$') {
            strbuf_append_char(out, '$');
            text += 2;
        } else if (end) { // not known: it stays as it is
            strbuf_append(out, text, (size_t)(end - text) + 1);
            text = end + 1;
        } else {
            strbuf_append_char(out, *text++);
        }
    }
}

void env_expand(const struct env *env, const char *text, struct strbuf *out)
{
    expand(env, env->count, text, out);
}

int env_resolve(struct env *env, struct error *err)
{
    for (size_t i = 0; i < env->count; i++) {
        struct env_row *row = &env->rows[i];
        if (row->literal || !strchr(row->value, '$')) {
            continue;
        }
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, VALUE_MAX);
        expand(env, i, row->value, &out);
        if (!strbuf_ok(&out)) {
            return error_set(err, ERR_TOO_BIG, "env %.80s: its value would be larger than 1 MiB",
                             row->name);
        }
        free(row->value);
        row->value = slice_dup(strbuf_slice(&out));
        row->literal = true;
    }
    return 0;
}

void env_fini(struct env *env)
{
    for (size_t i = 0; i < env->count; i++) {
        free(env->rows[i].name);
        free(env->rows[i].value);
    }
    free(env->rows);
    *env = (struct env){0};
}
