// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * JSON text walked through without a tree: for who needs a few members and wants the others as the
 * bytes that they are, numbers of any length included. As strict as jparse.h: UTF-8, no lone
 * surrogates, nothing behind the value; but names that stand twice are the caller's to find, and
 * nested values may be JSCAN_DEPTH_MAX deep. Pure, allocates nothing; what it gives borrows.
 *
 *     struct jscan s = jscan_of(text);
 *     struct jscan_string name;  struct jscan_value value;
 *     bool fine = jscan_open(&s, '{');
 *     while (fine && jscan_more(&s, '}')) {
 *         fine = jscan_name(&s, &name) && jscan_value(&s, &value);
 *     }
 *     if (!fine || !jscan_end(&s)) { return jscan_error(&s, err); }
 */

#include "base/error.h"
#include "base/slice.h"

#define JSCAN_DEPTH_MAX 512

enum jscan_kind {
    JSCAN_OBJECT,
    JSCAN_ARRAY,
    JSCAN_STRING,
    JSCAN_NUMBER,
    JSCAN_TRUE,
    JSCAN_FALSE,
    JSCAN_NULL,
};

struct jscan {
    const char *at; /* private, all of them */
    const char *end;
    const char *start;
    const char *why; /* the first failure; NULL: none */
    bool first;      /* the list was just opened */
};

struct jscan_string {
    struct slice text; /* between the quotes */
    bool escaped;      /* has backslashes: jscan_unescape it */
};

struct jscan_value {
    enum jscan_kind kind;
    struct slice raw;           /* as it stands there, without space around it */
    struct jscan_string string; /* of a JSCAN_STRING */
};

struct jscan jscan_of(struct slice text);

/* Takes the '{' or '[' that must stand here. False here and below: see jscan_error. */
bool jscan_open(struct jscan *s, char bracket);
/*
 * In a list: true when another entry follows; false behind the end, which is taken, and after a
 * failure, which jscan_end or jscan_failed tells.
 */
bool jscan_more(struct jscan *s, char close);
/* A member's name and the colon. */
bool jscan_name(struct jscan *s, struct jscan_string *out);
/* A whole value, checked to its end. */
bool jscan_value(struct jscan *s, struct jscan_value *out);
/* Nothing follows, and nothing has failed. */
bool jscan_end(struct jscan *s);
bool jscan_failed(const struct jscan *s);
/* ERR_INVALID with "line 3, column 7: …". */
int jscan_error(const struct jscan *s, struct error *err);

/* The text of a string into out, which has room for s.text.len bytes; returns its length. */
size_t jscan_unescape(struct jscan_string s, char *out);
/* Whether the text is one JSON value. */
bool jscan_valid(struct slice text);
