// SPDX-License-Identifier: Apache-2.0
/* Rules of Destinations, references and delivery. What has no value is as what is not there. */
#include "base/mem.h"
#include "json/jget.h"
#include "eventing/names.h"
#include "eventing/period.h"
#include "eventing/rules.h"

void rules_reference(struct problems *p, const json_t *ref)
{
    static const char *const needed[] = {"name", "apiVersion", "kind"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (jpeek_str(ref, needed[i]).len == 0) {
            problem_missing(p, needed[i]);
        }
    }
    if (jpeek_str(ref, "group").len > 0) {
        problem_disallowed(p, "group");
    }
}

static bool is_scheme_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'));
}

/* "scheme:" at its beginning; how long that is, 0: none. */
static size_t scheme_len(struct slice uri)
{
    size_t i = 0;
    while (i < uri.len && is_scheme_char(uri.ptr[i], i == 0)) {
        i++;
    }
    return i > 0 && i < uri.len && uri.ptr[i] == ':' ? i + 1 : 0;
}

static bool has_host(struct slice uri)
{
    size_t at = scheme_len(uri);
    struct slice rest = slice_sub(uri, at, uri.len - at);
    if (!slice_starts_with(rest, SLICE_LIT("//"))) {
        return false;
    }
    size_t end = 2;
    while (end < rest.len && strchr("/?#", rest.ptr[end]) == NULL) {
        end++;
    }
    struct slice authority = slice_sub(rest, 2, end - 2);
    ptrdiff_t user = slice_rfind(authority, '@');
    struct slice host =
        slice_sub(authority, (size_t)(user + 1), authority.len - (size_t)(user + 1));
    return host.len > 0 && host.ptr[0] != ':';
}

static void check_certificates(struct problems *p, const json_t *destination)
{
    const json_t *value = jget(destination, "CACerts");
    const char *text = json_string_value(value);
    if (value != NULL && (text == NULL || strstr(text, "-----BEGIN CERTIFICATE-----") == NULL ||
                          strstr(text, "-----END CERTIFICATE-----") == NULL)) {
        problem_add(p, "caCert", "invalid value: CA Cert provided is invalid");
    }
}

void rules_destination(struct problems *p, const json_t *destination)
{
    const json_t *ref = jpeek_obj(destination, "ref");
    bool has_uri = jget(destination, "uri") != NULL;
    struct slice uri = jpeek_str(destination, "uri");
    if (ref == NULL && !has_uri) {
        problem_add(p, "ref", "expected at least one, got none");
        problem_path(p, "uri");
    } else if (ref != NULL && scheme_len(uri) > 0) {
        problem_add(p, "[apiVersion, kind, name]",
                    "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present");
        problem_path(p, "ref");
        problem_path(p, "uri");
    } else if (ref == NULL && (scheme_len(uri) == 0 || !has_host(uri))) {
        problem_add(p, "uri",
                    "invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, "
                    "name] is absent");
    } else if (ref != NULL && !has_uri) {
        size_t mark = problems_mark(p);
        rules_reference(p, ref);
        problems_via(p, mark, "ref");
    } else {
        check_certificates(p, destination);
    }
}

static void check_period(struct problems *p, const json_t *delivery, const char *field, int64_t min)
{
    int64_t ms;
    if (jget(delivery, field) != NULL &&
        (period_parse_ms(jpeek_str(delivery, field), &ms, NULL) < 0 || ms < min)) {
        problem_invalid(p, field, jpeek_str(delivery, field));
    }
}

static void check_word(struct problems *p, const json_t *delivery, const char *field, const char *a,
                       const char *b)
{
    struct slice text = jpeek_str(delivery, field);
    if (jget(delivery, field) != NULL && !slice_eq_str(text, a) && !slice_eq_str(text, b)) {
        problem_invalid(p, field, text);
    }
}

void rules_delivery(struct problems *p, const json_t *delivery)
{
    const json_t *sink = jget(delivery, "deadLetterSink");
    if (sink != NULL) {
        size_t mark = problems_mark(p);
        rules_destination(p, sink);
        problems_via(p, mark, "deadLetterSink");
    }
    if (jpeek_i64(delivery, "retry") < 0) {
        problem_add(p, "retry", "invalid value: %lld", (long long)jpeek_i64(delivery, "retry"));
    }
    check_period(p, delivery, "timeout", 1);
    check_word(p, delivery, "backoffPolicy", BACKOFF_EXPONENTIAL, BACKOFF_LINEAR);
    check_period(p, delivery, "backoffDelay", INT64_MIN);
    check_word(p, delivery, "format", FORMAT_JSON, FORMAT_BINARY);
    check_period(p, delivery, "retryAfterMax", 0);
}
