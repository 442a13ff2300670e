// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: copy both texts, cut them into requirements (key, operator, values) that point into the
 * copy; matching looks each key up in the object's projected labels or fields. Anything that is
 * not of the grammar is refused with the text around it.
 */

#include "local/store/selector.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define TEXT_MAX   8192
#define NEEDS_MAX  64
#define VALUES_MAX 64

enum need_op { NEED_IN, NEED_NOT_IN, NEED_EXISTS, NEED_ABSENT };
enum need_of { OF_LABEL, OF_FIELD, OF_NAME, OF_NAMESPACE };

struct selector_need {
    enum need_of of;
    enum need_op op;
    size_t field; /* of OF_FIELD: position in kind->fields */
    const char *key;
    const char *values[VALUES_MAX];
    size_t values_count;
};

struct cursor {
    char *at;
    const char *whole; /* for messages */
};

static void skip_space(struct cursor *c)
{
    while (*c->at == ' ' || *c->at == '\t') {
        c->at++;
    }
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.' || c == '/';
}

/* found: up to the next space or separator. */
static int refuse(const char *found, const char *wanted, struct error *err)
{
    int len = (int)strcspn(found, " ,()");
    return error_set(err, ERR_PROTOCOL, "unable to parse requirement: found '%.*s', expected: %s",
                     len == 0   ? (found[0] != '\0')
                     : len > 60 ? 60
                                : len,
                     found, wanted);
}

/* A word that ends before *c->at; the caller writes the NUL when it has looked at the next byte. */
static struct slice take_word(struct cursor *c)
{
    skip_space(c);
    char *from = c->at;
    while (is_word(*c->at)) {
        c->at++;
    }
    return slice_of(from, (size_t)(c->at - from));
}

/* Words are copied behind each other to `text`, which has room for all of them. */
static const char *keep(char **text, struct slice word)
{
    char *kept = *text;
    memcpy(kept, word.ptr, word.len);
    kept[word.len] = '\0';
    *text += word.len + 1;
    return kept;
}

static int take_set(struct cursor *c, struct selector_need *need, char **text, struct error *err)
{
    skip_space(c);
    if (*c->at != '(') {
        return refuse(c->at, "'('", err);
    }
    do {
        c->at++;
        if (need->values_count == VALUES_MAX) {
            return error_set(err, ERR_PROTOCOL, "a selector has at most %d values per key",
                             VALUES_MAX);
        }
        need->values[need->values_count++] = keep(text, take_word(c));
        skip_space(c);
    } while (*c->at == ',');
    if (*c->at != ')') {
        return refuse(c->at, "',' or ')'", err);
    }
    c->at++;
    return 0;
}

static int take_label_op(struct cursor *c, struct selector_need *need, char **text,
                         struct error *err)
{
    skip_space(c);
    if (*c->at == '\0' || *c->at == ',') {
        need->op = NEED_EXISTS;
        return 0;
    }
    if (*c->at == '=' || *c->at == '!') {
        bool not_equal = *c->at == '!';
        c->at++;
        if (not_equal && *c->at != '=') {
            return refuse(c->at, "'='", err);
        }
        if (*c->at == '=') {
            c->at++;
        }
        need->op = not_equal ? NEED_NOT_IN : NEED_IN;
        need->values[need->values_count++] = keep(text, take_word(c));
        return 0;
    }
    const char *found = c->at;
    struct slice op = take_word(c);
    if (slice_eq_str(op, "in")) {
        need->op = NEED_IN;
    } else if (slice_eq_str(op, "notin")) {
        need->op = NEED_NOT_IN;
    } else {
        return refuse(found, "in, notin, =, ==, !=, gt, lt", err);
    }
    return take_set(c, need, text, err);
}

static int take_label(struct cursor *c, struct selector_need *need, char **text, struct error *err)
{
    skip_space(c);
    bool absent = *c->at == '!';
    if (absent) {
        c->at++;
    }
    struct slice key = take_word(c);
    if (key.len == 0) {
        return refuse(c->at, "identifier", err);
    }
    need->of = OF_LABEL;
    need->key = keep(text, key);
    if (absent) {
        need->op = NEED_ABSENT;
        return 0;
    }
    return take_label_op(c, need, text, err);
}

static int take_field(struct cursor *c, const struct store_kind *kind, struct selector_need *need,
                      char **text, struct error *err)
{
    size_t key_len = strcspn(c->at, "=!,");
    struct slice key = slice_trim(slice_of(c->at, key_len));
    c->at += key_len;
    bool not_equal = *c->at == '!';
    c->at += not_equal ? 1 : 0;
    if (*c->at != '=') {
        return error_set(err, ERR_PROTOCOL, "invalid selector: '%.80s'; can't understand '%.80s'",
                         c->whole, key.ptr);
    }
    c->at += c->at[1] == '=' ? 2 : 1;
    size_t value_len = strcspn(c->at, ",");
    need->op = not_equal ? NEED_NOT_IN : NEED_IN;
    need->values[need->values_count++] = keep(text, slice_of(c->at, value_len));
    c->at += value_len;
    need->key = keep(text, key);
    if (strcmp(need->key, "metadata.name") == 0) {
        need->of = OF_NAME;
        return 0;
    }
    if (strcmp(need->key, "metadata.namespace") == 0) {
        need->of = OF_NAMESPACE;
        return 0;
    }
    need->of = OF_FIELD;
    for (size_t i = 0; i < object_fields_count(kind); i++) {
        if (strcmp(kind->fields[i], need->key) == 0) {
            need->field = i;
            return 0;
        }
    }
    if (kind->fields[0] == NULL && strchr(kind->api_version, '/') == NULL) {
        return error_set(err, ERR_PROTOCOL,
                         "\"%.80s\" is not a known field selector: only \"metadata.name\", "
                         "\"metadata.namespace\"",
                         need->key);
    }
    return error_set(err, ERR_PROTOCOL, "field label not supported: %s", need->key);
}

static int take_all(struct selector *s, const struct store_kind *kind, const char *source,
                    bool fields, char **text, struct error *err)
{
    char *copy = xstrdup(source);
    struct cursor c = {.at = copy, .whole = source};
    int rc = 0;
    skip_space(&c);
    while (rc == 0 && *c.at != '\0') {
        if (s->count == NEEDS_MAX) {
            rc = error_set(err, ERR_PROTOCOL, "a selector has at most %d requirements", NEEDS_MAX);
            break;
        }
        struct selector_need *need = &s->needs[s->count++];
        *need = (struct selector_need){0};
        rc = fields ? take_field(&c, kind, need, text, err) : take_label(&c, need, text, err);
        skip_space(&c);
        if (rc == 0 && *c.at == ',') {
            c.at++;
            skip_space(&c);
        } else if (rc == 0 && *c.at != '\0') {
            rc = refuse(c.at, "','", err);
        }
    }
    free(copy);
    return rc;
}

static size_t count_needs(const char *text)
{
    size_t n = 1;
    for (; *text != '\0'; text++) {
        n += *text == ',' ? 1 : 0;
    }
    return n;
}

int selector_init(struct selector *s, const struct store_kind *kind, const char *labels,
                  const char *fields, struct error *err)
{
    *s = (struct selector){0};
    labels = labels == NULL ? "" : labels;
    fields = fields == NULL ? "" : fields;
    size_t len = strlen(labels) + strlen(fields);
    if (len == 0) {
        return 0;
    }
    if (len > TEXT_MAX) {
        return error_set(err, ERR_PROTOCOL, "a selector has at most %d bytes", TEXT_MAX);
    }
    size_t needs = count_needs(labels) + count_needs(fields);
    s->needs = xcalloc(needs > NEEDS_MAX ? NEEDS_MAX : needs, sizeof(*s->needs));
    s->text = xmalloc(len * 2 + 2); /* every word ends with a NUL of its own */
    char *text = s->text;
    int rc = take_all(s, kind, labels, false, &text, err);
    if (rc == 0) {
        rc = take_all(s, kind, fields, true, &text, err);
    }
    if (rc < 0) {
        selector_fini(s);
    }
    return rc;
}

void selector_fini(struct selector *s)
{
    free(s->needs);
    free(s->text);
    *s = (struct selector){0};
}

/* texts: of labels and fields. */
static const char *value_of(const struct selector_need *need, const struct object *o,
                            const char *texts)
{
    switch (need->of) {
    case OF_LABEL:
        return object_label(o, texts, need->key);
    case OF_FIELD:
        return object_field(o, texts, need->field);
    case OF_NAME:
        return o->name;
    case OF_NAMESPACE:
        return o->ns;
    }
    return NULL;
}

static bool among(const struct selector_need *need, const char *value)
{
    for (size_t i = 0; i < need->values_count; i++) {
        if (strcmp(need->values[i], value) == 0) {
            return true;
        }
    }
    return false;
}

static bool need_met(const struct selector_need *need, const struct object *o, const char *texts)
{
    const char *value = value_of(need, o, texts);
    switch (need->op) {
    case NEED_EXISTS:
        return value != NULL;
    case NEED_ABSENT:
        return value == NULL;
    case NEED_IN:
        return value != NULL && among(need, value);
    case NEED_NOT_IN:
        return value == NULL || !among(need, value);
    }
    return false;
}

bool selector_match(const struct selector *s, const struct object *o)
{
    if (s->count == 0) {
        return true;
    }
    CLEANUP(object_room_fini) struct object_room room = {0};
    const char *texts = object_texts(o, &room);
    for (size_t i = 0; i < s->count; i++) {
        if (!need_met(&s->needs[i], o, texts)) {
            return false;
        }
    }
    return true;
}
