// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: text is copied, each action is split into its words and looked up. Failure modes: an
 * action that is not closed or that is none of the few that are known; the error quotes it.
 */
#include "serving/host_template.h"

#include <string.h>

enum { WORDS_MAX = 3, WORD_MAX = 320 };

/* The words of one action: `index`, `.Labels`, `"x"`. */
struct action {
    struct slice text;
    struct slice words[WORDS_MAX];
    size_t count;
};

static int bad(const struct action *a, struct error *err, const char *what)
{
    return error_set(err, ERR_INVALID, "{{%.*s}}: %s", SLICE_FMT(a->text), what);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The length of the word at the start of text; 0: a text in quotes that is not closed. */
static size_t word_len(struct slice text)
{
    char quote = text.ptr[0];
    size_t i = 1;
    if (quote != '"' && quote != '`') {
        while (i < text.len && !is_space(text.ptr[i])) {
            i++;
        }
        return i;
    }
    for (; i < text.len; i++) {
        if (text.ptr[i] == quote) {
            return i + 1;
        }
        if (text.ptr[i] == '\\' && quote == '"') {
            return 0; /* no key of a label or annotation needs an escape */
        }
    }
    return 0;
}

static int split(struct action *a, struct error *err)
{
    struct slice rest = a->text;
    a->count = 0;
    for (;;) {
        while (rest.len > 0 && is_space(rest.ptr[0])) {
            rest = slice_sub(rest, 1, rest.len);
        }
        if (rest.len == 0) {
            return a->count > 0 ? 0 : bad(a, err, "missing value for command");
        }
        size_t len = word_len(rest);
        if (len == 0) {
            return bad(a, err, "unterminated quoted string, or one with an escape");
        }
        if (a->count == WORDS_MAX) {
            return bad(a, err, "unexpected operand");
        }
        a->words[a->count++] = slice_sub(rest, 0, len);
        rest = slice_sub(rest, len, rest.len);
    }
}

static const char *member(const json_t *map, struct slice key)
{
    char name[WORD_MAX];
    return slice_copy(key, name, sizeof(name)) ? json_string_value(json_object_get(map, name))
                                               : NULL;
}

/* The map that a word names, by its beginning. */
static bool find_map(const struct host_values *v, struct slice word, const json_t **out,
                     struct slice *rest)
{
    struct slice labels = SLICE_LIT(".Labels");
    struct slice annotations = SLICE_LIT(".Annotations");
    if (v->maps && slice_starts_with(word, labels)) {
        *out = v->labels;
        *rest = slice_sub(word, labels.len, word.len);
        return true;
    }
    if (v->maps && slice_starts_with(word, annotations)) {
        *out = v->annotations;
        *rest = slice_sub(word, annotations.len, word.len);
        return true;
    }
    return false;
}

static bool is_identifier(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) {
            return false;
        }
    }
    return s.len > 0;
}

static const char *field(const struct host_values *v, struct slice word)
{
    const struct {
        const char *name;
        const char *value;
    } fields[] = {
        {".Name", v->name}, {".Namespace", v->ns}, {".Domain", v->domain}, {".Tag", v->tag}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (slice_eq_str(word, fields[i].name)) {
            return fields[i].value;
        }
    }
    return NULL;
}

static int append(struct strbuf *out, struct slice s, struct error *err)
{
    return strbuf_append_slice(out, s) < 0
               ? error_set(err, ERR_TOO_BIG, "longer than %zu bytes", out->max)
               : 0;
}

static int print_word(const struct action *a, const struct host_values *v, struct strbuf *out,
                      struct error *err)
{
    const json_t *map;
    struct slice key;
    const char *value = field(v, a->words[0]);
    if (value == NULL && find_map(v, a->words[0], &map, &key) && key.len > 1 && key.ptr[0] == '.' &&
        is_identifier(slice_sub(key, 1, key.len))) {
        value = member(map, slice_sub(key, 1, key.len));
        value = value == NULL ? "<no value>" : value;
    }
    if (value == NULL) {
        return bad(a, err,
                   v->maps ? "must be .Name, .Namespace, .Domain, .Labels.x, .Annotations.x, index "
                             ".Labels \"x\" or index .Annotations \"x\""
                           : "must be .Name or .Tag");
    }
    return append(out, slice_str(value), err);
}

static int print_index(const struct action *a, const struct host_values *v, struct strbuf *out,
                       struct error *err)
{
    const json_t *map;
    struct slice rest;
    if (a->count != 3 || !find_map(v, a->words[1], &map, &rest) || rest.len > 0 ||
        (a->words[2].ptr[0] != '"' && a->words[2].ptr[0] != '`')) {
        return bad(a, err, "index takes .Labels or .Annotations and a key in quotes");
    }
    const char *value = member(map, slice_sub(a->words[2], 1, a->words[2].len - 2));
    return value == NULL ? 0 : append(out, slice_str(value), err);
}

static int print_action(struct action *a, const struct host_values *v, struct strbuf *out,
                        struct error *err)
{
    int rc = split(a, err);
    if (rc < 0) {
        return rc;
    }
    if (slice_eq_str(a->words[0], "index")) {
        return print_index(a, v, out, err);
    }
    return a->count == 1 ? print_word(a, v, out, err) : bad(a, err, "unexpected operand");
}

static ptrdiff_t find_pair(struct slice s, const char *pair)
{
    for (size_t i = 0; i + 1 < s.len; i++) {
        if (s.ptr[i] == pair[0] && s.ptr[i + 1] == pair[1]) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static struct slice trim_right(struct slice s)
{
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

static struct slice trim_left(struct slice s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s = slice_sub(s, 1, s.len);
    }
    return s;
}

int host_template_print(struct slice text, const struct host_values *values, struct strbuf *out,
                        struct error *err)
{
    bool trim = false;
    for (;;) {
        ptrdiff_t open = find_pair(text, "{{");
        struct slice plain = open < 0 ? text : slice_sub(text, 0, (size_t)open);
        struct slice rest = open < 0 ? SLICE_EMPTY : slice_sub(text, (size_t)open + 2, text.len);
        plain = trim ? trim_left(plain) : plain;
        trim = false;
        bool before = rest.len > 1 && rest.ptr[0] == '-' && is_space(rest.ptr[1]);
        int rc = append(out, before ? trim_right(plain) : plain, err);
        if (rc < 0 || open < 0) {
            return rc;
        }
        ptrdiff_t close = find_pair(rest, "}}");
        if (close < 0) {
            return error_set(err, ERR_INVALID, "{{%.*s: unclosed action",
                             (int)(rest.len > 60 ? 60 : rest.len), rest.ptr);
        }
        struct action a = {.text = slice_sub(rest, before, (size_t)close - before)};
        text = slice_sub(rest, (size_t)close + 2, rest.len);
        if (a.text.len > 1 && a.text.ptr[a.text.len - 1] == '-' &&
            is_space(a.text.ptr[a.text.len - 2])) {
            a.text.len--;
            trim = true;
        }
        struct slice bare = trim_left(trim_right(a.text));
        if (slice_starts_with(bare, SLICE_LIT("/*")) && slice_ends_with(bare, SLICE_LIT("*/")) &&
            bare.len >= 4) {
            continue;
        }
        rc = print_action(&a, values, out, err);
        if (rc < 0) {
            return rc;
        }
    }
}
