// SPDX-License-Identifier: Apache-2.0
/* Both trees are walked together; the path is a buffer that grows and shrinks with the walk. */
#include "json/jpatch.h"

#include "base/strbuf.h"
#include "json/jedit.h"

enum { PATH_MAX_BYTES = 64 << 10 };

struct walk {
    json_t *ops;
    struct strbuf path;
};

/* jansson's object iterators do not take const. */
static json_t *unconst(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

static void add_op(struct walk *w, const char *op, const json_t *value)
{
    json_t *made = json_pack("{s:s,s:s}", "op", op, "path", w->path.ptr);
    if (value != NULL) {
        json_object_set(made, "value", unconst(value));
    }
    json_array_append_new(w->ops, made);
}

/* Goes one step down; returns where the path is to be cut afterwards. */
static size_t enter_key(struct walk *w, const char *key)
{
    size_t mark = w->path.len;
    (void)strbuf_append_char(&w->path, '/');
    for (; *key != '\0'; key++) {
        if (*key == '~' || *key == '/') {
            (void)strbuf_append_str(&w->path, *key == '~' ? "~0" : "~1");
        } else {
            (void)strbuf_append_char(&w->path, *key);
        }
    }
    return mark;
}

static void diff(struct walk *w, const json_t *from, const json_t *to);

static void diff_objects(struct walk *w, const json_t *from, const json_t *to)
{
    const char *key;
    json_t *value;
    json_object_foreach(unconst(from), key, value)
    {
        if (json_object_get(to, key) == NULL) {
            size_t mark = enter_key(w, key);
            add_op(w, "remove", NULL);
            strbuf_truncate(&w->path, mark);
        }
    }
    json_object_foreach(unconst(to), key, value)
    {
        const json_t *old = json_object_get(from, key);
        size_t mark = enter_key(w, key);
        if (old == NULL) {
            add_op(w, "add", value);
        } else {
            diff(w, old, value);
        }
        strbuf_truncate(&w->path, mark);
    }
}

static void diff(struct walk *w, const json_t *from, const json_t *to)
{
    if (json_is_object(from) && json_is_object(to)) {
        diff_objects(w, from, to);
    } else if (json_is_array(from) && json_is_array(to) &&
               json_array_size(from) == json_array_size(to)) {
        for (size_t i = 0; i < json_array_size(to); i++) {
            size_t mark = w->path.len;
            (void)strbuf_appendf(&w->path, "/%zu", i);
            diff(w, json_array_get(from, i), json_array_get(to, i));
            strbuf_truncate(&w->path, mark);
        }
    } else if (!jequal(from, to)) {
        add_op(w, "replace", to);
    }
}

json_t *jpatch_diff(const json_t *from, const json_t *to)
{
    struct walk w = {.ops = json_array()};
    strbuf_init(&w.path, PATH_MAX_BYTES);
    diff(&w, from, to);
    bool fine = strbuf_ok(&w.path);
    strbuf_fini(&w.path);
    if (!fine) {
        json_decref(w.ops);
        return NULL;
    }
    return w.ops;
}
