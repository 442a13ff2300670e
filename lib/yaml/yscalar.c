// SPDX-License-Identifier: Apache-2.0
//
// Words first (true, null), then integers with a base, then decimals; all else is text.
#include "yaml/yscalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"

#define NUMBER_MAX 400 // longer is text

static bool among(struct slice text, const char *const *words)
{
    for (; *words; words++) {
        if (slice_eq_str(text, *words)) {
            return true;
        }
    }
    return false;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static unsigned base_of(const char **at)
{
    const char *p = *at;

    if (p[0] != '0' || p[1] == '\0') {
        return 10;
    }
    char kind = (char)(p[1] | 0x20);
    if (kind == 'x' || kind == 'o' || kind == 'b') {
        *at += 2;
        return kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
    }
    *at += 1;
    return 8;
}

// 1: an integer; 0: none, or one that does not fit.
static bool integer(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    uint64_t n = 0;

    text += *text == '-' || *text == '+';
    unsigned base = base_of(&text);
    if (*text == '\0') {
        return false;
    }
    for (; *text; text++) {
        unsigned d = (unsigned)digit_of(*text);
        if (d >= base || __builtin_mul_overflow(n, (uint64_t)base, &n) ||
            __builtin_add_overflow(n, (uint64_t)d, &n)) {
            return false;
        }
    }
    if (n > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

static const char *digits(const char *p)
{
    return p + strspn(p, "0123456789");
}

// [-+]? (.N | N | N.N?) ([eE][-+]?N)?
static bool decimal(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    const char *end = digits(p);
    bool whole = end > p;

    if (*end == '.') {
        p = end + 1;
        end = digits(p);
        if (!whole && end == p) {
            return false;
        }
    } else if (!whole) {
        return false;
    }
    if (*end == 'e' || *end == 'E') {
        p = end + 1;
        p += *p == '-' || *p == '+';
        end = digits(p);
        if (end == p) {
            return false;
        }
    }
    return *end == '\0';
}

json_t *yscalar_real(double value)
{
    bool whole = value == trunc(value) && fabs(value) < 9007199254740992.0 * 1024;
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *number(struct slice text)
{
    char buf[NUMBER_MAX + 1];
    size_t len = 0;
    int64_t n;

    for (size_t i = 0; i < text.len && len < NUMBER_MAX; i++) {
        if (text.ptr[i] != '_' || text.ptr[0] == '.') {
            buf[len++] = text.ptr[i];
        }
    }
    buf[len] = '\0';
    if (memchr(buf, '\0', len)) {
        return NULL;
    }
    if (integer(buf, &n)) {
        return json_integer(n);
    }
    double value = decimal(buf) ? strtod(buf, NULL) : (double)INFINITY;
    return isfinite(value) ? yscalar_real(value) : NULL;
}

json_t *yscalar_resolve(struct slice text)
{
    static const char *const NULLS[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const TRUES[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                        "True", "TRUE", "on",  "On",  "ON",  NULL};
    static const char *const FALSES[] = {"n",     "N",     "no",  "No",  "NO",  "false",
                                         "False", "FALSE", "off", "Off", "OFF", NULL};
    static const char *const NONE[] = {".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF", "+.inf",
                                       "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL};

    if (among(text, NULLS)) {
        return json_null();
    }
    if (among(text, TRUES)) {
        return json_true();
    }
    if (among(text, FALSES)) {
        return json_false();
    }
    if (among(text, NONE)) {
        return NULL;
    }
    json_t *value = NULL;
    if (text.len <= NUMBER_MAX && strchr("0123456789+-.", text.ptr[0])) {
        value = number(text);
    }
    return value ? value : json_stringn(text.ptr, text.len);
}
