// SPDX-License-Identifier: Apache-2.0
/* Go's texts. Failure modes: what a parser does not take is said by its return value. */
#include "serving/gotext.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"

/* Length of the UTF-8 sequence at the start of s and its code point; 0: not UTF-8. */
static size_t rune_at(struct slice s, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = (unsigned char)s.ptr[0];
    size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
    uint32_t rune = len < 2 ? c : c & (0x7fu >> len);
    if (len == 0 || len > s.len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        unsigned char next = (unsigned char)s.ptr[i];
        if ((next & 0xc0) != 0x80) {
            return 0;
        }
        rune = rune << 6 | (next & 0x3fu);
    }
    *out = rune;
    return rune >= least[len] && rune <= 0x10ffff ? len : 0;
}

/* What Go prints as it is: not controls, other spaces, formats, surrogates and private use. */
static bool printable(uint32_t rune)
{
    static const uint32_t hidden[][2] = {
        {0, 0x1f},        {0x7f, 0xa0},     {0xad, 0xad},       {0x600, 0x605},
        {0x1680, 0x1680}, {0x180e, 0x180e}, {0x2000, 0x200f},   {0x2028, 0x202f},
        {0x205f, 0x206f}, {0x3000, 0x3000}, {0xd800, 0xf8ff},   {0xfeff, 0xfeff},
        {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe007f}, {0xf0000, 0x10ffff},
    };
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        if (rune >= hidden[i][0] && rune <= hidden[i][1]) {
            return false;
        }
    }
    return true;
}

static void quote_rune(uint32_t rune, struct slice bytes, struct strbuf *out)
{
    static const char named[] = "\a\b\f\n\r\t\v";
    static const char letters[] = "abfnrtv";
    const char *at = rune != 0 && rune < 0x80 ? strchr(named, (int)rune) : NULL;
    if (rune == '"' || rune == '\\') {
        strbuf_appendf(out, "\\%c", (char)rune);
    } else if (printable(rune)) {
        strbuf_append_slice(out, bytes);
    } else if (at != NULL) {
        strbuf_appendf(out, "\\%c", letters[at - named]);
    } else if (rune < 0x80) {
        strbuf_appendf(out, "\\x%02x", (unsigned)rune);
    } else {
        strbuf_appendf(out, rune > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)rune);
    }
}

void go_quote(struct slice text, struct strbuf *out)
{
    strbuf_append_char(out, '"');
    while (text.len > 0) {
        uint32_t rune;
        size_t len = rune_at(text, &rune);
        if (len == 0) {
            strbuf_appendf(out, "\\x%02x", (unsigned char)text.ptr[0]);
            len = 1;
        } else {
            quote_rune(rune, slice_of(text.ptr, len), out);
        }
        text = slice_sub(text, len, text.len);
    }
    strbuf_append_char(out, '"');
}

char *go_quoted(struct slice text)
{
    struct strbuf out;
    strbuf_init(&out, text.len * 10 + 3);
    go_quote(text, &out);
    return strbuf_take(&out, NULL);
}

/* --- numbers ------------------------------------------------------------------------------- */

static bool hex_form(struct slice s)
{
    size_t i = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+') ? 1 : 0;
    size_t digits = 0;
    if (s.len < i + 2 || s.ptr[i] != '0' || (s.ptr[i + 1] | 0x20) != 'x') {
        return false;
    }
    bool point = false;
    for (i += 2; i < s.len; i++) {
        char c = s.ptr[i];
        bool digit = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
        digits += digit ? 1 : 0;
        if (!digit && (c != '.' || point)) {
            break;
        }
        point = point || c == '.';
    }
    if (digits == 0 || i == s.len || (s.ptr[i] | 0x20) != 'p') {
        return false;
    }
    i += i + 1 < s.len && (s.ptr[i + 1] == '-' || s.ptr[i + 1] == '+') ? 2 : 1;
    size_t from = i;
    while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9') {
        i++;
    }
    return i == s.len && i > from;
}

static bool special_form(struct slice s, double *out)
{
    bool sign = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+');
    struct slice word = slice_sub(s, sign ? 1 : 0, s.len);
    if (slice_eq_nocase(word, SLICE_LIT("inf")) || slice_eq_nocase(word, SLICE_LIT("infinity"))) {
        *out = sign && s.ptr[0] == '-' ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    if (!sign && slice_eq_nocase(s, SLICE_LIT("nan"))) {
        *out = nan("");
        return true;
    }
    return false;
}

/* text without the underscores between its digits; false: too long, or one stands elsewhere. */
static bool without_underscores(struct slice text, char *buf, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool between = i > 0 && i + 1 < text.len && isxdigit((unsigned char)text.ptr[i - 1]) &&
                       isxdigit((unsigned char)text.ptr[i + 1]);
        if (text.ptr[i] == '_' && !between) {
            return false;
        }
        if (text.ptr[i] != '_') {
            buf[n++] = text.ptr[i];
        }
        if (n == size) {
            return false;
        }
    }
    buf[n] = '\0';
    return true;
}

bool go_parse_float(struct slice text, double *out)
{
    char buf[64];
    if (special_form(text, out)) {
        return true;
    }
    if (!without_underscores(text, buf, sizeof(buf))) {
        return false;
    }
    if (hex_form(slice_str(buf))) {
        double value = strtod(buf, NULL);
        *out = value;
        return isfinite(value);
    }
    return num_parse_double(slice_str(buf), -HUGE_VAL, HUGE_VAL, out, NULL) == 0;
}

const char *go_float(double value, char buf[GO_FLOAT_TEXT])
{
    char text[NUM_DOUBLE_MAX];
    if (isnan(value) || isinf(value)) {
        snprintf(buf, GO_FLOAT_TEXT, "%s", isnan(value) ? "NaN" : value < 0 ? "-Inf" : "+Inf");
        return buf;
    }
    num_format_double(value, text, sizeof(text));
    double size = fabs(value);
    if (strchr(text, 'e') != NULL && size < 1e21 && size >= 1e-4) {
        snprintf(buf, GO_FLOAT_TEXT, "%.0f", value); /* Go turns to exponents later than C */
    } else {
        snprintf(buf, GO_FLOAT_TEXT, "%s", text);
    }
    return buf;
}

enum go_number go_parse_int(struct slice text, int bits, int64_t *out)
{
    size_t i = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;
    int64_t value = 0;
    bool range = false;
    if (i == text.len) {
        return GO_NUMBER_SYNTAX;
    }
    bool minus = text.ptr[0] == '-';
    for (; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return GO_NUMBER_SYNTAX;
        }
        int digit = text.ptr[i] - '0';
        range = range || __builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, minus ? -digit : digit, &value);
    }
    range = range || (bits == 32 && (value < INT32_MIN || value > INT32_MAX));
    *out = value;
    return range ? GO_NUMBER_RANGE : GO_NUMBER_FINE;
}

/* --- paths --------------------------------------------------------------------------------- */

char *go_clean_path(struct slice path)
{
    bool root = path.len > 0 && path.ptr[0] == '/';
    char *out = xmalloc(path.len + 2);
    size_t n = 0;
    size_t floor = root ? 1 : 0; /* nothing before this is taken back by ".." */
    struct slice rest = path;
    struct slice part;
    if (root) {
        out[n++] = '/';
    }
    while (slice_split(&rest, '/', &part)) {
        if (part.len == 0 || slice_eq_str(part, ".")) {
            continue;
        }
        if (slice_eq_str(part, "..") && n > floor) {
            while (n > floor && out[n - 1] != '/') {
                n--;
            }
            n -= n > floor ? 1 : 0;
            continue;
        }
        if (slice_eq_str(part, "..") && root) {
            continue;
        }
        if (n > 0 && out[n - 1] != '/') {
            out[n++] = '/';
        }
        memcpy(out + n, part.ptr, part.len);
        n += part.len;
        floor = slice_eq_str(part, "..") ? n : floor;
    }
    if (n == 0) {
        out[n++] = '.';
    }
    out[n] = '\0';
    return out;
}
