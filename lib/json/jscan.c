// SPDX-License-Identifier: Apache-2.0
/*
 * A cursor over the bytes. Values within values are walked in a loop with one bit a level, so that
 * no text makes the stack grow. The first failure stays, with the place where it was seen.
 */
#include "json/jscan.h"

#include "base/utf8.h"

/* Which of the open lists are objects. */
struct levels {
    uint64_t object[JSCAN_DEPTH_MAX / 64];
    unsigned depth;
};

struct jscan jscan_of(struct slice text)
{
    const char *start = text.ptr == NULL ? "" : text.ptr;
    return (struct jscan){.at = start, .end = start + text.len, .start = start};
}

static bool fail(struct jscan *s, const char *why)
{
    s->why = s->why == NULL ? why : s->why;
    return false;
}

static void skip_space(struct jscan *s)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r')) {
        s->at++;
    }
}

/* The next byte that is no space; NUL at the end. */
static char peek(struct jscan *s)
{
    skip_space(s);
    return s->at < s->end ? *s->at : '\0';
}

static bool expect(struct jscan *s, char wanted, const char *why)
{
    if (peek(s) != wanted) {
        return fail(s, s->at == s->end ? "it ends too early" : why);
    }
    s->at++;
    return true;
}

/* --- strings ---------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Four hexadecimal digits at p; -1: they are none. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t code = 0;
    if (end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex(p[i]);
        if (digit < 0) {
            return -1;
        }
        code = code << 4 | digit;
    }
    return code;
}

/* The code point behind "\u" at p, and how many bytes it takes; -1: there is none. */
static int32_t unicode_at(const char *p, const char *end, size_t *out_len)
{
    int32_t code = hex4(p, end);
    *out_len = 4;
    if (code < 0xd800 || code > 0xdfff) {
        return code;
    }
    if (code > 0xdbff || end - p < 10 || p[4] != '\\' || p[5] != 'u') {
        return -1;
    }
    int32_t low = hex4(p + 6, end);
    *out_len = 10;
    return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* s->at stands on a backslash. */
static bool scan_escape(struct jscan *s)
{
    size_t len;
    if (s->end - s->at < 2) {
        return fail(s, "it ends too early");
    }
    char c = s->at[1];
    if (c == 'u') {
        if (unicode_at(s->at + 2, s->end, &len) < 0) {
            return fail(s, "\\u must be followed by four digits of a character");
        }
        s->at += 2 + len;
        return true;
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
        return fail(s, "an escape that JSON does not have");
    }
    s->at += 2;
    return true;
}

static bool scan_string(struct jscan *s, struct jscan_string *out)
{
    if (!expect(s, '"', "a string is expected")) {
        return false;
    }
    const char *first = s->at;
    out->escaped = false;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            out->text = slice_of(first, (size_t)(s->at - first));
            s->at++;
            return true;
        }
        if (c == '\\') {
            out->escaped = true;
            if (!scan_escape(s)) {
                return false;
            }
        } else if (c < 0x20) {
            return fail(s, "a control character in a string");
        } else if (c < 0x80) {
            s->at++;
        } else {
            size_t len = utf8_len(s->at, (size_t)(s->end - s->at));
            if (len == 0) {
                return fail(s, "not UTF-8");
            }
            s->at += len;
        }
    }
    return fail(s, "a string that does not end");
}

size_t jscan_unescape(struct jscan_string s, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *end = s.text.ptr + s.text.len;
    size_t n = 0, len;
    for (const char *p = s.text.ptr; p < end;) {
        if (*p != '\\') {
            out[n++] = *p++;
        } else if (p[1] == 'u') {
            n += utf8_put(out + n, (uint32_t)unicode_at(p + 2, end, &len));
            p += 2 + len;
        } else {
            out[n++] = to[strchr(from, p[1]) - from];
            p += 2;
        }
    }
    return n;
}

/* --- values ----------------------------------------------------------------------------------- */

static bool scan_digits(struct jscan *s)
{
    const char *first = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return s->at > first;
}

static bool scan_number(struct jscan *s)
{
    s->at += *s->at == '-';
    bool zero = s->at < s->end && *s->at == '0';
    const char *first = s->at;
    bool fine = scan_digits(s) && (!zero || s->at == first + 1);
    if (fine && s->at < s->end && *s->at == '.') {
        s->at++;
        fine = scan_digits(s);
    }
    if (fine && s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        s->at += s->at < s->end && (*s->at == '+' || *s->at == '-');
        fine = scan_digits(s);
    }
    return fine || fail(s, "not a number as JSON writes it");
}

static bool scan_word(struct jscan *s, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) {
        return fail(s, "a value is expected");
    }
    s->at += len;
    return true;
}

static enum jscan_kind kind_of(char c)
{
    switch (c) {
    case '{':
        return JSCAN_OBJECT;
    case '[':
        return JSCAN_ARRAY;
    case '"':
        return JSCAN_STRING;
    case 't':
        return JSCAN_TRUE;
    case 'f':
        return JSCAN_FALSE;
    case 'n':
        return JSCAN_NULL;
    default:
        return JSCAN_NUMBER;
    }
}

static bool scan_scalar(struct jscan *s, struct jscan_string *string)
{
    switch (peek(s)) {
    case '"':
        return scan_string(s, string);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    case '-':
    case '0' ... '9':
        return scan_number(s);
    default:
        return fail(s, s->at == s->end ? "it ends too early" : "a value is expected");
    }
}

static bool enter(struct jscan *s, struct levels *l)
{
    if (l->depth == JSCAN_DEPTH_MAX) {
        return fail(s, "nested too deep");
    }
    uint64_t bit = 1ull << (l->depth % 64);
    uint64_t *word = &l->object[l->depth / 64];
    *word = *s->at == '{' ? *word | bit : *word & ~bit;
    l->depth++;
    s->at++;
    return true;
}

static bool in_object(const struct levels *l)
{
    return (l->object[(l->depth - 1) / 64] >> ((l->depth - 1) % 64) & 1) != 0;
}

/* Behind a value: closes what ends here. True when a further entry follows, at its value. */
static bool next_entry(struct jscan *s, struct levels *l, bool opened)
{
    struct jscan_string name;
    for (; l->depth > 0; opened = false) {
        bool object = in_object(l);
        char c = peek(s);
        if (c == (object ? '}' : ']')) {
            s->at++;
            l->depth--;
            continue;
        }
        if (!opened &&
            !expect(s, ',', object ? "',' or '}' is expected" : "',' or ']' is expected")) {
            return false;
        }
        return !object || jscan_name(s, &name);
    }
    return false;
}

bool jscan_value(struct jscan *s, struct jscan_value *out)
{
    struct levels levels;
    struct jscan_string inner;
    levels.depth = 0;
    char c = peek(s);
    const char *first = s->at;
    out->kind = kind_of(c);
    bool opened, more;
    do {
        c = peek(s);
        opened = c == '{' || c == '[';
        if (!(opened ? enter(s, &levels)
                     : scan_scalar(s, levels.depth == 0 ? &out->string : &inner))) {
            return false;
        }
        more = next_entry(s, &levels, opened);
    } while (more);
    out->raw = slice_of(first, (size_t)(s->at - first));
    return s->why == NULL;
}

/* --- walking ---------------------------------------------------------------------------------- */

bool jscan_open(struct jscan *s, char bracket)
{
    s->first = true;
    return expect(s, bracket, bracket == '{' ? "an object is expected" : "an array is expected");
}

bool jscan_more(struct jscan *s, char close)
{
    bool first = s->first;
    s->first = false;
    if (s->why != NULL) {
        return false;
    }
    if (peek(s) == close) {
        s->at++;
        return false;
    }
    return first ||
           expect(s, ',', close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
}

bool jscan_name(struct jscan *s, struct jscan_string *out)
{
    return scan_string(s, out) && expect(s, ':', "':' is expected");
}

bool jscan_failed(const struct jscan *s)
{
    return s->why != NULL;
}

bool jscan_end(struct jscan *s)
{
    skip_space(s);
    return s->why == NULL && (s->at == s->end || fail(s, "something stands behind the value"));
}

int jscan_error(const struct jscan *s, struct error *err)
{
    unsigned line = 1;
    const char *begin = s->start;
    for (const char *p = s->start; p < s->at; p++) {
        if (*p == '\n') {
            line++;
            begin = p + 1;
        }
    }
    return error_set(err, ERR_INVALID, "line %u, column %zu: %s", line, (size_t)(s->at - begin) + 1,
                     s->why == NULL ? "not JSON" : s->why);
}

bool jscan_valid(struct slice text)
{
    struct jscan s = jscan_of(text);
    struct jscan_value value;
    return text.len > 0 && jscan_value(&s, &value) && jscan_end(&s);
}
