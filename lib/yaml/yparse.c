// SPDX-License-Identifier: Apache-2.0
/*
 * YAML to JSON. Happy path: libyaml gives events; a stack of open lists and maps, one frame each,
 * says where the next value goes, so nothing here recurses over the text. Failure modes: the text
 * (libyaml's sentence with the line), what JSON or a bound does not allow; everything made so far
 * is released. A text that begins as JSON is read as JSON, which has escapes that YAML lacks.
 */
#include "yaml/yparse.h"

#include <yaml.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jparse.h"
#include "yaml/yscalar.h"

#define TAG_PREFIX "tag:yaml.org,2002:"

struct frame {
    json_t *node; /* borrowed from its parent, the root from the document */
    char *key;    /* of the value to come; NULL: a key comes */
    bool merges;  /* a plain << was among the keys */
};

struct reader {
    yaml_parser_t parser;
    struct yaml_docs docs;
    struct map anchors; /* name -> json_t, an own reference */
    struct frame frames[JPARSE_DEPTH_MAX];
    size_t depth;
    json_t *root; /* of the document; NULL: none yet */
    size_t doc_line;
    size_t copies, copied; /* what aliases made so far */
    struct error *err;
};

#define MARK_FMT    "line %zu, column %zu: "
#define MARK_ARG(m) (m).line + 1, (m).column + 1

/* --- values ---------------------------------------------------------------------------------- */

static int add_doc(struct reader *r, json_t *value, size_t line)
{
    if (json_is_null(value)) {
        json_decref(value);
        return 0;
    }
    if (r->docs.count == YPARSE_DOCS_MAX) {
        json_decref(value);
        return error_set(r->err, ERR_TOO_BIG, "line %zu: more than %d documents", line,
                         YPARSE_DOCS_MAX);
    }
    r->docs.items = xreallocarray(r->docs.items, r->docs.count + 1, sizeof *r->docs.items);
    r->docs.items[r->docs.count++] = (struct yaml_doc){.value = value, .line = line};
    return 0;
}

/* A key's text; takes value. NULL: it is none. */
static char *key_text(json_t *value)
{
    char number[NUM_DOUBLE_MAX];
    char *key = NULL;

    if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value)) {
        key = xstrdup(json_string_value(value));
    } else if (json_is_boolean(value)) {
        key = xstrdup(json_is_true(value) ? "true" : "false");
    } else if (json_is_integer(value)) {
        key = xasprintf("%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        key = xstrdup(num_format_double(json_real_value(value), number, sizeof number));
    }
    json_decref(value);
    return key;
}

static int put_key(struct reader *r, json_t *value, bool plain, yaml_mark_t mark)
{
    struct frame *f = &r->frames[r->depth - 1];

    f->key = key_text(value);
    if (!f->key) {
        return error_set(r->err, ERR_INVALID, MARK_FMT "a key must be text", MARK_ARG(mark));
    }
    if (json_object_get(f->node, f->key)) {
        return error_set(r->err, ERR_INVALID, MARK_FMT "the key \"%.80s\" is there already",
                         MARK_ARG(mark), f->key);
    }
    f->merges = f->merges || (plain && strcmp(f->key, "<<") == 0);
    return 0;
}

/* Puts a value where the next one goes; takes it. */
static int put(struct reader *r, json_t *value, bool plain, yaml_mark_t mark)
{
    if (r->depth == 0) {
        r->root = value;
        return 0;
    }
    struct frame *f = &r->frames[r->depth - 1];
    if (json_is_array(f->node)) {
        (void)json_array_append_new(f->node, value);
        return 0;
    }
    if (!f->key) {
        return put_key(r, value, plain, mark);
    }
    int rc = json_object_set_new(f->node, f->key, value);
    free(f->key);
    f->key = NULL;
    return rc == 0 ? 0 : error_set(r->err, ERR_INVALID, MARK_FMT "not UTF-8", MARK_ARG(mark));
}

static void anchor_set(struct reader *r, const yaml_char_t *name, json_t *value)
{
    if (name) {
        json_decref(map_set(&r->anchors, slice_str((const char *)name), json_incref(value)));
    }
}

/* --- scalars --------------------------------------------------------------------------------- */

static bool tag_fits(const char *tag, const json_t *value)
{
    return (strcmp(tag, "int") == 0 && json_is_integer(value)) ||
           (strcmp(tag, "float") == 0 && json_is_number(value)) ||
           (strcmp(tag, "bool") == 0 && json_is_boolean(value)) ||
           (strcmp(tag, "null") == 0 && json_is_null(value)) ||
           (strcmp(tag, "timestamp") == 0 && json_is_string(value));
}

static int on_scalar(struct reader *r, const yaml_event_t *e)
{
    struct slice text = slice_of((const char *)e->data.scalar.value, e->data.scalar.length);
    const char *tag = (const char *)e->data.scalar.tag;
    bool plain = e->data.scalar.plain_implicit;
    bool is_text = e->data.scalar.quoted_implicit && !plain;
    json_t *value;

    if (tag && !plain && !is_text) {
        if (strncmp(tag, TAG_PREFIX, strlen(TAG_PREFIX)) == 0) {
            tag += strlen(TAG_PREFIX);
        }
        is_text = strcmp(tag, "str") == 0 || strcmp(tag, "!") == 0;
    }
    if (memchr(text.ptr, '\0', text.len)) {
        return error_set(r->err, ERR_INVALID, MARK_FMT "a NUL character", MARK_ARG(e->start_mark));
    }
    value = is_text ? json_stringn(text.ptr, text.len) : yscalar_resolve(text);
    if (!value) {
        return error_set(r->err, ERR_INVALID, MARK_FMT "%.40s has no place in JSON",
                         MARK_ARG(e->start_mark), text.ptr);
    }
    if (!plain && !is_text && !tag_fits(tag, value)) {
        json_decref(value);
        return error_set(r->err, ERR_INVALID, MARK_FMT "the tag \"%.60s\" cannot be used here",
                         MARK_ARG(e->start_mark), tag);
    }
    bool is_key = r->depth > 0 && json_is_object(r->frames[r->depth - 1].node) &&
                  !r->frames[r->depth - 1].key;
    if (!is_key) {
        anchor_set(r, e->data.scalar.anchor, value);
    }
    return put(r, value, plain, e->start_mark);
}

/* --- aliases --------------------------------------------------------------------------------- */

/* A deep copy; NULL beyond a bound. */
static json_t *copy(struct reader *r, const json_t *value, size_t depth)
{
    const char *key;
    json_t *item, *made;
    size_t i;

    r->copied += json_is_string(value) ? json_string_length(value) : 0;
    if (++r->copies > YPARSE_COPIES_MAX || r->copied > YPARSE_COPIED_MAX ||
        depth > JPARSE_DEPTH_MAX) {
        return NULL;
    }
    if (json_is_array(value)) {
        json_t *list = json_array();
        json_array_foreach(value, i, item)
        {
            if (!(made = copy(r, item, depth + 1))) {
                json_decref(list);
                return NULL;
            }
            (void)json_array_append_new(list, made);
        }
        return list;
    }
    if (!json_is_object(value)) {
        return json_deep_copy(value);
    }
    json_t *object = json_object();
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        r->copied += strlen(key);
        if (!(made = copy(r, item, depth + 1))) {
            json_decref(object);
            return NULL;
        }
        (void)json_object_set_new(object, key, made);
    }
    return object;
}

static int on_alias(struct reader *r, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    const json_t *value = map_get(&r->anchors, slice_str(name));

    if (!value) {
        return error_set(r->err, ERR_INVALID, MARK_FMT "*%.60s stands for nothing",
                         MARK_ARG(e->start_mark), name);
    }
    for (size_t i = 0; i < r->depth; i++) {
        if (r->frames[i].node == value) {
            return error_set(r->err, ERR_INVALID, MARK_FMT "*%.60s would contain itself",
                             MARK_ARG(e->start_mark), name);
        }
    }
    json_t *made = copy(r, value, r->depth + 1);
    if (!made) {
        return error_set(r->err, ERR_TOO_BIG,
                         MARK_FMT "*%.60s: what aliases copy is more than %d values, %u bytes of "
                                  "text or %d levels",
                         MARK_ARG(e->start_mark), name, YPARSE_COPIES_MAX, YPARSE_COPIED_MAX,
                         JPARSE_DEPTH_MAX);
    }
    return put(r, made, false, e->start_mark);
}

/* What << brings, where the map itself says nothing. */
static int merge(struct reader *r, json_t *into, yaml_mark_t mark)
{
    CLEANUP(jfree) json_t *from = json_incref(json_object_get(into, "<<"));
    json_t *one, *item, *made;
    const char *key;

    (void)json_object_del(into, "<<");
    size_t count = json_is_array(from) ? json_array_size(from) : 1;
    for (size_t i = 0; i < count; i++) {
        one = json_is_array(from) ? json_array_get(from, i) : from;
        if (!json_is_object(one)) {
            return error_set(r->err, ERR_INVALID, MARK_FMT "<< must bring a map", MARK_ARG(mark));
        }
        json_object_foreach(one, key, item)
        {
            if (json_object_get(into, key)) {
                continue;
            }
            if (!(made = copy(r, item, r->depth + 1))) {
                return error_set(r->err, ERR_TOO_BIG, MARK_FMT "<< brings too much",
                                 MARK_ARG(mark));
            }
            (void)json_object_set_new(into, key, made);
        }
    }
    return 0;
}

/* --- lists and maps -------------------------------------------------------------------------- */

static int on_open(struct reader *r, json_t *node, const yaml_char_t *anchor,
                   const yaml_char_t *tag, yaml_mark_t mark)
{
    const char *known = json_is_array(node) ? TAG_PREFIX "seq" : TAG_PREFIX "map";
    int rc = 0;

    if (r->depth == JPARSE_DEPTH_MAX) {
        rc = error_set(r->err, ERR_TOO_BIG, MARK_FMT "nested deeper than %d levels", MARK_ARG(mark),
                       JPARSE_DEPTH_MAX);
    } else if (tag && strcmp((const char *)tag, known) != 0 &&
               strcmp((const char *)tag, "!") != 0) {
        rc = error_set(r->err, ERR_INVALID, MARK_FMT "the tag \"%.60s\" cannot be used here",
                       MARK_ARG(mark), (const char *)tag);
    } else if (r->depth > 0 && json_is_object(r->frames[r->depth - 1].node) &&
               !r->frames[r->depth - 1].key) {
        rc = error_set(r->err, ERR_INVALID, MARK_FMT "a key must be text", MARK_ARG(mark));
    }
    if (rc < 0) {
        json_decref(node);
        return rc;
    }
    anchor_set(r, anchor, node);
    rc = put(r, node, false, mark);
    if (rc == 0) {
        r->frames[r->depth++] = (struct frame){.node = node};
    }
    return rc;
}

static int on_close(struct reader *r, yaml_mark_t mark)
{
    struct frame *f = &r->frames[--r->depth];

    return f->merges ? merge(r, f->node, mark) : 0;
}

static void anchors_clear(struct reader *r)
{
    map_foreach (it, &r->anchors) {
        json_decref(it.value);
    }
    map_clear(&r->anchors);
}

static int on_doc_end(struct reader *r)
{
    json_t *value = r->root;

    r->root = NULL;
    anchors_clear(r);
    return value ? add_doc(r, value, r->doc_line) : 0;
}

/* --- the text -------------------------------------------------------------------------------- */

static size_t line_of(struct slice text, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        line += text.ptr[i] == '\n';
    }
    return line;
}

static int parser_failed(struct reader *r, struct slice text)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "cannot be read";

    if (p->error == YAML_READER_ERROR) {
        return error_set(r->err, ERR_INVALID, "line %zu: %s", line_of(text, p->problem_offset),
                         problem);
    }
    size_t at = p->problem_mark.index;
    if (p->error == YAML_SCANNER_ERROR && strstr(problem, "cannot start any token") &&
        at < text.len && text.ptr[at] == '\t') {
        problem = "a tab cannot indent; use spaces";
    }
    return error_set(r->err, ERR_INVALID, MARK_FMT "%s%s%s", MARK_ARG(p->problem_mark), problem,
                     p->context ? " " : "", p->context ? p->context : "");
}

static int on_event(struct reader *r, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        r->doc_line = e->end_mark.line + 1;
        return 0;
    case YAML_DOCUMENT_END_EVENT:
        return on_doc_end(r);
    case YAML_SCALAR_EVENT:
        return on_scalar(r, e);
    case YAML_ALIAS_EVENT:
        return on_alias(r, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(r, json_array(), e->data.sequence_start.anchor, e->data.sequence_start.tag,
                       e->start_mark);
    case YAML_MAPPING_START_EVENT:
        return on_open(r, json_object(), e->data.mapping_start.anchor, e->data.mapping_start.tag,
                       e->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(r, e->start_mark);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
        break;
    }
    return 0;
}

static int read_all(struct reader *r, struct slice text)
{
    yaml_event_t event;
    bool end = false;
    int rc = 0;

    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text.ptr, text.len);
    while (rc == 0 && !end) {
        if (!yaml_parser_parse(&r->parser, &event)) {
            return parser_failed(r, text);
        }
        end = event.type == YAML_STREAM_END_EVENT;
        rc = on_event(r, &event);
        yaml_event_delete(&event);
    }
    return rc;
}

/* Whole reals become integers, as in the YAML form of the same text. */
static void normalize(json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    void *next;

    json_object_foreach_safe(value, next, key, item)
    {
        if (json_is_real(item)) {
            (void)json_object_set_new(value, key, yscalar_real(json_real_value(item)));
        } else {
            normalize(item);
        }
    }
    json_array_foreach(value, i, item)
    {
        if (json_is_real(item)) {
            (void)json_array_set_new(value, i, yscalar_real(json_real_value(item)));
        } else {
            normalize(item);
        }
    }
}

/* 1: it was JSON; 0: it is none (err says why, should YAML fail as well); or an error. */
static int try_json(struct reader *r, struct slice text, struct error *err)
{
    json_t *value = NULL;
    size_t at = 0;

    while (at < text.len && strchr(" \t\r\n", text.ptr[at]) && text.ptr[at]) {
        at++;
    }
    if (at == text.len || (text.ptr[at] != '{' && text.ptr[at] != '[')) {
        return 0;
    }
    int rc = jparse(text, YPARSE_BYTES_MAX, &value, err);
    if (rc == ERR_TOO_BIG) {
        return error_copy(r->err, err);
    }
    if (rc == 0) {
        normalize(value);
        rc = add_doc(r, value, line_of(text, at));
    }
    return rc == 0 ? 1 : 0;
}

int yparse(struct slice text, struct yaml_docs *out, struct error *err)
{
    struct reader r = {.err = err};
    struct error json = {0};

    if (text.len > YPARSE_BYTES_MAX) {
        return error_set(err, ERR_TOO_BIG, "%zu bytes, at most %u are read", text.len,
                         YPARSE_BYTES_MAX);
    }
    if (slice_starts_with(text, SLICE_LIT("\xef\xbb\xbf"))) {
        text = slice_sub(text, 3, text.len);
    }
    if (!yaml_parser_initialize(&r.parser)) {
        return error_set(err, ERR_NOMEM, "no memory for a YAML reader");
    }
    map_init(&r.anchors, MAP_COPY_KEYS);
    int rc = try_json(&r, text, &json);
    if (rc == 0) {
        rc = read_all(&r, text);
        if (rc == ERR_INVALID && json.code != ERR_OK) {
            rc = error_copy(err, &json);
        }
    }
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < JPARSE_DEPTH_MAX; i++) {
        free(r.frames[i].key);
    }
    json_decref(r.root);
    anchors_clear(&r);
    map_fini(&r.anchors);
    if (rc < 0) {
        yaml_docs_fini(&r.docs);
        return rc;
    }
    *out = r.docs;
    return 0;
}

void yaml_docs_fini(struct yaml_docs *docs)
{
    for (size_t i = 0; i < docs->count; i++) {
        json_decref(docs->items[i].value);
    }
    free(docs->items);
    *docs = (struct yaml_docs){0};
}
