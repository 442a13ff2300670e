// SPDX-License-Identifier: Apache-2.0
/*
 * Casts and the built-in functions. Positions and lengths are characters, not bytes. Failure modes:
 * a function says its problem and still leaves a value; memory that is used up is a generic one.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <wctype.h>

#include "base/num.h"
#include "base/utf8.h"
#include "events/cesql_impl.h"

#define ANY_NUMBER UINT8_MAX
#define CHAR_BYTES 4 /* the longest in UTF-8 */

/* --- casts ------------------------------------------------------------------------------------ */

static enum cesql_problem to_integer(struct cesql_value *value)
{
    int64_t n;
    if (value->type == CESQL_STRING &&
        num_parse_i64(value->string, INT32_MIN, INT32_MAX, &n, NULL) < 0) {
        *value = (struct cesql_value){.type = CESQL_INTEGER};
        return CESQL_CAST;
    }
    *value = (struct cesql_value){
        .type = CESQL_INTEGER, .number = value->type == CESQL_STRING ? (int32_t)n : value->number};
    return CESQL_FINE;
}

static enum cesql_problem to_boolean(struct cesql_value *value)
{
    bool on = value->number != 0;
    bool known = true;
    if (value->type == CESQL_STRING) {
        on = slice_eq_nocase(value->string, SLICE_LIT("true"));
        known = on || slice_eq_nocase(value->string, SLICE_LIT("false"));
    }
    *value = (struct cesql_value){.type = CESQL_BOOLEAN, .number = on};
    return known ? CESQL_FINE : CESQL_CAST;
}

static enum cesql_problem to_string(const struct cesql *c, struct cesql_value *value)
{
    char text[16];
    if (value->type == CESQL_BOOLEAN) {
        *value = (struct cesql_value){.type = CESQL_STRING,
                                      .string = value->number != 0 ? SLICE_LIT("true")
                                                                   : SLICE_LIT("false")};
        return CESQL_FINE;
    }
    size_t len = (size_t)snprintf(text, sizeof(text), "%d", (int)value->number);
    char *room = cesql_scratch_room(c->scratch, len);
    *value = (struct cesql_value){.type = CESQL_STRING, .string = SLICE_EMPTY};
    if (room == NULL) {
        return CESQL_GENERIC;
    }
    memcpy(room, text, len);
    value->string = slice_of(room, len);
    return CESQL_FINE;
}

enum cesql_problem cesql_cast(const struct cesql *c, struct cesql_value *value,
                              enum cesql_type type)
{
    if (value->type == type) {
        return CESQL_FINE;
    }
    return type == CESQL_INTEGER   ? to_integer(value)
           : type == CESQL_BOOLEAN ? to_boolean(value)
                                   : to_string(c, value);
}

static enum cesql_problem call_cast(const struct cesql *c, const struct cesql_value *args,
                                    unsigned n, struct cesql_value *out)
{
    enum cesql_type type = out->type;
    *out = args[0];
    return cesql_cast(c, out, type);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static enum cesql_problem call_abs(const struct cesql *c, const struct cesql_value *args,
                                   unsigned n, struct cesql_value *out)
{
    int32_t x = args[0].number;
    out->number = x == INT32_MIN ? INT32_MAX : abs(x);
    return x == INT32_MIN ? CESQL_MATH : CESQL_FINE;
}

static enum cesql_problem call_length(const struct cesql *c, const struct cesql_value *args,
                                      unsigned n, struct cesql_value *out)
{
    out->number = (int32_t)utf8_count(args[0].string);
    return CESQL_FINE;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* All of args from `first` on, with `between` them. */
static enum cesql_problem join(const struct cesql *c, const struct cesql_value *args,
                               unsigned first, unsigned n, struct slice between,
                               struct cesql_value *out)
{
    size_t len = 0;
    for (unsigned i = first; i < n; i++) {
        len += args[i].string.len + (i > first ? between.len : 0);
    }
    char *room = cesql_scratch_room(c->scratch, len);
    if (room == NULL) {
        return CESQL_GENERIC;
    }
    char *p = room;
    for (unsigned i = first; i < n; i++) {
        if (i > first && between.len > 0) {
            p = mempcpy(p, between.ptr, between.len);
        }
        if (args[i].string.len > 0) {
            p = mempcpy(p, args[i].string.ptr, args[i].string.len);
        }
    }
    out->string = slice_of(room, len);
    return CESQL_FINE;
}

static enum cesql_problem call_concat(const struct cesql *c, const struct cesql_value *args,
                                      unsigned n, struct cesql_value *out)
{
    return join(c, args, 0, n, SLICE_EMPTY, out);
}

static enum cesql_problem call_concat_ws(const struct cesql *c, const struct cesql_value *args,
                                         unsigned n, struct cesql_value *out)
{
    return join(c, args, 1, n, args[0].string, out);
}

static enum cesql_problem change_case(const struct cesql *c, struct slice text, bool upper,
                                      struct cesql_value *out)
{
    /* A letter's other form may be longer: 'ı' of two bytes, 'Ⱥ' that becomes three. */
    bool ascii = utf8_ascii(text) == text.len;
    char *room = cesql_scratch_room(c->scratch, ascii ? text.len : text.len * CHAR_BYTES / 2);
    size_t n = 0;
    if (room == NULL) {
        return CESQL_GENERIC;
    }
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_len(text.ptr + i, text.len - i);
        uint32_t code = utf8_code(text.ptr + i, len);
        i += len;
        if (code < 0x80) {
            room[n++] = (char)(upper ? toupper((int)code) : tolower((int)code));
        } else if (c->locale == (locale_t)0) {
            n += utf8_put(room + n, code);
        } else {
            n += utf8_put(room + n, (uint32_t)(upper ? towupper_l((wint_t)code, c->locale)
                                                     : towlower_l((wint_t)code, c->locale)));
        }
    }
    out->string = slice_of(room, n);
    return CESQL_FINE;
}

static enum cesql_problem call_lower(const struct cesql *c, const struct cesql_value *args,
                                     unsigned n, struct cesql_value *out)
{
    return change_case(c, args[0].string, false, out);
}

static enum cesql_problem call_upper(const struct cesql *c, const struct cesql_value *args,
                                     unsigned n, struct cesql_value *out)
{
    return change_case(c, args[0].string, true, out);
}

/* Unicode's White_Space. */
static bool is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0d) || code == ' ' || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

static enum cesql_problem call_trim(const struct cesql *c, const struct cesql_value *args,
                                    unsigned n, struct cesql_value *out)
{
    struct slice text = args[0].string;
    size_t from = 0, to = 0;
    bool begun = false;
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_len(text.ptr + i, text.len - i);
        if (!is_space(utf8_code(text.ptr + i, len))) {
            from = begun ? from : i;
            begun = true;
            to = i + len;
        }
        i += len;
    }
    out->string = slice_sub(text, from, to - from);
    return CESQL_FINE;
}

/* The bytes of the first n characters. */
static size_t chars(struct slice text, size_t n)
{
    size_t i = 0;
    for (; n > 0 && i < text.len; n--) {
        i += utf8_len(text.ptr + i, text.len - i);
    }
    return i;
}

static enum cesql_problem call_left(const struct cesql *c, const struct cesql_value *args,
                                    unsigned n, struct cesql_value *out)
{
    int32_t count = args[1].number;
    out->string = args[0].string;
    if (count < 0) {
        return CESQL_FUNCTION;
    }
    out->string.len = chars(args[0].string, (size_t)count);
    return CESQL_FINE;
}

static enum cesql_problem call_right(const struct cesql *c, const struct cesql_value *args,
                                     unsigned n, struct cesql_value *out)
{
    int32_t count = args[1].number;
    size_t all = utf8_count(args[0].string);
    out->string = args[0].string;
    if (count < 0) {
        return CESQL_FUNCTION;
    }
    if ((size_t)count < all) {
        size_t from = chars(args[0].string, all - (size_t)count);
        out->string = slice_sub(args[0].string, from, args[0].string.len);
    }
    return CESQL_FINE;
}

static enum cesql_problem call_substring(const struct cesql *c, const struct cesql_value *args,
                                         unsigned n, struct cesql_value *out)
{
    struct slice text = args[0].string;
    int64_t at = args[1].number;
    int64_t all = (int64_t)utf8_count(text);
    int64_t len = n > 2 ? args[2].number : all;
    if (at > all || at < -all || len < 0) {
        return CESQL_FUNCTION;
    }
    if (at != 0) {
        size_t skipped = chars(text, (size_t)(at > 0 ? at - 1 : all + at));
        text = slice_sub(text, skipped, text.len);
        out->string = slice_sub(text, 0, chars(text, (size_t)len));
    }
    return CESQL_FINE;
}

/* --- by name ---------------------------------------------------------------------------------- */

static const struct cesql_function FUNCTIONS[] = {
    {"INT", 1, 1, CESQL_INTEGER, "A", call_cast},
    {"BOOL", 1, 1, CESQL_BOOLEAN, "A", call_cast},
    {"STRING", 1, 1, CESQL_STRING, "A", call_cast},
    {"ABS", 1, 1, CESQL_INTEGER, "I", call_abs},
    {"LENGTH", 1, 1, CESQL_INTEGER, "S", call_length},
    {"CONCAT", 0, ANY_NUMBER, CESQL_STRING, "S", call_concat},
    {"CONCAT_WS", 1, ANY_NUMBER, CESQL_STRING, "S", call_concat_ws},
    {"LOWER", 1, 1, CESQL_STRING, "S", call_lower},
    {"UPPER", 1, 1, CESQL_STRING, "S", call_upper},
    {"TRIM", 1, 1, CESQL_STRING, "S", call_trim},
    {"LEFT", 2, 2, CESQL_STRING, "SI", call_left},
    {"RIGHT", 2, 2, CESQL_STRING, "SI", call_right},
    {"SUBSTRING", 2, 3, CESQL_STRING, "SII", call_substring},
};

const struct cesql_function *cesql_function_find(struct slice name, unsigned n_args)
{
    for (size_t i = 0; i < ARRAY_LEN(FUNCTIONS); i++) {
        const struct cesql_function *f = &FUNCTIONS[i];
        if (slice_eq_nocase(name, slice_str(f->name))) {
            bool fits =
                n_args >= f->min_args && (f->max_args == ANY_NUMBER || n_args <= f->max_args);
            return fits ? f : NULL;
        }
    }
    return NULL;
}

bool cesql_function_has_case(const struct cesql_function *f)
{
    return f->call == call_lower || f->call == call_upper;
}
