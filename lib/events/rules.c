// SPDX-License-Identifier: Apache-2.0
/* One pass over each text. What does not fit is said with its attribute's name and its beginning.
 */
#include "events/rules.h"

#include <ctype.h>

#define SHOWN 64 /* bytes of a wrong value in a sentence */

/* --- time ------------------------------------------------------------------------------------- */

static bool digits(struct slice *text, size_t n, int *out)
{
    int value = 0;
    if (text->len < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)text->ptr[i])) {
            return false;
        }
        value = value * 10 + (text->ptr[i] - '0');
    }
    *text = slice_sub(*text, n, text->len);
    *out = value;
    return true;
}

static bool take(struct slice *text, const char *one_of)
{
    if (text->len == 0 || text->ptr[0] == '\0' || strchr(one_of, text->ptr[0]) == NULL) {
        return false;
    }
    *text = slice_sub(*text, 1, text->len);
    return true;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool is_zone(struct slice *text)
{
    int hour, minute;
    if (take(text, "Zz")) {
        return true;
    }
    return take(text, "+-") && digits(text, 2, &hour) && take(text, ":") &&
           digits(text, 2, &minute) && hour < 24 && minute < 60;
}

/* RFC 3339's date-time, years 0000 to 9999. */
static bool is_time(struct slice text)
{
    int year, month, day, hour, minute, second, digit;
    if (!digits(&text, 4, &year) || !take(&text, "-") || !digits(&text, 2, &month) ||
        !take(&text, "-") || !digits(&text, 2, &day) || !take(&text, "Tt") ||
        !digits(&text, 2, &hour) || !take(&text, ":") || !digits(&text, 2, &minute) ||
        !take(&text, ":") || !digits(&text, 2, &second)) {
        return false;
    }
    if (take(&text, ".")) {
        if (!digits(&text, 1, &digit)) {
            return false;
        }
        while (digits(&text, 1, &digit)) {
        }
    }
    bool date = month >= 1 && month <= 12 && day >= 1 && day <= days_of(year, month);
    return date && hour < 24 && minute < 60 && second <= 60 && is_zone(&text) && text.len == 0;
}

/* --- URIs and media types --------------------------------------------------------------------- */

/* A scheme and a colon, and nothing that no URI has. */
static bool is_absolute_uri(struct slice text)
{
    ptrdiff_t colon = slice_find(text, ':');
    if (colon <= 0 || !isalpha((unsigned char)text.ptr[0])) {
        return false;
    }
    for (ptrdiff_t i = 1; i < colon; i++) {
        char c = text.ptr[i];
        if (!isalnum((unsigned char)c) && c != '+' && c != '-' && c != '.') {
            return false;
        }
    }
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(" \"<>\\^`{|}", text.ptr[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static struct slice take_token(struct slice *text)
{
    size_t n = 0;
    while (n < text->len && is_token(text->ptr[n])) {
        n++;
    }
    struct slice token = slice_sub(*text, 0, n);
    *text = slice_sub(*text, n, text->len);
    return token;
}

/* The rest of a quoted string, its end included. */
static bool take_quoted(struct slice *text)
{
    for (size_t i = 0; i < text->len; i++) {
        if (text->ptr[i] == '\\') {
            i++;
        } else if (text->ptr[i] == '"') {
            *text = slice_sub(*text, i + 1, text->len);
            return true;
        }
    }
    return false;
}

static bool is_media_type(struct slice text)
{
    if (take_token(&text).len == 0 || !take(&text, "/") || take_token(&text).len == 0) {
        return false;
    }
    for (;;) {
        text = slice_trim(text);
        if (text.len == 0) {
            return true;
        }
        if (!take(&text, ";")) {
            return false;
        }
        text = slice_trim(text);
        if (text.len == 0) {
            return true; // a semicolon behind which nothing stands is common
        }
        if (take_token(&text).len == 0 || !take(&text, "=") ||
            !(take(&text, "\"") ? take_quoted(&text) : take_token(&text).len > 0)) {
            return false;
        }
    }
}

bool event_type_is_json(struct slice media_type)
{
    struct slice part;
    struct slice rest = media_type;
    if (!slice_split(&rest, ';', &part)) {
        return false;
    }
    part = slice_trim(part);
    ptrdiff_t slash = slice_find(part, '/');
    if (slash < 0) {
        return false;
    }
    struct slice subtype = slice_sub(part, (size_t)slash + 1, part.len);
    ptrdiff_t plus = slice_rfind(subtype, '+');
    return slice_eq_nocase(slice_sub(subtype, (size_t)(plus + 1), subtype.len), SLICE_LIT("json"));
}

bool event_type_is_text(struct slice media_type)
{
    struct slice part;
    struct slice rest = media_type;
    if (!slice_split(&rest, ';', &part)) {
        return false;
    }
    part = slice_trim(part);
    struct slice end = slice_sub(part, part.len > 4 ? part.len - 4 : 0, 4);
    return slice_eq_nocase(slice_sub(part, 0, 5), SLICE_LIT("text/")) ||
           slice_eq_nocase(part, SLICE_LIT("application/xml")) ||
           slice_eq_nocase(end, SLICE_LIT("+xml"));
}

/* --- all -------------------------------------------------------------------------------------- */

int event_check_forms(const struct event *ev, struct error *err)
{
    static const struct {
        enum event_attr_id id;
        bool (*fits)(struct slice text);
        const char *form;
    } forms[] = {
        {EVENT_TIME, is_time, "a time as RFC 3339 writes it (2026-01-31T12:00:00Z)"},
        {EVENT_DATASCHEMA, is_absolute_uri, "an absolute URI"},
        {EVENT_DATACONTENTTYPE, is_media_type, "a media type (application/json)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct slice value = ev->known[forms[i].id];
        if (value.ptr != NULL && !forms[i].fits(value)) {
            return error_set(err, ERR_INVALID, "%s: must be %s, is \"%.*s\"",
                             event_attr_name(forms[i].id).ptr, forms[i].form,
                             SLICE_FMT(slice_sub(value, 0, SHOWN)));
        }
    }
    return 0;
}
