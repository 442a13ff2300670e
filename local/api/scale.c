// SPDX-License-Identifier: Apache-2.0

/* The autoscaling/v1 Scale of an object: spec.replicas and status.replicas in another form. */

#include <stdio.h>

#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/api/call.h"

static void set_selector(struct jbuild *b, const json_t *object)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 16 << 10);
    const char *key;
    json_t *value;
    json_object_foreach(jpeek_obj(object, "spec.selector.matchLabels"), key, value)
    {
        (void)strbuf_appendf(&text, "%s%s=%s", text.len > 0 ? "," : "", key,
                             json_string_value(value));
    }
    if (text.len > 0) {
        jbuild_str(b, "status.selector", text.ptr);
    }
}

json_t *scale_of(const json_t *object)
{
    static const char *const carried[] = {"name", "namespace", "uid", "resourceVersion",
                                          "creationTimestamp"};
    struct jbuild b;
    jbuild_init(&b);
    jbuild_str(&b, "kind", "Scale");
    jbuild_str(&b, "apiVersion", "autoscaling/v1");
    for (size_t i = 0; i < ARRAY_LEN(carried); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "metadata.%s", carried[i]);
        jbuild_slice(&b, path, jpeek_str(object, path));
    }
    jbuild_i64(&b, "spec.replicas", jpeek_i64(object, "spec.replicas"));
    jbuild_i64(&b, "status.replicas", jpeek_i64(object, "status.replicas"));
    set_selector(&b, object);
    json_t *scale;
    struct error err;
    REQUIRE(jbuild_take(&b, &scale, &err) == 0);
    return scale;
}

void scale_write(const struct object *object, struct strbuf *out)
{
    json_t *tree = object_tree(object);
    json_t *scale = scale_of(tree);
    struct error err;
    REQUIRE(jdump(scale, out, &err) == 0 || !strbuf_ok(out));
    json_decref(scale);
    json_decref(tree);
}

int scale_apply(json_t *object, const json_t *wanted, struct error *err)
{
    json_t *replicas = jget(wanted, "spec.replicas");
    json_int_t n = replicas == NULL ? 0 : json_integer_value(replicas);
    if (replicas != NULL && (!json_is_integer(replicas) || n < 0 || n > INT32_MAX)) {
        return error_set(err, ERR_INVALID,
                         "Scale.autoscaling \"%s\" is invalid: spec.replicas: Invalid value: must "
                         "be an integer from 0 to %d",
                         jpeek_cstr(object, "metadata.name"), INT32_MAX);
    }
    struct slice version = jpeek_str(wanted, "metadata.resourceVersion");
    json_t *metadata = json_object_get(object, "metadata");
    if (version.len > 0) { /* the store compares it */
        (void)json_object_set_new(metadata, "resourceVersion",
                                  json_stringn(version.ptr, version.len));
    }
    (void)json_object_set_new(jobject_at(object, "spec"), "replicas", json_integer(n));
    return 0;
}
