// SPDX-License-Identifier: Apache-2.0
/* The builder: the first failure is kept, everything after it is a no-op that frees its argument.
 */
#include "json/jbuild.h"

#include <math.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jpath.h"

void jbuild_from(struct jbuild *b, json_t *root)
{
    *b = (struct jbuild){.root = root};
    if (root == NULL) {
        error_set(&b->err, ERR_INVALID, "no JSON to build on");
    }
}

void jbuild_init(struct jbuild *b)
{
    jbuild_from(b, json_object());
}

static void fail(struct jbuild *b, const char *path, const char *why)
{
    if (b->err.code == ERR_OK) {
        error_set(&b->err, ERR_INVALID, "%s: %s", path, why);
    }
}

/* The child at the step, borrowed; NULL when there is none. */
static json_t *child_of(json_t *at, const struct jstep *step)
{
    if (step->kind == JSTEP_KEY) {
        return json_object_getn(at, step->key.ptr, step->key.len);
    }
    if (step->kind == JSTEP_APPEND) {
        return NULL;
    }
    size_t n = json_array_size(at);
    return step->index < 0 ? (n == 0 ? NULL : json_array_get(at, n - 1))
                           : json_array_get(at, (size_t)step->index);
}

/* Puts the value (taken) at the step. */
static bool put(json_t *at, const struct jstep *step, json_t *value)
{
    if (step->kind == JSTEP_KEY) {
        return json_object_setn_new(at, step->key.ptr, step->key.len, value) == 0;
    }
    if (step->kind == JSTEP_APPEND) {
        return json_array_append_new(at, value) == 0;
    }
    size_t n = json_array_size(at);
    size_t index = step->index >= 0 ? (size_t)step->index : n - 1;
    return json_array_set_new(at, index, value) == 0;
}

/* Sets the value (taken), or with `keep` only when nothing is there. */
static void set_at(struct jbuild *b, const char *path, json_t *value, bool keep)
{
    if (value == NULL) {
        fail(b, path, "not valid UTF-8, or not a finite number");
    }
    if (b->err.code != ERR_OK) {
        json_decref(value);
        return;
    }
    json_t *at = b->root;
    const char *rest = path;
    struct jstep step;
    bool more = jpath_next(&rest, &step);
    REQUIRE(more);
    for (;;) {
        struct jstep next;
        more = jpath_next(&rest, &next);
        json_t *child = child_of(at, &step);
        if (!more) {
            if (keep && child != NULL) {
                json_decref(value);
            } else if (!put(at, &step, value)) {
                fail(b, path, "cannot be set there");
            }
            return;
        }
        if (child == NULL || json_is_null(child)) {
            child = next.kind == JSTEP_KEY ? json_object() : json_array();
            if (!put(at, &step, child)) {
                fail(b, path, "cannot be set there");
                json_decref(value);
                return;
            }
        }
        at = child;
        step = next;
    }
}

void jbuild_json(struct jbuild *b, const char *path, json_t *value)
{
    set_at(b, path, value, false);
}

void jbuild_slice(struct jbuild *b, const char *path, struct slice text)
{
    set_at(b, path, json_stringn(text.len == 0 ? "" : text.ptr, text.len), false);
}

void jbuild_str(struct jbuild *b, const char *path, const char *text)
{
    jbuild_slice(b, path, slice_str(text));
}

void jbuild_strf(struct jbuild *b, const char *path, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    REQUIRE(n >= 0);
    jbuild_slice(b, path, slice_of(text, (size_t)n));
    free(text);
}

void jbuild_i64(struct jbuild *b, const char *path, int64_t n)
{
    set_at(b, path, json_integer(n), false);
}

void jbuild_double(struct jbuild *b, const char *path, double x)
{
    set_at(b, path, isfinite(x) ? json_real(x) : NULL, false);
}

void jbuild_bool(struct jbuild *b, const char *path, bool on)
{
    set_at(b, path, json_boolean(on), false);
}

void jbuild_obj(struct jbuild *b, const char *path)
{
    set_at(b, path, json_object(), true);
}

void jbuild_arr(struct jbuild *b, const char *path)
{
    set_at(b, path, json_array(), true);
}

json_t *jstring_lossy(struct slice text)
{
    enum { TEXT_MAX = 64 << 10, ESCAPED_MAX = 6 * TEXT_MAX + 2 };
    text = slice_sub(text, 0, TEXT_MAX);
    json_t *string = json_stringn(text.len == 0 ? "" : text.ptr, text.len);
    if (string != NULL) {
        return string;
    }
    CLEANUP(strbuf_fini) struct strbuf quoted;
    strbuf_init(&quoted, ESCAPED_MAX);
    strbuf_append_json(&quoted, text);
    string = json_loadb(quoted.ptr, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return string != NULL ? string : json_string("");
}

int jbuild_take(struct jbuild *b, json_t **out, struct error *err)
{
    if (b->err.code != ERR_OK) {
        int rc = error_copy(err, &b->err);
        jbuild_fini(b);
        return rc;
    }
    *out = b->root;
    b->root = NULL;
    jbuild_fini(b);
    return 0;
}

void jbuild_fini(struct jbuild *b)
{
    json_decref(b->root);
    b->root = NULL;
    error_set(&b->err, ERR_INVALID, "the builder is used up");
}
