// SPDX-License-Identifier: Apache-2.0
/*
 * The program is one array of nodes in the order of the text; an operator's node says where its
 * last part ends, so that what no longer matters is stepped over. Names and texts lie in one block
 * behind. Failure modes: everything wrong is found while compiling; running cannot fail.
 */
#include "events/filter.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"
#include "events/cesql.h"

enum op { OP_EXACT, OP_PREFIX, OP_SUFFIX, OP_THERE, OP_ALL, OP_ANY, OP_NOT, OP_CESQL };

struct node {
    uint8_t op;
    uint8_t attr;        /* enum event_attr_id */
    uint16_t end;        /* index behind the last part; of a test: behind itself */
    struct slice name;   /* of an extension */
    struct slice value;  /* of a test */
    struct cesql *cesql; /* owned */
};

struct filter {
    struct node *nodes; /* owned; [0] is the whole */
    unsigned n;
    unsigned cap; /* while compiling */
    size_t bytes; /* of texts */
    char **texts; /* owned, each too */
    unsigned n_texts;
};

/* --- running ---------------------------------------------------------------------------------- */

/* A time is compared as its text in UTC without zeros at its end. */
static struct slice canonical_time(struct slice value, char *room, size_t size)
{
    int64_t ns;
    if (clock_parse_rfc3339(value, &ns, NULL) < 0) {
        return value;
    }
    clock_format_rfc3339(ns, 9, room, size);
    size_t len = strlen(room) - 1;
    while (room[len - 1] == '0') {
        len--;
    }
    len -= room[len - 1] == '.';
    room[len++] = 'Z';
    return slice_of(room, len);
}

static bool test_value(const struct node *node, struct slice value)
{
    switch ((enum op)node->op) {
    case OP_EXACT:
        return slice_eq(value, node->value);
    case OP_PREFIX:
        return slice_starts_with(value, node->value);
    case OP_SUFFIX:
        return slice_ends_with(value, node->value);
    case OP_THERE:
    case OP_ALL:
    case OP_ANY:
    case OP_NOT:
    case OP_CESQL:
        break;
    }
    return true;
}

static bool test_time(const struct node *node, struct slice value)
{
    char room[CLOCK_RFC3339_MAX];
    return test_value(node, canonical_time(value, room, sizeof(room)));
}

static bool run_test(const struct node *node, const struct event *ev)
{
    struct slice value;
    if (node->attr < EVENT_ATTR_N) {
        value = ev->known[node->attr];
        if (value.ptr == NULL) {
            return false;
        }
        return node->attr == EVENT_TIME ? test_time(node, value) : test_value(node, value);
    }
    const struct event_attr *attr = event_extension(ev, node->name);
    return attr != NULL && test_value(node, attr->value);
}

static bool run(const struct node *nodes, unsigned at, const struct event *ev)
{
    const struct node *node = &nodes[at];
    switch ((enum op)node->op) {
    case OP_ALL:
    case OP_ANY:
        for (unsigned i = at + 1; i < node->end; i = nodes[i].end) {
            if (run(nodes, i, ev) == (node->op == OP_ANY)) {
                return node->op == OP_ANY;
            }
        }
        return node->op == OP_ALL;
    case OP_NOT:
        return !run(nodes, at + 1, ev);
    case OP_CESQL:
        return cesql_match(node->cesql, ev);
    case OP_EXACT:
    case OP_PREFIX:
    case OP_SUFFIX:
    case OP_THERE:
        break;
    }
    return run_test(node, ev);
}

bool filter_match(const struct filter *f, const struct event *ev)
{
    return run(f->nodes, 0, ev);
}

bool filter_takes_all(const struct filter *f)
{
    return f->nodes[0].op == OP_ALL && f->nodes[0].end == 1;
}

static bool needs(const struct node *nodes, unsigned at, enum event_attr_id attr,
                  struct slice *out_value)
{
    const struct node *node = &nodes[at];
    if (node->op == OP_EXACT && node->attr == attr && attr != EVENT_TIME) {
        *out_value = node->value;
        return true;
    }
    /* any of one part is that part */
    bool walk = node->op == OP_ALL ||
                (node->op == OP_ANY && at + 1 < node->end && nodes[at + 1].end == node->end);
    for (unsigned i = at + 1; walk && i < node->end; i = nodes[i].end) {
        if (needs(nodes, i, attr, out_value)) {
            return true;
        }
    }
    return false;
}

bool filter_needs(const struct filter *f, enum event_attr_id attr, struct slice *out_value)
{
    return attr < EVENT_ATTR_N && needs(f->nodes, 0, attr, out_value);
}

/* --- compiling -------------------------------------------------------------------------------- */

struct dialect;

static int compile_entry(struct filter *f, json_t *entry, const char *path, unsigned depth,
                         struct error *err);
static int find_dialect(json_t *entry, const char *path, const struct dialect **out,
                        json_t **out_value, struct error *err);

static int add_node(struct filter *f, enum op op, const char *path, unsigned *out,
                    struct error *err)
{
    if (f->n == FILTER_NODES_MAX) {
        return error_set(err, ERR_TOO_BIG, "%s: more than %d tests in one filter", path,
                         FILTER_NODES_MAX);
    }
    if (f->n == f->cap) {
        f->cap = f->cap == 0 ? 4 : f->cap * 2;
        f->nodes = xreallocarray(f->nodes, f->cap, sizeof(*f->nodes));
    }
    *out = f->n++;
    f->nodes[*out] = (struct node){.op = (uint8_t)op, .end = (uint16_t)f->n};
    return 0;
}

static int keep_text(struct filter *f, struct slice text, const char *path, struct slice *out,
                     struct error *err)
{
    f->bytes += text.len;
    if (f->bytes > FILTER_BYTES_MAX) {
        return error_set(err, ERR_TOO_BIG, "%s: more than %d bytes of texts in one filter", path,
                         FILTER_BYTES_MAX);
    }
    f->texts = xreallocarray(f->texts, f->n_texts + 1, sizeof(*f->texts));
    f->texts[f->n_texts] = slice_dup(text);
    *out = slice_of(f->texts[f->n_texts], text.len);
    f->n_texts++;
    return 0;
}

static int compile_test(struct filter *f, enum op op, struct slice name, const json_t *value,
                        const char *path, struct error *err)
{
    unsigned at;
    struct slice text = slice_of(json_string_value(value), json_string_length(value));
    int rc = event_check_name(name, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", path);
    }
    if (!json_is_string(value)) {
        return error_set(err, ERR_INVALID, "%s.%.*s: must be a string, is %s", path,
                         SLICE_FMT(name), jtype_name(value));
    }
    rc = add_node(f, op, path, &at, err);
    enum event_attr_id attr = event_attr_id(name);
    struct slice kept_name = SLICE_EMPTY, kept = SLICE_EMPTY;
    if (rc == 0 && attr == EVENT_EXTENSION) {
        rc = keep_text(f, name, path, &kept_name, err);
    }
    if (rc == 0) {
        char room[CLOCK_RFC3339_MAX];
        bool time = attr == EVENT_TIME && op == OP_EXACT;
        rc = keep_text(f, time ? canonical_time(text, room, sizeof(room)) : text, path, &kept, err);
    }
    if (rc == 0) {
        f->nodes[at].attr = (uint8_t)attr;
        f->nodes[at].name = kept_name;
        f->nodes[at].value = kept;
    }
    return rc;
}

/* A map of attribute to text: all of them; free_of: an empty text stands for any value. */
static int compile_map(struct filter *f, enum op op, json_t *map, const char *path, bool free_of,
                       struct error *err)
{
    unsigned all;
    const char *key;
    size_t key_len;
    json_t *value;
    if (!json_is_object(map)) {
        return error_set(err, ERR_INVALID, "%s: must be a map of attributes to texts, is %s", path,
                         jtype_name(map));
    }
    int rc = add_node(f, OP_ALL, path, &all, err);
    if (rc < 0) {
        return rc;
    }
    json_object_keylen_foreach(map, key, key_len, value)
    {
        bool any = free_of && json_is_string(value) && json_string_length(value) == 0;
        rc = compile_test(f, any ? OP_THERE : op, slice_of(key, key_len), value, path, err);
        if (rc < 0) {
            return rc;
        }
    }
    f->nodes[all].end = (uint16_t)f->n;
    return 0;
}

/* Entries that give nothing are passed over; a list in which nothing is left takes every event. */
static int compile_list(struct filter *f, enum op op, json_t *list, const char *path,
                        unsigned depth, struct error *err)
{
    unsigned at;
    size_t i;
    json_t *entry, *value;
    const struct dialect *dialect;
    if (!json_is_array(list)) {
        return error_set(err, ERR_INVALID, "%s: must be a list, is %s", path, jtype_name(list));
    }
    int rc = add_node(f, op, path, &at, err);
    json_array_foreach(list, i, entry)
    {
        CLEANUP(cleanup_free) char *below = xasprintf("%s[%zu]", path, i);
        rc = rc < 0 ? rc : find_dialect(entry, below, &dialect, &value, err);
        if (rc == 0 && dialect != NULL) {
            rc = compile_entry(f, entry, below, depth, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    f->nodes[at].op = f->n == at + 1 ? OP_ALL : f->nodes[at].op;
    f->nodes[at].end = (uint16_t)f->n;
    return rc;
}

static int compile_not(struct filter *f, json_t *entry, const char *path, unsigned depth,
                       struct error *err)
{
    unsigned at;
    int rc = add_node(f, OP_NOT, path, &at, err);
    rc = rc < 0 ? rc : compile_entry(f, entry, path, depth, err);
    if (rc == 0) {
        f->nodes[at].end = (uint16_t)f->n;
    }
    return rc;
}

static int compile_cesql(struct filter *f, const json_t *text, const char *path, struct error *err)
{
    unsigned at;
    struct slice kept;
    if (!json_is_string(text)) {
        return error_set(err, ERR_INVALID, "%s: must be a string, is %s", path, jtype_name(text));
    }
    int rc = add_node(f, OP_CESQL, path, &at, err);
    struct slice expression = slice_of(json_string_value(text), json_string_length(text));
    rc = rc < 0 ? rc : keep_text(f, expression, path, &kept, err);
    if (rc < 0) {
        return rc;
    }
    rc = cesql_compile(kept, &f->nodes[at].cesql, err);
    return rc < 0 ? error_prefix(err, rc, "%s", path) : 0;
}

static const struct dialect {
    const char *name;
    enum op op;
} DIALECTS[] = {{"exact", OP_EXACT}, {"prefix", OP_PREFIX}, {"suffix", OP_SUFFIX}, {"all", OP_ALL},
                {"any", OP_ANY},     {"not", OP_NOT},       {"cesql", OP_CESQL}};

static int compile_dialect(struct filter *f, const struct dialect *dialect, json_t *value,
                           const char *path, unsigned depth, struct error *err)
{
    enum op op = dialect->op;
    CLEANUP(cleanup_free) char *below = xasprintf("%s.%s", path, dialect->name);
    return op == OP_CESQL                 ? compile_cesql(f, value, below, err)
           : op == OP_NOT                 ? compile_not(f, value, below, depth + 1, err)
           : op == OP_ALL || op == OP_ANY ? compile_list(f, op, value, below, depth + 1, err)
                                          : compile_map(f, op, value, below, false, err);
}

static const struct dialect *dialect_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(DIALECTS); i++) {
        if (strcmp(name, DIALECTS[i].name) == 0) {
            return &DIALECTS[i];
        }
    }
    return NULL;
}

/* What is empty counts as not given, as in Knative; but "not" of nothing is no event. */
static bool is_given(const struct dialect *dialect, const json_t *value)
{
    return json_is_object(value)   ? dialect->op == OP_NOT || json_object_size(value) > 0
           : json_is_array(value)  ? json_array_size(value) > 0
           : json_is_string(value) ? json_string_length(value) > 0
                                   : !json_is_null(value);
}

/* The dialect of an entry and its value; *out NULL: none is given. */
static int find_dialect(json_t *entry, const char *path, const struct dialect **out,
                        json_t **out_value, struct error *err)
{
    const char *key;
    json_t *value;
    *out = NULL;
    if (!json_is_object(entry)) {
        return error_set(err, ERR_INVALID, "%s: must be an object, is %s", path, jtype_name(entry));
    }
    json_object_foreach(entry, key, value)
    {
        const struct dialect *dialect = dialect_of(key);
        if (dialect == NULL) {
            return error_set(err, ERR_INVALID,
                             "%s: unknown dialect \"%.32s\"; there are exact, prefix, suffix, all, "
                             "any, not and cesql",
                             path, key);
        }
        if (!is_given(dialect, value)) {
            continue;
        }
        if (*out != NULL) {
            return error_set(err, ERR_INVALID, "%s: only one dialect may be given, found %s and %s",
                             path, (*out)->name, dialect->name);
        }
        *out = dialect;
        *out_value = value;
    }
    return 0;
}

static int compile_entry(struct filter *f, json_t *entry, const char *path, unsigned depth,
                         struct error *err)
{
    unsigned all;
    json_t *value = NULL;
    const struct dialect *dialect;
    if (depth > FILTER_DEPTH_MAX) {
        return error_set(err, ERR_TOO_BIG, "%s: more than %d levels of all, any and not", path,
                         FILTER_DEPTH_MAX);
    }
    int rc = find_dialect(entry, path, &dialect, &value, err);
    if (rc < 0) {
        return rc;
    }
    return dialect == NULL ? add_node(f, OP_ALL, path, &all, err)
                           : compile_dialect(f, dialect, value, path, depth, err);
}

void filter_free(struct filter *f)
{
    if (f == NULL) {
        return;
    }
    for (unsigned i = 0; i < f->n; i++) {
        cesql_free(f->nodes[i].cesql);
    }
    for (unsigned i = 0; i < f->n_texts; i++) {
        free(f->texts[i]);
    }
    free(f->texts);
    free(f->nodes);
    free(f);
}

static int done(struct filter *f, int rc, struct filter **out)
{
    if (rc < 0) {
        filter_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

int filter_compile_one(json_t *entry, const char *path, struct filter **out, struct error *err)
{
    struct filter *f = NEW(struct filter);
    return done(f, compile_entry(f, entry, path, 0, err), out);
}

int filter_compile(const json_t *spec, struct filter **out, struct error *err)
{
    struct filter *f = NEW(struct filter);
    json_t *filters = jget(spec, "filters");
    json_t *attributes = jget(spec, "filter.attributes");
    unsigned at;
    int rc;
    if (filters != NULL && !(json_is_array(filters) && json_array_size(filters) == 0)) {
        rc = compile_list(f, OP_ALL, filters, "filters", 0, err);
    } else if (attributes != NULL &&
               !(json_is_object(attributes) && json_object_size(attributes) == 0)) {
        rc = compile_map(f, OP_EXACT, attributes, "filter.attributes", true, err);
    } else {
        rc = add_node(f, OP_ALL, "filters", &at, err);
    }
    return done(f, rc, out);
}
