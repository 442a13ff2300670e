// SPDX-License-Identifier: Apache-2.0
/* Plan: scheme, then what stands before '@', then the path, then host and port or several. */
#include "redis/address.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/strbuf.h"

#define TEXT_MAX      4096
#define DEFAULT_PORT  6379
#define SENTINEL_PORT 26379
#define DB_MAX        1023

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* %XX decoded, in new memory; NULL when an escape is bad or gives NUL. */
static char *decode(struct slice text)
{
    struct strbuf out;
    strbuf_init(&out, TEXT_MAX);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex(text.ptr[i + 2]) : -1;
            c = (char)(high * 16 + low);
            if (high < 0 || low < 0 || c == '\0') {
                strbuf_fini(&out);
                return NULL;
            }
            i += 2;
        }
        strbuf_append_char(&out, c);
    }
    return strbuf_take(&out, NULL);
}

static int parse_user(struct slice text, struct redis_address *out, struct error *err)
{
    ptrdiff_t colon = slice_find(text, ':');
    struct slice user = colon < 0 ? text : slice_sub(text, 0, (size_t)colon);
    if (user.len > 0) {
        out->user = decode(user);
    }
    if (colon >= 0) {
        out->password = decode(slice_sub(text, (size_t)colon + 1, text.len));
    }
    bool bad = (user.len > 0 && out->user == NULL) || (colon >= 0 && out->password == NULL);
    if (bad) {
        return error_set(err, ERR_INVALID, "user or password has a %% that is no %%XX");
    }
    return 0;
}

static int parse_host(struct slice text, uint16_t usual_port, struct redis_host *out,
                      struct error *err)
{
    struct slice host = text;
    struct slice port = SLICE_EMPTY;
    if (slice_starts_with(text, SLICE_LIT("["))) {
        ptrdiff_t end = slice_find(text, ']');
        if (end < 0) {
            return error_set(err, ERR_INVALID, "\"%.*s\" has no ]", SLICE_FMT(text));
        }
        host = slice_sub(text, 1, (size_t)end - 1);
        port = slice_sub(text, (size_t)end + 1, text.len);
        if (port.len > 0 && port.ptr[0] != ':') {
            return error_set(err, ERR_INVALID, "after ] a port is expected: [%.*s]:6379",
                             SLICE_FMT(host));
        }
        port = slice_sub(port, 1, port.len);
    } else {
        ptrdiff_t colon = slice_rfind(text, ':');
        if (colon >= 0) {
            host = slice_sub(text, 0, (size_t)colon);
            port = slice_sub(text, (size_t)colon + 1, text.len);
        }
    }
    uint64_t number = usual_port;
    if (port.len > 0 && num_parse_u64(port, 1, 65535, &number, err) < 0) {
        return error_prefix(err, ERR_INVALID, "port");
    }
    if (host.len == 0 || host.len > 253) {
        return error_set(err, ERR_INVALID, "the host is missing, as in redis://HOST:6379");
    }
    out->host = slice_dup(host);
    out->port = (uint16_t)number;
    return 0;
}

static int parse_db(struct slice text, struct redis_address *out, struct error *err)
{
    uint64_t number = 0;
    if (text.len > 0 && num_parse_u64(text, 0, DB_MAX, &number, err) < 0) {
        return error_prefix(err, ERR_INVALID, "database behind the /");
    }
    out->db = (unsigned)number;
    return 0;
}

/* HOST[:PORT],…  and  MASTER[/DB] */
static int parse_sentinels(struct slice hosts, struct slice path, struct redis_address *out,
                           struct error *err)
{
    struct slice part;
    ptrdiff_t slash = slice_find(path, '/');
    struct slice name = slash < 0 ? path : slice_sub(path, 0, (size_t)slash);
    if (name.len == 0) {
        return error_set(err, ERR_INVALID,
                         "the name of the master is missing, as in "
                         "redis+sentinel://HOST:26379,HOST:26379/MASTER");
    }
    out->master = decode(name);
    if (out->master == NULL) {
        return error_set(err, ERR_INVALID, "the name of the master has a %% that is no %%XX");
    }
    while (slice_split(&hosts, ',', &part)) {
        if (out->n_sentinels == REDIS_SENTINELS_MAX) {
            return error_set(err, ERR_INVALID, "more than %d Sentinels", REDIS_SENTINELS_MAX);
        }
        int rc =
            parse_host(slice_trim(part), SENTINEL_PORT, &out->sentinels[out->n_sentinels], err);
        if (rc < 0) {
            return rc;
        }
        out->n_sentinels++;
    }
    if (out->n_sentinels == 0) {
        return error_set(err, ERR_INVALID, "there is no Sentinel before the /");
    }
    return slash < 0 ? 0 : parse_db(slice_sub(path, (size_t)slash + 1, path.len), out, err);
}

static int parse_tcp(struct slice rest, bool sentinel, struct redis_address *out, struct error *err)
{
    ptrdiff_t at = slice_rfind(rest, '@');
    struct slice path = SLICE_EMPTY;
    if (at >= 0) {
        int rc = parse_user(slice_sub(rest, 0, (size_t)at), out, err);
        if (rc < 0) {
            return rc;
        }
        rest = slice_sub(rest, (size_t)at + 1, rest.len);
    }
    ptrdiff_t slash = slice_find(rest, '/');
    if (slash >= 0) {
        path = slice_sub(rest, (size_t)slash + 1, rest.len);
        rest = slice_sub(rest, 0, (size_t)slash);
    }
    if (sentinel) {
        return parse_sentinels(rest, path, out, err);
    }
    struct redis_host host = {0};
    int rc = parse_db(path, out, err);
    rc = rc < 0 ? rc : parse_host(rest, DEFAULT_PORT, &host, err);
    out->host = host.host;
    out->port = host.port;
    return rc;
}

/* Takes the scheme off; what is not there is redis:// */
static struct slice parse_scheme(struct slice text, bool *tls, bool *sentinel)
{
    static const struct {
        const char *text;
        bool tls, sentinel;
    } schemes[] = {
        {"redis://", false, false},
        {"rediss://", true, false},
        {"redis+sentinel://", false, true},
        {"rediss+sentinel://", true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct slice scheme = slice_str(schemes[i].text);
        if (slice_starts_with(text, scheme)) {
            *tls = schemes[i].tls;
            *sentinel = schemes[i].sentinel;
            return slice_sub(text, scheme.len, text.len);
        }
    }
    *tls = *sentinel = false;
    return text;
}

int redis_address_parse(struct slice text, struct redis_address *out, struct error *err)
{
    struct redis_address a = {0};
    int rc;
    text = slice_trim(text);
    if (text.len > TEXT_MAX) {
        return error_set(err, ERR_INVALID, "the address has %zu bytes, at most %d are allowed",
                         text.len, TEXT_MAX);
    }
    if (slice_starts_with(text, SLICE_LIT("unix:"))) {
        struct slice path = slice_sub(text, 5, text.len);
        if (slice_starts_with(path, SLICE_LIT("//"))) {
            path = slice_sub(path, 2, path.len);
        }
        rc = path.len > 0 && path.ptr[0] == '/'
                 ? 0
                 : error_set(err, ERR_INVALID, "unix: wants an absolute path behind it");
        a.unix_path = rc == 0 ? slice_dup(path) : NULL;
    } else {
        bool sentinel;
        text = parse_scheme(text, &a.tls, &sentinel);
        rc = parse_tcp(text, sentinel, &a, err);
    }
    if (rc < 0) {
        redis_address_fini(&a);
        return rc;
    }
    *out = a;
    return 0;
}

void redis_address_fini(struct redis_address *a)
{
    free(a->unix_path);
    free(a->host);
    for (size_t i = 0; i < a->n_sentinels; i++) {
        free(a->sentinels[i].host);
    }
    free(a->master);
    free(a->user);
    free(a->password);
    *a = (struct redis_address){0};
}
