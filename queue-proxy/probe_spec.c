// SPDX-License-Identifier: Apache-2.0
/*
 * A recursive reader of the JSON that it needs: objects, arrays, strings, numbers, words; at most
 * 8 deep. Keys that are not known are skipped. Numbers are whole ones.
 */

#include "queue-proxy/probe_spec.h"

#include "base/num.h"
#include "http/head.h"

#define DEPTH_MAX 8

struct reader {
    struct slice all;
    size_t at;
    struct probe_spec *spec;
    struct error *err;
};

static int bad(struct reader *r, const char *what)
{
    return error_set(r->err, ERR_INVALID, "%s at byte %zu", what, r->at);
}

static char peek(struct reader *r)
{
    while (r->at < r->all.len && strchr(" \t\r\n", r->all.ptr[r->at]) != NULL) {
        r->at++;
    }
    return r->at < r->all.len ? r->all.ptr[r->at] : '\0';
}

static bool take(struct reader *r, char c)
{
    if (peek(r) != c) {
        return false;
    }
    r->at++;
    return true;
}

static int unescape(struct reader *r, char *out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->all.len ? r->all.ptr[r->at] : '\0';
    const char *found = c == '\0' ? NULL : strchr(from, c);
    if (found != NULL) {
        *out = to[found - from];
        r->at++;
        return 0;
    }
    /* \u00XX only: what Go's encoder writes for <, > and & */
    if (c == 'u' && r->at + 4 < r->all.len && r->all.ptr[r->at + 1] == '0' &&
        r->all.ptr[r->at + 2] == '0') {
        char hex[3] = {r->all.ptr[r->at + 3], r->all.ptr[r->at + 4], '\0'};
        char *end;
        unsigned long code = strtoul(hex, &end, 16);
        if (*end == '\0' && code > 0 && code < 0x80) {
            *out = (char)code;
            r->at += 5;
            return 0;
        }
    }
    return bad(r, "an escape that is not understood");
}

/* Into the spec's text. */
static int read_string(struct reader *r, struct slice *out)
{
    struct probe_spec *spec = r->spec;
    size_t start = spec->text_len;
    if (!take(r, '"')) {
        return bad(r, "a string is expected");
    }
    while (r->at < r->all.len && r->all.ptr[r->at] != '"') {
        char c = r->all.ptr[r->at++];
        if (c == '\\' && unescape(r, &c) < 0) {
            return ERR_INVALID;
        }
        if (spec->text_len >= sizeof(spec->text)) {
            return bad(r, "too much text");
        }
        spec->text[spec->text_len++] = c;
    }
    if (r->at >= r->all.len) {
        return bad(r, "the string does not end");
    }
    r->at++;
    *out = slice_of(spec->text + start, spec->text_len - start);
    return 0;
}

static int read_int(struct reader *r, int64_t *out)
{
    peek(r);
    size_t start = r->at;
    while (r->at < r->all.len && strchr("+-.0123456789eE", r->all.ptr[r->at]) != NULL) {
        r->at++;
    }
    struct slice text = slice_of(r->all.ptr + start, r->at - start);
    if (num_parse_i64(text, 0, 86400, out, NULL) < 0) {
        return bad(r, "a whole number from 0 to 86400 is expected");
    }
    return 0;
}

static int skip(struct reader *r, int depth);

/* Steps to the next key of an object: 1 with the key, 0 at its end. `first` starts true. */
static int next_key(struct reader *r, bool *first, struct slice *key)
{
    if (*first && !take(r, '{')) {
        return bad(r, "an object is expected");
    }
    if (take(r, '}')) {
        return 0;
    }
    if (!*first && !take(r, ',')) {
        return bad(r, "a comma is expected");
    }
    *first = false;
    if (read_string(r, key) < 0) {
        return ERR_INVALID;
    }
    return take(r, ':') ? 1 : bad(r, "a colon is expected");
}

static int skip_list(struct reader *r, int depth)
{
    r->at++;
    if (take(r, ']')) {
        return 0;
    }
    do {
        if (skip(r, depth + 1) < 0) {
            return ERR_INVALID;
        }
    } while (take(r, ','));
    return take(r, ']') ? 0 : bad(r, "the list does not end");
}

static int skip(struct reader *r, int depth)
{
    struct slice text;
    bool first = true;
    size_t mark = r->spec->text_len;
    int rc;
    if (depth > DEPTH_MAX) {
        return bad(r, "too deep");
    }
    switch (peek(r)) {
    case '"':
        rc = read_string(r, &text);
        break;
    case '[':
        rc = skip_list(r, depth);
        break;
    case '{':
        while ((rc = next_key(r, &first, &text)) > 0) {
            if ((rc = skip(r, depth + 1)) < 0) {
                break;
            }
        }
        break;
    default: {
        size_t start = r->at;
        while (r->at < r->all.len && strchr(",]} \t\r\n", r->all.ptr[r->at]) == NULL) {
            r->at++;
        }
        rc = r->at > start ? 0 : bad(r, "a value is expected");
    }
    }
    r->spec->text_len = mark;
    return rc;
}

static int read_header(struct reader *r)
{
    struct probe_header h = {0};
    struct slice key;
    bool first = true;
    int rc;
    while ((rc = next_key(r, &first, &key)) > 0) {
        if (slice_eq_str(key, "name")) {
            rc = read_string(r, &h.name);
        } else if (slice_eq_str(key, "value")) {
            rc = read_string(r, &h.value);
        } else {
            rc = skip(r, 3);
        }
        if (rc < 0) {
            return rc;
        }
    }
    if (rc < 0) {
        return rc;
    }
    if (!http_name_valid(h.name) || !http_value_valid(h.value)) {
        return bad(r, "a header is malformed");
    }
    if (slice_eq_nocase(h.name, SLICE_LIT("host"))) {
        r->spec->host = h.value;
    } else if (r->spec->n_headers < PROBE_HEADERS_MAX) {
        r->spec->headers[r->spec->n_headers++] = h;
    } else {
        return bad(r, "too many headers");
    }
    return 0;
}

static int read_headers(struct reader *r)
{
    if (!take(r, '[')) {
        return skip(r, 2); /* null */
    }
    if (take(r, ']')) {
        return 0;
    }
    do {
        if (read_header(r) < 0) {
            return ERR_INVALID;
        }
    } while (take(r, ','));
    return take(r, ']') ? 0 : bad(r, "the list does not end");
}

static int read_http(struct reader *r)
{
    struct slice key;
    bool first = true;
    int rc;
    r->spec->http = true;
    while ((rc = next_key(r, &first, &key)) > 0) {
        if (slice_eq_str(key, "path")) {
            rc = read_string(r, &r->spec->path);
        } else if (slice_eq_str(key, "httpHeaders")) {
            rc = read_headers(r);
        } else {
            rc = skip(r, 2);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return rc;
}

static int read_grpc(struct reader *r)
{
    struct slice key;
    bool first = true;
    int rc;
    r->spec->grpc = true;
    while ((rc = next_key(r, &first, &key)) > 0) {
        bool service = slice_eq_str(key, "service") && peek(r) == '"';
        if ((rc = service ? read_string(r, &r->spec->service) : skip(r, 2)) < 0) {
            return rc;
        }
    }
    return rc;
}

static int read_spec(struct reader *r)
{
    struct probe_spec *spec = r->spec;
    struct slice key;
    bool first = true;
    int rc;
    while ((rc = next_key(r, &first, &key)) > 0) {
        if (slice_eq_str(key, "httpGet") && peek(r) == '{') {
            rc = read_http(r);
        } else if (slice_eq_str(key, "grpc") && peek(r) == '{') {
            rc = read_grpc(r);
        } else if (slice_eq_str(key, "successThreshold")) {
            rc = read_int(r, &spec->success_threshold);
        } else if (slice_eq_str(key, "failureThreshold")) {
            rc = read_int(r, &spec->failure_threshold);
        } else if (slice_eq_str(key, "periodSeconds")) {
            rc = read_int(r, &spec->period_s);
        } else if (slice_eq_str(key, "timeoutSeconds")) {
            rc = read_int(r, &spec->timeout_s);
        } else {
            rc = skip(r, 1);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return rc;
}

int probe_spec_parse(struct slice json, struct probe_spec *out, struct error *err)
{
    *out = (struct probe_spec){.path = SLICE_LIT("/")};
    if (slice_trim(json).len > 0) {
        struct reader r = {.all = json, .spec = out, .err = err};
        if (read_spec(&r) < 0) {
            return ERR_INVALID;
        }
        if (peek(&r) != '\0') {
            return bad(&r, "something after the end");
        }
    }
    if (out->path.len == 0 || out->path.ptr[0] != '/' || !http_value_valid(out->path) ||
        slice_find(out->path, ' ') >= 0) {
        return error_set(err, ERR_INVALID, "the path must begin with a slash");
    }
    out->success_threshold += out->success_threshold == 0;
    out->failure_threshold += out->failure_threshold == 0 ? 3 : 0;
    out->timeout_s += out->timeout_s == 0;
    return 0;
}
