// SPDX-License-Identifier: Apache-2.0
/*
 * Why a text is not a label, a subdomain, a qualified name: Kubernetes' words. Happy path: nothing
 * is appended. Failure mode: one reason or more, joined by the caller's separator.
 */
#include "serving/rules.h"

#define LABEL_1123     "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_1123 LABEL_1123 "(\\." LABEL_1123 ")*"
#define QUALIFIED_TEXT                                                                        \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "  \
    "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for " \
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

static void say(struct strbuf *out, const char *sep, size_t *count, const char *prefix,
                const char *text)
{
    strbuf_appendf(out, "%s%s%s", (*count)++ == 0 ? "" : sep, prefix, text);
}

static bool lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_label(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        bool edge = i == 0 || i + 1 == s.len;
        if (!lower(s.ptr[i]) && !digit(s.ptr[i]) && (edge || s.ptr[i] != '-')) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_subdomain(struct slice s)
{
    struct slice part;
    while (slice_split(&s, '.', &part)) {
        if (!is_label(part)) {
            return false;
        }
    }
    return true;
}

static void too_long(struct strbuf *out, const char *sep, size_t *count, const char *prefix,
                     int max)
{
    char text[64];
    const char *unit = prefix[0] == '\0' ? "characters" : "bytes"; /* parts of qualified names */
    snprintf(text, sizeof(text), "must be no more than %d %s", max, unit);
    say(out, sep, count, prefix, text);
}

size_t words_dns1035_label(struct slice text, const char *sep, struct strbuf *out)
{
    size_t count = 0;
    if (text.len > 63) {
        too_long(out, sep, &count, "", 63);
    }
    if (!is_label(text) || !lower(text.ptr[0])) {
        say(out, sep, &count, "",
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character (e.g. "
            "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')");
    }
    return count;
}

/* A prefix may end in a dash: something follows. The two bytes at its end stand for that. */
size_t words_dns1035_prefix(struct slice text, const char *sep, struct strbuf *out)
{
    if (text.len < 2 || text.ptr[text.len - 1] != '-') {
        return words_dns1035_label(text, sep, out);
    }
    CLEANUP(strbuf_fini) struct strbuf masked;
    strbuf_init(&masked, text.len);
    strbuf_append_slice(&masked, slice_sub(text, 0, text.len - 2));
    strbuf_append_char(&masked, 'a');
    return words_dns1035_label(strbuf_slice(&masked), sep, out);
}

size_t words_dns1123_label(struct slice text, const char *sep, struct strbuf *out)
{
    size_t count = 0;
    if (text.len > 63) {
        too_long(out, sep, &count, "", 63);
    }
    if (!is_label(text) && is_subdomain(text)) {
        say(out, sep, &count, "", "must not contain dots");
    } else if (!is_label(text)) {
        say(out, sep, &count, "",
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
            "'-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
            "'123-abc', regex used for validation is '" LABEL_1123 "')");
    }
    return count;
}

static size_t subdomain(struct slice text, const char *sep, const char *prefix, struct strbuf *out,
                        size_t count)
{
    if (text.len > 253) {
        too_long(out, sep, &count, prefix, 253);
    }
    if (!is_subdomain(text)) {
        say(out, sep, &count, prefix,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character (e.g. "
            "'example.com', regex used for validation is '" SUBDOMAIN_1123 "')");
    }
    return count;
}

size_t words_dns1123_subdomain(struct slice text, const char *sep, struct strbuf *out)
{
    return subdomain(text, sep, "", out, 0);
}

static bool is_name_part(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool edge = i == 0 || i + 1 == s.len;
        if (!lower(c) && !upper(c) && !digit(c) && (edge || (c != '-' && c != '_' && c != '.'))) {
            return false;
        }
    }
    return s.len > 0;
}

size_t words_qualified_name(struct slice text, const char *sep, struct strbuf *out)
{
    size_t count = 0;
    struct slice name = text;
    ptrdiff_t slash = slice_find(text, '/');
    if (slash >= 0) {
        struct slice prefix = slice_sub(text, 0, (size_t)slash);
        name = slice_sub(text, (size_t)slash + 1, text.len);
        if (slice_find(name, '/') >= 0) {
            say(out, sep, &count, "a valid label key ",
                QUALIFIED_TEXT
                " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return count;
        }
        if (prefix.len == 0) {
            say(out, sep, &count, "prefix part ", "must be non-empty");
        } else {
            count = subdomain(prefix, sep, "prefix part ", out, count);
        }
    }
    if (name.len == 0) {
        say(out, sep, &count, "name part ", "must be non-empty");
    } else if (name.len > 63) {
        too_long(out, sep, &count, "name part ", 63);
    }
    if (!is_name_part(name)) {
        say(out, sep, &count, "name part ", QUALIFIED_TEXT);
    }
    return count;
}

size_t words_label_value(struct slice text, const char *sep, struct strbuf *out)
{
    size_t count = 0;
    if (text.len > 63) {
        too_long(out, sep, &count, "", 63);
    }
    if (text.len > 0 && !is_name_part(text)) {
        say(out, sep, &count, "",
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  "
            "or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
    }
    return count;
}

size_t words_c_identifier(struct slice text, const char *sep, struct strbuf *out)
{
    bool fine = text.len > 0 && !digit(text.ptr[0]);
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        fine = fine && (lower(c) || upper(c) || digit(c) || c == '_');
    }
    if (!fine) {
        say(out, sep, &count, "",
            "a valid C identifier must start with alphabetic character or '_', followed by a "
            "string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
            "'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
    }
    return count;
}
