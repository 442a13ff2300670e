// SPDX-License-Identifier: Apache-2.0
/*
 * Comparing two trees of one type, in the form of Knative's messages. Happy path: both sides are
 * walked together; what one side does not have, and scalars that differ, make an entry. Lists are
 * lined up so that the fewest elements differ. Failure modes: none; a text that grows too long ends
 * with the buffer's limit. Where Go would print a pointer's address or a whole struct, compact JSON
 * stands instead.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "json/jparse.h"
#include "serving/gotext.h"
#include "serving/quantity.h"
#include "serving/typed.h"

/* Longer lists are compared place by place. */
enum { ALIGN_MAX = 200, PATH_TEXT_MAX = 65536 };

static struct slice text_of(const json_t *value)
{
    return slice_of(json_string_value(value), json_string_length(value));
}

static bool scalar_equal(const json_t *a, const json_t *b, enum type_kind kind)
{
    struct quantity qa;
    struct quantity qb;
    if (kind == TYPE_QUANTITY && json_is_string(a) && json_is_string(b) &&
        quantity_parse(text_of(a), &qa) && quantity_parse(text_of(b), &qb)) {
        return qa.nano == qb.nano;
    }
    return json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b) != 0;
}

static bool value_equal(const json_t *a, const json_t *b, const struct type_field *field)
{
    return field->kind == TYPE_STRUCT ? type_equal(a, b, field->type)
                                      : scalar_equal(a, b, field->kind);
}

static bool map_equal(const json_t *a, const json_t *b, const struct type_field *field)
{
    const char *key;
    json_t *value;
    if (json_object_size(a) != json_object_size(b)) {
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (other == NULL || !value_equal(value, other, field)) {
            return false;
        }
    }
    return true;
}

static bool list_equal(const json_t *a, const json_t *b, const struct type_field *field)
{
    if (json_array_size(a) != json_array_size(b)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(a); i++) {
        if (!value_equal(json_array_get(a, i), json_array_get(b, i), field)) {
            return false;
        }
    }
    return true;
}

bool type_equal(const json_t *a, const json_t *b, enum type_id type)
{
    size_t count;
    const struct type_field *fields = type_fields(type, &count);
    for (size_t i = 0; i < count; i++) {
        const struct type_field *field = &fields[i];
        bool in_a = type_field_set(a, field);
        if (in_a != type_field_set(b, field)) {
            return false;
        }
        const json_t *va = json_object_get(a, field->json);
        const json_t *vb = json_object_get(b, field->json);
        if (in_a && !(field->form == TYPE_LIST  ? list_equal(va, vb, field)
                      : field->form == TYPE_MAP ? map_equal(va, vb, field)
                                                : value_equal(va, vb, field))) {
            return false;
        }
    }
    return true;
}

/* --- the entries --------------------------------------------------------------------------- */

struct diff {
    struct strbuf *out;
    struct strbuf path;
};

static void print_json(struct strbuf *out, const json_t *value)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, PATH_TEXT_MAX);
    bool fits = jdump_canonical(value, &text, NULL) == 0;
    strbuf_append_slice(out, fits ? strbuf_slice(&text) : SLICE_LIT("{…}"));
}

static void print_scalar(struct strbuf *out, const json_t *value)
{
    if (json_is_string(value)) {
        strbuf_append_slice(out, text_of(value));
    } else {
        print_json(out, value);
    }
}

/* "[a b]" and "map[a:b]" as Go prints lists and maps of texts. */
static void print_list(struct strbuf *out, const json_t *list)
{
    strbuf_append_char(out, '[');
    for (size_t i = 0; i < json_array_size(list); i++) {
        strbuf_append_str(out, i == 0 ? "" : " ");
        print_scalar(out, json_array_get(list, i));
    }
    strbuf_append_char(out, ']');
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of a and b, each once, sorted; the caller frees the list. */
static const char **sorted_keys(const json_t *a, const json_t *b, size_t *out_count)
{
    const char *key;
    json_t *value;
    size_t count = 0;
    const char **keys = xcalloc(json_object_size(a) + json_object_size(b) + 1, sizeof(*keys));
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        keys[count++] = key;
    }
    json_object_foreach((json_t *)(uintptr_t)b, key, value)
    {
        if (json_object_get(a, key) == NULL) {
            keys[count++] = key;
        }
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    *out_count = count;
    return keys;
}

static void print_map(struct strbuf *out, const json_t *map)
{
    size_t count;
    const char **keys = sorted_keys(map, NULL, &count);
    strbuf_append_str(out, "map[");
    for (size_t i = 0; i < count; i++) {
        strbuf_appendf(out, "%s%s:", i == 0 ? "" : " ", keys[i]);
        print_scalar(out, json_object_get(map, keys[i]));
    }
    strbuf_append_char(out, ']');
    free(keys);
}

/* One side of a field as a whole; value NULL: not there. */
static void print_field(struct strbuf *out, const json_t *value, const struct type_field *field)
{
    if (field->form == TYPE_LIST) {
        print_list(out, value);
    } else if (field->form == TYPE_MAP) {
        print_map(out, value);
    } else if (value != NULL) {
        print_scalar(out, value);
    } else if (field->form == TYPE_POINTER) {
        strbuf_append_str(out, field->kind == TYPE_STRUCT ? "nil" : "<nil>");
    } else if (field->kind != TYPE_STRING) {
        strbuf_append_str(out, field->kind == TYPE_BOOL ? "false" : "0");
    }
}

/* One side of an element of a list or map. */
static void element_side(struct diff *d, char sign, const json_t *value,
                         const struct type_field *field)
{
    strbuf_appendf(d->out, "\t%c: ", sign);
    if (field->kind == TYPE_STRUCT) {
        strbuf_appendf(d->out, "%s: ", type_go_name(field->type));
    } else if (field->kind == TYPE_QUANTITY) {
        strbuf_append_str(d->out, "resource.Quantity: ");
    }
    strbuf_append_char(d->out, '"');
    print_scalar(d->out, value);
    strbuf_append_str(d->out, "\"\n");
}

static void element_entry(struct diff *d, const json_t *a, const json_t *b,
                          const struct type_field *field)
{
    strbuf_appendf(d->out, "%s:\n", d->path.ptr);
    if (a != NULL) {
        element_side(d, '-', a, field);
    }
    if (b != NULL) {
        element_side(d, '+', b, field);
    }
}

static void scalar_entry(struct diff *d, const json_t *a, const json_t *b,
                         const struct type_field *field)
{
    bool behind = field->form == TYPE_POINTER && a != NULL && b != NULL;
    strbuf_appendf(d->out, "%s%s:\n\t-: \"", behind ? "*" : "", d->path.ptr);
    print_field(d->out, a, field);
    strbuf_append_str(d->out, "\"\n\t+: \"");
    print_field(d->out, b, field);
    strbuf_append_str(d->out, "\"\n");
}

static void diff_object(struct diff *d, const json_t *a, const json_t *b, enum type_id type);

/* A port is a struct of three in Go. */
static void diff_int_or_string(struct diff *d, const json_t *a, const json_t *b)
{
    size_t len = d->path.len;
    long long numbers[2][2] = {{json_is_string(a), json_is_string(b)},
                               {json_integer_value(a), json_integer_value(b)}};
    static const char *const parts[] = {".Type", ".IntVal"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (numbers[i][0] != numbers[i][1]) {
            strbuf_appendf(d->out, "%s%s:\n\t-: \"%lld\"\n\t+: \"%lld\"\n", d->path.ptr, parts[i],
                           numbers[i][0], numbers[i][1]);
        }
    }
    struct slice ta = json_is_string(a) ? text_of(a) : SLICE_EMPTY;
    struct slice tb = json_is_string(b) ? text_of(b) : SLICE_EMPTY;
    if (!slice_eq(ta, tb)) {
        strbuf_appendf(d->out, "%s.StrVal:\n\t-: \"%.*s\"\n\t+: \"%.*s\"\n", d->path.ptr,
                       SLICE_FMT(ta), SLICE_FMT(tb));
    }
    strbuf_truncate(&d->path, len);
}

static void diff_element(struct diff *d, const json_t *a, const json_t *b,
                         const struct type_field *field)
{
    if (a != NULL && b != NULL && field->kind == TYPE_STRUCT) {
        diff_object(d, a, b, field->type);
    } else if (a == NULL || b == NULL || !scalar_equal(a, b, field->kind)) {
        element_entry(d, a, b, field);
    }
}

static void diff_map(struct diff *d, const json_t *a, const json_t *b,
                     const struct type_field *field)
{
    size_t len = d->path.len;
    size_t count;
    const char **keys = sorted_keys(a, b, &count);
    for (size_t i = 0; i < count; i++) {
        strbuf_append_str(&d->path, "[");
        go_quote(slice_str(keys[i]), &d->path);
        strbuf_append_str(&d->path, "]");
        diff_element(d, json_object_get(a, keys[i]), json_object_get(b, keys[i]), field);
        strbuf_truncate(&d->path, len);
    }
    free(keys);
}

/* costs[i * (m + 1) + j]: the fewest changes from a[i..] to b[j..]. */
static unsigned *align(const json_t *a, const json_t *b, const struct type_field *field)
{
    size_t n = json_array_size(a);
    size_t m = json_array_size(b);
    unsigned *costs = xcalloc((n + 1) * (m + 1), sizeof(*costs));
    for (size_t i = n + 1; i-- > 0;) {
        for (size_t j = m + 1; j-- > 0;) {
            unsigned *cost = &costs[i * (m + 1) + j];
            if (i == n || j == m) {
                *cost = (unsigned)(n - i + m - j);
                continue;
            }
            bool same = value_equal(json_array_get(a, i), json_array_get(b, j), field);
            unsigned best = costs[(i + 1) * (m + 1) + j + 1] + (same ? 0 : 1);
            unsigned without = costs[(i + 1) * (m + 1) + j] + 1;
            unsigned with = costs[i * (m + 1) + j + 1] + 1;
            best = without < best ? without : best;
            *cost = with < best ? with : best;
        }
    }
    return costs;
}

/* At i of a and j of b; SIZE_MAX: there is none on this side. */
static void diff_at(struct diff *d, const json_t *a, size_t i, const json_t *b, size_t j,
                    const struct type_field *field)
{
    size_t len = d->path.len;
    if (i == j) {
        strbuf_appendf(&d->path, "[%zu]", i);
    } else if (i == SIZE_MAX) {
        strbuf_appendf(&d->path, "[?->%zu]", j);
    } else if (j == SIZE_MAX) {
        strbuf_appendf(&d->path, "[%zu->?]", i);
    } else {
        strbuf_appendf(&d->path, "[%zu->%zu]", i, j);
    }
    diff_element(d, i == SIZE_MAX ? NULL : json_array_get(a, i),
                 j == SIZE_MAX ? NULL : json_array_get(b, j), field);
    strbuf_truncate(&d->path, len);
}

static void diff_list(struct diff *d, const json_t *a, const json_t *b,
                      const struct type_field *field)
{
    size_t n = json_array_size(a);
    size_t m = json_array_size(b);
    unsigned *costs = n <= ALIGN_MAX && m <= ALIGN_MAX ? align(a, b, field) : NULL;
    size_t i = 0;
    size_t j = 0;
    while (i < n || j < m) {
        bool both = i < n && j < m;
        if (both && costs != NULL) {
            bool same = value_equal(json_array_get(a, i), json_array_get(b, j), field);
            both = costs[i * (m + 1) + j] == costs[(i + 1) * (m + 1) + j + 1] + (same ? 0 : 1);
        }
        bool drop = !both && i < n &&
                    (j == m ||
                     (costs != NULL && costs[i * (m + 1) + j] == costs[(i + 1) * (m + 1) + j] + 1));
        diff_at(d, a, both || drop ? i : SIZE_MAX, b, both || !drop ? j : SIZE_MAX, field);
        i += both || drop ? 1 : 0;
        j += both || !drop ? 1 : 0;
    }
    free(costs);
}

static void diff_field(struct diff *d, const json_t *a, const json_t *b,
                       const struct type_field *field)
{
    bool set_a = type_field_set(a, field);
    bool set_b = type_field_set(b, field);
    const json_t *va = set_a ? json_object_get(a, field->json) : NULL;
    const json_t *vb = set_b ? json_object_get(b, field->json) : NULL;
    bool one_sided = set_a != set_b && field->form != TYPE_PLAIN;
    size_t len = d->path.len;
    if (!set_a && !set_b) {
        return;
    }
    strbuf_appendf(&d->path, ".%s", field->path);
    if (one_sided) {
        scalar_entry(d, va, vb, field);
    } else if (field->form == TYPE_LIST) {
        diff_list(d, va, vb, field);
    } else if (field->form == TYPE_MAP) {
        diff_map(d, va, vb, field);
    } else if (field->kind == TYPE_STRUCT) {
        diff_object(d, va, vb, field->type);
    } else if (field->kind == TYPE_INT_OR_STRING) {
        diff_int_or_string(d, va, vb);
    } else if (set_a != set_b || !scalar_equal(va, vb, field->kind)) {
        scalar_entry(d, va, vb, field);
    }
    strbuf_truncate(&d->path, len);
}

static void diff_object(struct diff *d, const json_t *a, const json_t *b, enum type_id type)
{
    size_t count;
    const struct type_field *fields = type_fields(type, &count);
    for (size_t i = 0; i < count; i++) {
        diff_field(d, a, b, &fields[i]);
    }
}

void type_diff(const json_t *old, const json_t *fresh, enum type_id type, const char *root,
               struct strbuf *out)
{
    struct diff d = {.out = out};
    strbuf_init(&d.path, PATH_TEXT_MAX);
    strbuf_append_str(&d.path, root);
    diff_object(&d, old, fresh, type);
    strbuf_fini(&d.path);
}
