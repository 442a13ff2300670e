// SPDX-License-Identifier: Apache-2.0
//
// The function's container is the only one, or the one with a port. A revision name that somebody
// fixed in the template is taken out: with other content it must be another one.
#include "cli/service_edit.h"

#include <string.h>

#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "serving/names.h"
#include "cli/service_refs.h"

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_."

static bool word_begins(const char *text)
{
    size_t len = strspn(text, NAME_CHARS);

    return len > 0 && (text[len] == '=' || (text[len] == '-' && strchr(",", text[len + 1])));
}

int service_env_words(char *text, const char **list, size_t *count, size_t max, struct error *err)
{
    char *at = text;

    for (;;) {
        if (*count == max) {
            return error_set(err, ERR_TOO_BIG, "more than %zu words of --env", max);
        }
        list[(*count)++] = at;
        while ((at = strchr(at, ',')) != NULL && !word_begins(at + 1)) {
            at++;
        }
        if (!at) {
            return 0;
        }
        *at++ = '\0';
    }
}

json_t *service_container(const json_t *service)
{
    json_t *containers = jpeek_arr(service, "spec.template.spec.containers"), *c;
    size_t i;
    json_array_foreach(containers, i, c)
    {
        if (json_array_size(jpeek_arr(c, "ports")) > 0) {
            return c;
        }
    }
    return json_array_get(containers, 0);
}

static json_t *env_find(json_t *env, struct slice name, size_t *out_index)
{
    size_t i;
    json_t *row;
    json_array_foreach(env, i, row)
    {
        if (slice_eq(jpeek_str(row, "name"), name)) {
            *out_index = i;
            return row;
        }
    }
    return NULL;
}

static int env_word(json_t *env, const char *word, struct error *err)
{
    struct slice text = slice_str(word);
    ptrdiff_t eq = slice_find(text, '=');
    bool removes = eq < 0 && text.len > 1 && word[text.len - 1] == '-';
    size_t index = 0;

    if (eq == 0 || (eq < 0 && !removes)) {
        return error_set(err, ERR_INVALID,
                         "--env %.100s: must be NAME=VALUE, or NAME- to take it away", word);
    }
    struct slice name = slice_sub(text, 0, removes ? text.len - 1 : (size_t)eq);
    json_t *row = env_find(env, name, &index);
    if (removes) {
        return row ? json_array_remove(env, index) : 0;
    }
    json_t *made = json_object();
    if (json_object_set_new(made, "name", json_stringn(name.ptr, name.len)) != 0 ||
        json_object_set_new(made, "value", json_string(word + eq + 1)) != 0) {
        json_decref(made);
        return error_set(err, ERR_INVALID, "--env %.100s: is not UTF-8", word);
    }
    return row ? json_array_set_new(env, index, made) : json_array_append_new(env, made);
}

static int refs_edit(json_t *pod, json_t *container, const struct service_changes *c,
                     struct error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && c->env_from && c->env_from[i]; i++) {
        rc = service_env_from(container, c->env_from[i], err);
    }
    for (size_t i = 0; rc == 0 && c->mounts && c->mounts[i]; i++) {
        rc = service_mount(pod, container, c->mounts[i], err);
    }
    return rc;
}

static int container_edit(json_t *container, const struct service_changes *c, struct error *err)
{
    int rc = 0;

    if (c->image && json_object_set_new(container, "image", json_string(c->image)) != 0) {
        return error_set(err, ERR_INVALID, "the image's name is not UTF-8");
    }
    if (c->bundle) {
        (void)json_object_del(container, "command");
        (void)json_object_del(container, "args");
    }
    if (c->env && !json_is_array(json_object_get(container, "env"))) {
        json_object_set_new(container, "env", json_array());
    }
    for (size_t i = 0; rc == 0 && c->env && c->env[i]; i++) {
        rc = env_word(json_object_get(container, "env"), c->env[i], err);
    }
    return rc;
}

int service_edit(json_t *service, const struct service_changes *c, struct error *err)
{
    struct jbuild b;
    json_t *done = NULL;
    const struct {
        const char *path, *value;
    } annotations[] = {
        {"spec.template.metadata.annotations.`" ANNOTATION_MIN_SCALE "`", c->min_scale},
        {"spec.template.metadata.annotations.`" ANNOTATION_MAX_SCALE "`", c->max_scale},
        {"spec.template.metadata.annotations.`" ANNOTATION_WINDOW "`", c->window},
    };

    jbuild_from(&b, json_incref(service));
    if (!service_container(service) && c->image) {
        jbuild_str(&b, "spec.template.spec.containers[+].image", c->image);
    }
    for (size_t i = 0; i < ARRAY_LEN(annotations); i++) {
        if (annotations[i].value) {
            jbuild_str(&b, annotations[i].path, annotations[i].value);
        }
    }
    if (c->concurrency >= 0) {
        jbuild_i64(&b, "spec.template.spec.containerConcurrency", c->concurrency);
    }
    int rc = jbuild_take(&b, &done, err);
    jbuild_fini(&b);
    if (rc < 0) {
        return rc;
    }
    json_decref(done);
    json_t *name = jpeek_obj(service, "spec.template.metadata");
    if (name) {
        (void)json_object_del(name, "name");
    }
    json_t *container = service_container(service);
    if (!container) {
        return error_set(err, ERR_INVALID, "the Service has no container");
    }
    rc = container_edit(container, c, err);
    return rc ? rc : refs_edit(jpeek_obj(service, "spec.template.spec"), container, c, err);
}
